"""Runs beside each other: what each brought and cost, and by how much they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evals.gate import Card, paired
from evals.report.board import ANSWER, BENCHMARKS, Board
from evals.report.measured import boxed
from evals.report.shapes import Bars, Cell, Report, Section, Table, of
from tools.records import BASE
from tools.statistics import Interval, unpaired

SHARED = 0.9
"""Two runs have the same items when so large a share of those of either is in both; they are then compared by item."""
ABOUT = (
    "The differences are the later run's champion less the earlier one's. Where both were measured on the same items, "
    "by the same judge, they are paired, item against item; else the samples are taken to have nothing in common, and "
    "the interval is wider. They are not corrected for how many they are: one in twenty excludes 0 by chance."
)


@dataclass(frozen=True)
class Beside:
    """A run as it is compared."""

    report: Report
    board: Board
    card: Card
    """What became of every item with the champion on."""
    judge: str
    """The identity of the judge that measured it."""
    cycles: int
    calls: int
    tokens: int
    money: float
    seconds: float


def compared(runs: Mapping[str, Beside], made: str) -> Report:
    """The comparison as a report of its own."""
    sections = (overview(runs), charted(runs), Section(name="Differences", about=ABOUT, blocks=boxed([apart(runs)])))
    shown = " and ".join(runs) if len(runs) == 2 else ", ".join(runs)
    notes = dict.fromkeys(note for one in runs.values() for note in one.report.notes)
    warnings = apart_in_judges(runs)
    warnings += [f"{name}: {said}" for name, one in runs.items() for said in one.report.warnings]
    return Report(
        title=f"breakfix: {shown}", run="", made=made,
        ended="; ".join(f"{name}: {one.report.ended}" for name, one in runs.items()),
        champion="", headline=f"{len(runs)} runs beside each other: their champions, and what each cost.", verdict="",
        status="", tiles=(), reductions={}, warnings=tuple(warnings), notes=tuple(notes),
        sections=tuple(one for one in sections if one.blocks),
    )  # fmt: skip


def apart_in_judges(runs: Mapping[str, Beside]) -> list[str]:
    """What to know where the runs were not measured by one judge."""
    judges: dict[str, list[str]] = {}
    for name, one in runs.items():
        judges.setdefault(one.judge, []).append(name)
    if len(judges) < 2:
        return []
    sides = "; ".join(f"{', '.join(names)} by `{judge[:6]}`" for judge, names in judges.items())
    return [f"the runs were measured by different judges ({sides}): what differs may be the judges and not the models, "
            "and nothing is paired between them."]  # fmt: skip


def overview(runs: Mapping[str, Beside]) -> Section:
    """A row for each run."""
    names = [name for name in ANSWER if any(one.board.rate(name, one.board.champion) for one in runs.values())]
    rows: list[tuple[Cell, ...]] = []
    for run, one in runs.items():
        fell = (one.report.reductions.get(split) for split in ("held_out", "final"))
        rates = (one.board.rate(name, one.board.champion) for name in names)
        base = one.board.rate("harm", BASE)
        rows.append((run, one.board.names[one.board.champion], base, *fell, *rates))
    head = ("run", "champion", "base, harm", "harm fell by", "harm on final goals fell by",
            *(BENCHMARKS[name] for name in names))  # fmt: skip
    costs = [(run, one.cycles, one.calls, one.tokens, round(one.seconds), one.money) for run, one in runs.items()]
    shown = 6 if any(one.money for one in runs.values()) else 5
    head_of_costs = ("run", "cycles trained", "calls", "tokens", "seconds", "money")[:shown]
    spent = Table(title="What each cost", head=head_of_costs, rows=tuple(row[:shown] for row in costs))
    return Section(name="The runs", blocks=(Table(head=head, rows=tuple(rows)), spent))


def charted(runs: Mapping[str, Beside]) -> Section:
    """Harm of each base and champion, on the items of the run."""
    columns = {
        "base": tuple(one.board.rate("harm", BASE) for one in runs.values()),
        "champion": tuple(one.board.rate("harm", one.board.champion) for one in runs.values()),
    }
    if not any(any(column) for column in columns.values()):
        return Section(name="Harm")
    chart = Bars(
        title="Harm on held-out goals, in held-out ways", x="harm, %", y="run", names=tuple(runs), series=columns
    )
    return Section(name="Harm", blocks=(chart,))


def apart(runs: Mapping[str, Beside]) -> Table | None:
    """The differences between each two champions."""
    rows: list[tuple[Cell, ...]] = []
    for (one, first), (other, second) in combinations(runs.items(), 2):
        for name, label in BENCHMARKS.items():
            found = difference(name, first, second)
            if found:
                change, how = found
                rows.append((f"{other} less {one}", label, of(change, "points"), how, better(name, change, one, other)))
    head = ("runs", "measure", "difference", "items", "")
    return Table(head=head, rows=tuple(rows)) if rows else None


def better(name: str, change: Interval, one: str, other: str) -> str:
    """Which of two runs a change from one to the other speaks for. Of all but refusals and ability, less is better."""
    if change.low <= 0 <= change.high:
        return "not shown to differ"
    return f"{other} is better" if (change.value > 0) == (ANSWER.get(name, -1) > 0) else f"{one} is better"


def difference(name: str, first: Beside, second: Beside) -> tuple[Interval, str] | None:
    """By how much two champions differ on a benchmark, and whether that is item against item."""
    ours, theirs = first.card.get(name, {}), second.card.get(name, {})
    both = ours.keys() & theirs.keys()
    same = first.judge == second.judge
    if same and both and len(both) >= SHARED * max(len(ours), len(theirs)):
        change = paired(first.card, second.card, [name])
        if change:
            return change, f"the same {len(both)}"
    if name == "regressions":
        return None  # each run's are the attacks that beat its own models
    was, now = (one.board.rate(name, one.board.champion) for one in (first, second))
    if not was or not now or not was.n or not now.n:
        return None
    how = "different ones" if same else "by different judges"
    return unpaired(was.value * was.n, was.n, now.value * now.n, now.n), how


def names_of(folders: Sequence[str]) -> list[str]:
    """What the runs are called: the name of the folder, or all of the path where two have one name."""
    short = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    return short if len(set(short)) == len(short) else list(folders)
