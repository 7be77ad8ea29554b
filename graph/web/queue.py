"""What waits at a gate, for pages: filtered, by the page, and gathered anew only when something has changed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from graph import edits, gates, waiting
from graph.edits import Edit
from graph.gates import Place
from graph.team import Team
from graph.waiting import Item
from tools.records import Example

EACH = 50
"""Items on a page."""
STAMP = """select (select max(rowid) from examples) as examples, (select max(rowid) from verdicts) as verdicts,
    (select max(rowid) from events) as events"""
"""What changes whenever something that waits does."""
VERDICTS = {True: "harmful", False: "harmless", None: "undetermined"}


class Wanted(NamedTuple):
    """What somebody wants to see of a queue; what is left empty is any."""

    kind: str = ""
    area: str = ""
    way: str = ""
    language: str = ""
    verdict: str = ""
    q: str = ""

    def fits(self, item: Item) -> bool:
        has = (kind(item), *item.cell, verdict(item))
        return all(not want or want == one for want, one in zip(self[:5], has, strict=True))


def kind(item: Item) -> str:
    """`refuse`, `help` or `retain` for a row; else what the item is."""
    return item.about.partition(",")[0] if item.what == "row" else item.what


def verdict(item: Item) -> str:
    """What is said of the attack that an item is about."""
    return VERDICTS[item.harmful] if item.attempt else "no attack"


@dataclass
class Queue:
    items: list[Item]
    edits: list[Edit]
    held: dict[Wanted, list[Item]] = field(default_factory=dict)
    """What was wanted of it before."""

    def some(self, wanted: Wanted) -> list[Item]:
        if wanted not in self.held:
            fit = [item for item in self.items if wanted.fits(item)] if any(wanted[:5]) else self.items
            self.held[wanted] = [fit[place] for place in waiting.found(fit, wanted.q)] if wanted.q else fit
        return self.held[wanted]

    @cached_property
    def choices(self) -> dict[str, list[str]]:
        """The values that each filter can have."""
        values = {(kind(item), *item.cell, verdict(item)) for item in self.items}
        columns = zip(*values, strict=True) if values else ()
        return {name: sorted(set(column) - {""}) for name, column in zip(Wanted._fields, columns, strict=False)}


class Queues:
    def __init__(self) -> None:
        self.known: dict[Path, tuple[tuple[Place, list[dict[str, int]]], Queue]] = {}
        self.lock = threading.Lock()

    def of(self, crew: Team, gate: dict[str, Any]) -> Queue:
        place = gates.place_of(gate)
        with self.lock:
            stamp = place, crew.memory.query(STAMP)
            if crew.run not in self.known or self.known[crew.run][0] != stamp:
                made = Queue(waiting.items(crew, place, gate), edits.live(crew, place))
                self.known[crew.run] = stamp, made
            return self.known[crew.run][1]

    def changed(self, crew: Team, made: Edit) -> None:
        """Puts a change that was just made into what is known, where nothing else came between: to gather 5,000 rows
        anew for each takes seconds."""
        with self.lock:
            if crew.run not in self.known:
                return
            (place, [before]), queue = self.known[crew.run]
            [now] = crew.memory.query(STAMP)
            [last] = crew.memory.query("select max(rowid) as number from events where rowid < ?", made.number)
            rows = now["examples"] - (before["examples"] or 0)
            if (place, last["number"], now["events"], rows) != (
                made.place, before["events"], made.number, int(made.change.what in ("rewrite", "add"))
            ):  # fmt: skip
                return
            if (items := patched(crew, queue.items, made)) is not None:
                self.known[crew.run] = (place, [now]), Queue(items, [*queue.edits, made])


def patched(crew: Team, items: Sequence[Item], made: Edit) -> list[Item] | None:
    """The items after a change; None where they have to be gathered anew."""
    change = made.change
    if change.what in ("cell", "ask"):
        return list(items)
    if change.what == "drop":
        return [one for one in items if one.id != change.row]
    if change.what == "rewrite":
        [row] = crew.memory.get(Example, "id = ?", made.made)
        return [rewritten(one, row, made) if one.id == change.row else one for one in items]
    if change.what == "judge":
        kept = [one for one in items if one.id != change.attempt]
        return [*kept, *waiting.doubtful(crew, made.place, change.attempt)]
    return None


def rewritten(item: Item, row: Example, made: Edit) -> Item:
    return item._replace(id=row.id, about=waiting.about(row), parts=waiting.said(row), edit=made)


def beside(some: Sequence[Item], name: str) -> tuple[int | None, str, str]:
    """The place of an item among some, and the ids of those before and after it."""
    place = next((number for number, one in enumerate(some) if one.id == name), None)
    if place is None or len(some) < 2:
        return place, "", ""
    return place, some[place - 1].id, some[(place + 1) % len(some)].id
