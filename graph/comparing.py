"""Runs beside each other: gathered from their folders, and written into the first one's, or the ablation's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.diagnosis import key_of
from evals.report import ablation, attacks, comparison, spending
from evals.report.decisions import flat
from evals.report.repeats import Ran
from graph import costs
from graph.arms import Arm, Plan
from graph.desk import Desk, champion
from graph.report import gathered, now, publish
from graph.team import Team, team
from tools.records import BASE, Example


def compare(crews: Sequence[Team]) -> str:
    """Writes `compare.json`, `compare.md` and `compare.html` into the first run's folder; returns the Markdown."""
    names = comparison.names_of([str(crew.run) for crew in crews])
    found = comparison.compared({name: beside(crew) for name, crew in zip(names, crews, strict=True)}, now())
    return publish(crews[0].run, "compare", found)


def beside(crew: Team) -> comparison.Beside:
    desk = Desk(crew, champion(crew))
    return comparison.Beside(
        report=gathered(desk), board=desk.board, card=desk.after, judge=crew.measures_by, **spent(crew)
    )


def spent(crew: Team) -> dict[str, Any]:
    """What a run cost."""
    rows = spending.by_role(crew.memory)
    return {
        "cycles": len(crew.memory.by_cycle("choice")), "calls": sum(row["calls"] for row in rows),
        "tokens": sum(row["read"] + row["written"] for row in rows),
        "money": sum(costs.money((row["read"], row["written"]), crew.recipe, row["role"]) for row in rows),
        "seconds": sum(spending.clock(crew.memory).values()),
    }  # fmt: skip


def ablated(plan: Plan, folder: Path, finished: Sequence[str], failed: Mapping[str, str], bases: int) -> str:
    """Writes `report.json`, `report.md` and `report.html` of an ablation into its folder; returns the Markdown."""
    said = plan.experiment
    asked = ablation.Asked(
        title=said.title or folder.name, question=said.question, about=said.about,
        arms={arm.name: settings(arm) for arm in plan.arms},
        values={arm.name: {key: worded(value) for key, value in arm.values.items()} for arm in plan.arms},
        planned=len(plan.runs), bases=bases,
    )  # fmt: skip
    runs = [ran(team(str(folder / name)), plan.runs[name][0].name) for name in finished]
    return publish(folder, "report", ablation.ablated(asked, runs, failed, now()))


def ran(crew: Team, arm: str) -> Ran:
    desk = Desk(crew, champion(crew))
    return Ran(
        arm=arm, seed=crew.recipe.seed, judge=crew.measures_by, base=desk.before, card=desk.after,
        champion="" if desk.champion == BASE else desk.board.names[desk.champion], languages=desk.spoken,
        areas=desk.areas, fresh=list(attacks.fresh(desk.tallies).values())[-1] if desk.tallies else (0, 0),
        cells=len({key_of(row) for row in desk.tallies if row["broke"]}), rows=len(crew.memory.ids(Example)),
        **spent(crew),
    )  # fmt: skip


def settings(arm: Arm) -> str:
    """What an arm changes in the recipe."""
    return "; ".join(f"{key} = {value}" for part in (arm.part, arm.values) for key, value in flat("", part))


def worded(value: Any) -> str:
    return ", ".join(f"{key} = {said}" if key else said for key, said in flat("", value)) or str(value)
