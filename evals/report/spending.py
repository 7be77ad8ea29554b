"""What a run cost: calls, tokens and money by role, and time by node."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from evals.report.shapes import Cell, Section, Table
from tools.goals import logged
from tools.memory import Memory

Price = Callable[[str, tuple[int, int]], float]
"""From a role, and tokens read and written, to money."""
TIME = (
    "Seconds between a node's beginning and the next one's, by the run's log. Of a node that was broken off, as far as "
    "it is known to have worked."
)


def spent(memory: Memory, log: Path, price: Price) -> Section:
    """By role and by node."""
    rows: list[tuple[Cell, ...]] = []
    for row in by_role(memory):
        money = price(row["role"], (row["read"], row["written"]))
        rows.append((row["role"], row["calls"], row["read"], row["written"], money if money else None))
    head = ("role", "calls", "tokens read", "tokens written", "money")
    shown = 5 if any(row[4] for row in rows) else 4
    roles = Table(head=head[:shown], rows=tuple(row[:shown] for row in rows))
    seconds = clock(memory, log)
    total = sum(seconds.values())
    by_node: list[tuple[Cell, ...]] = [(node, round(n), f"{n / total:.0%}") for node, n in seconds.items() if n >= 0.5]
    timed = Table(head=("node", "seconds", "share"), rows=(*by_node, ("all", round(total), "")))
    return Section(name="What it cost", blocks=(*((roles,) if rows else ()), *((timed, TIME) if by_node else ())))


def by_role(memory: Memory) -> list[dict[str, Any]]:
    """Calls, tokens read and tokens written."""
    sql = """select role, sum(calls) as calls, sum(prompt_tokens) as read, sum(completion_tokens) as written
        from costs group by role order by role"""
    return memory.query(sql)


def clock(memory: Memory, log: Path) -> dict[str, float]:
    """Seconds by node, the longest first."""
    known = memory.query("select at from costs union all select at from events")
    return times(read(log), [row["at"] for row in known])


def times(begun: Sequence[tuple[str, float]], known: Sequence[float]) -> dict[str, float]:
    """Seconds by node. A node that begins twice was broken off: it worked until the last thing that it wrote."""
    found: dict[str, float] = defaultdict(float)
    for number, (node, at) in enumerate(begun):
        following = begun[number + 1] if number + 1 < len(begun) else None
        until = following[1] if following else float("inf")
        if following is None or following[0] == node:
            until = max((one for one in known if at <= one <= until), default=at)
        found[node] += max(until - at, 0.0)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def read(log: Path) -> list[tuple[str, float]]:
    """Each node's beginnings, in order."""
    if not log.is_file():
        return []
    found = []
    for one in logged(log.read_text(encoding="utf-8", errors="replace").splitlines()):
        with suppress(ValueError, KeyError, TypeError, OverflowError):
            if one.get("what") == "begins":
                found.append((str(one["node"]), datetime.fromisoformat(one["at"]).timestamp()))
    return found
