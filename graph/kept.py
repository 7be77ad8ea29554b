"""What a process keeps of its run's memory, so that what earlier cycles came to is not looked up anew in each cycle.

It takes RAM for as long as the process lives: mostly the rows, about 1 KB each and their texts.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tools.memory import MADE
from tools.records import Example
from training import dataset

if TYPE_CHECKING:
    from graph.team import Team

T = TypeVar("T")

CHANGED = f"""select cycle from attempts where number > ? and {MADE}
    union select cycle from verdicts join attempts on number = at where verdicts.rowid > ? and {MADE}"""


@dataclass
class Kept:
    """The memory is only ever appended to: what is known of a cycle stays so until something of it is added."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    attempts: int = 0
    verdicts: int = 0
    """The numbers of the last attempt and the last verdict that are counted in."""
    cycles: set[int] = field(default_factory=set)
    known: dict[Callable[..., Any], dict[int, Any]] = field(default_factory=dict)
    row: int = 0
    """The number of the last row that was read."""
    rows: list[Example] = field(default_factory=list)


def each(crew: "Team", look: Callable[["Team", int], T]) -> Mapping[int, T]:
    """What `look`, a function that has a name, finds of each cycle in which anything was attacked or imported.

    It may look at nothing but those attempts and their verdicts: a cycle is looked at again when one is added.
    """
    kept = crew.kept
    with kept.lock:
        attempts, verdicts = crew.memory.newest("attempts"), crew.memory.newest("verdicts")
        changed = {row["cycle"] for row in crew.memory.query(CHANGED, kept.attempts, kept.verdicts)}
        for found in kept.known.values():
            for cycle in changed & found.keys():
                del found[cycle]
        kept.attempts, kept.verdicts, kept.cycles = attempts, verdicts, kept.cycles | changed
        mine = kept.known.setdefault(look, {})
        for cycle in sorted(kept.cycles - mine.keys()):
            mine[cycle] = look(crew, cycle)
        return dict(sorted(mine.items()))


def rows(crew: "Team") -> list[Example]:
    """All rows, in the order they were written, but for those in another language than they were asked in."""
    kept = crew.kept
    with kept.lock:
        newest = crew.memory.newest("examples")
        fresh = crew.memory.get(Example, "rowid > ? and rowid <= ?", kept.row, newest)
        kept.rows += [row for row in fresh if not dataset.foreign(row)]
        kept.row = newest
        return kept.rows[:]
