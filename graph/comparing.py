"""Runs beside each other: gathered from their folders, and written into the first one's."""

from collections.abc import Sequence

from evals.report import comparison, spending
from graph import costs
from graph.desk import Desk, champion
from graph.report import gathered, now, publish
from graph.team import Team


def compare(crews: Sequence[Team]) -> str:
    """Writes `compare.json`, `compare.md` and `compare.html` into the first run's folder; returns the Markdown."""
    names = comparison.names_of([str(crew.run) for crew in crews])
    found = comparison.compared({name: beside(crew) for name, crew in zip(names, crews, strict=True)}, now())
    return publish(crews[0].run, "compare", found)


def beside(crew: Team) -> comparison.Beside:
    desk = Desk(crew, champion(crew))
    spent = spending.by_role(crew.memory)
    return comparison.Beside(
        report=gathered(desk), board=desk.board, card=desk.after, judge=crew.measures_by,
        cycles=len(crew.memory.by_cycle("choice")),
        calls=sum(row["calls"] for row in spent), tokens=sum(row["read"] + row["written"] for row in spent),
        money=sum(costs.money((row["read"], row["written"]), crew.recipe, row["role"]) for row in spent),
        seconds=sum(spending.clock(crew.memory).values()),
    )  # fmt: skip
