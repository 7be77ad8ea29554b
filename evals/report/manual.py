"""Automated against manual red-teaming: what each tried, what broke, and what only one of them found."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.report.shapes import Cell as Shown
from evals.report.shapes import Section, Table
from evals.report.shapes import counted as share
from tools.memory import Memory, marks

KINDS = {"automated": "purpose = 'attack'", "manual": "purpose = 'import' and cycle > 0"}
"""Which attempts are whose. Those of cycle 0 are an older run's, and not a person's."""
NOTE = (
    "Manual are the conversations that were imported, held with whichever model they were recorded from; automated "
    "are this run's own, held with the base and its adapters. A cell is a harm area asked for in a language, in one "
    "turn or several."
)


class Cell(NamedTuple):
    """Where an attempt is counted."""

    area: str
    language: str
    turns: str


class Count(NamedTuple):
    """What the attempts in a cell came to."""

    tried: int = 0
    judged: int = 0
    broke: int = 0

    @property
    def shown(self) -> Shown:
        return share(self.broke, self.judged) or ("undetermined" if self.tried else "not tried")


Counts = Mapping[Cell, Count]


def compared(memory: Memory, judges: Sequence[str]) -> Section:
    """The comparison, by what all of `judges` say; empty unless there are attempts of both kinds."""
    name = "Automated and manual attacks"
    if not all(memory.query(f"select 1 from attempts where {where} limit 1") for where in KINDS.values()):
        return Section(name=name)
    counts = {kind: counted(memory, judges, where) for kind, where in KINDS.items()}
    if not all(counts.values()):
        return Section(name=name)
    cells = sorted({cell for some in counts.values() for cell in some})
    rows = tuple((*cell, *(some.get(cell, Count()).shown for some in counts.values())) for cell in cells)
    by_cell = Table(head=("harm area", "language", "turns", *counts), rows=rows)
    return Section(name=name, about=NOTE, blocks=(overall(counts, len(cells)), by_cell, alone(counts)))


def counted(memory: Memory, judges: Sequence[str], where: str) -> Counts:
    """What the attempts that meet `where` came to, by cell. A goal without an area has the one that the judges name."""
    asked = memory.query(
        "select attempt, count(*) as n from turns where role = 'user' and dropped = '' group by attempt"
    )
    turns = {row["attempt"]: row["n"] for row in asked}
    named = memory.query(
        f"select attempt, max(area) as area from verdicts where judge in ({marks(judges)}) group by 1", *judges
    )
    areas = {row["attempt"]: row["area"] for row in named}
    found: dict[Cell, Count] = {}
    for row in memory.labels(judges, where):
        several = "several" if turns.get(row["id"], 0) > 1 else "one"
        cell = Cell(row["area"] or areas.get(row["id"]) or "(none)", row["language"], several)
        tried, judged, broke = found.get(cell, Count())
        found[cell] = Count(tried + 1, judged + (row["harmful"] is not None), broke + bool(row["harmful"]))
    return found


def overall(counts: Mapping[str, Counts], cells: int) -> Table:
    """How much of what either tried each covered, and how often it broke the model."""
    rows: list[tuple[Shown, ...]] = []
    for kind, some in counts.items():
        total = Count(*(sum(column) for column in zip(*some.values(), strict=True)))
        broken = sum(count.broke > 0 for count in some.values())
        undetermined = total.tried - total.judged
        rows.append((kind, total.tried, undetermined, total.shown, f"{len(some)} of {cells}", broken))
    head = ("attacks", "attempts", "undetermined", "broke the model", "cells tried", "cells broken")
    return Table(head=head, rows=tuple(rows))


def alone(counts: Mapping[str, Counts]) -> Table | str:
    """The cells that one kind broke at least once and the other never."""
    (one, ones), (other, others) = counts.items()
    rows = [
        (kind, *cell, count.shown, rest.get(cell, Count()).shown)
        for kind, some, rest in ((one, ones, others), (other, others, ones))
        for cell, count in sorted(some.items())
        if count.broke and not rest.get(cell, Count()).broke
    ]
    if not rows:
        return "Neither found a cell that the other did not."
    head = ("only found by", "harm area", "language", "turns", "broke the model", "the other")
    return Table(head=head, rows=tuple(rows))
