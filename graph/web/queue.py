"""What waits at a gate, for pages: filtered, by the page, and gathered anew only when something has changed."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graph import edits, gates, waiting
from graph.edits import Edit
from graph.team import Team
from graph.waiting import Item

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


class Queue(NamedTuple):
    items: list[Item]
    edits: list[Edit]

    def some(self, wanted: Wanted) -> list[Item]:
        held = [item for item in self.items if wanted.fits(item)]
        return [held[place] for place in waiting.found(held, wanted.q)] if wanted.q.strip() else held

    def choices(self) -> dict[str, list[str]]:
        """The values that each filter can have."""
        values = {(kind(item), *item.cell, verdict(item)) for item in self.items}
        columns = zip(*values, strict=True) if values else ()
        return {name: sorted(set(column) - {""}) for name, column in zip(Wanted._fields, columns, strict=False)}


class Queues:
    def __init__(self) -> None:
        self.known: dict[Path, tuple[object, Queue]] = {}
        self.lock = threading.Lock()

    def of(self, crew: Team, gate: dict[str, Any]) -> Queue:
        place = gates.place_of(gate)
        with self.lock:
            stamp = place, crew.memory.query(STAMP)
            if crew.run not in self.known or self.known[crew.run][0] != stamp:
                made = Queue(waiting.items(crew, place, gate), edits.live(crew, place))
                self.known[crew.run] = stamp, made
            return self.known[crew.run][1]


def beside(some: Sequence[Item], name: str) -> tuple[int | None, str, str]:
    """The place of an item among some, and the ids of those before and after it."""
    place = next((number for number, one in enumerate(some) if one.id == name), None)
    if place is None or len(some) < 2:
        return place, "", ""
    return place, some[place - 1].id, some[(place + 1) % len(some)].id
