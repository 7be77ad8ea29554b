"""What a run cost: calls, tokens and money by role, and time by node."""

from collections.abc import Callable
from typing import Any

from evals.report.shapes import Cell, Section, Table
from tools.memory import Memory

Price = Callable[[str, tuple[int, int]], float]
"""From a role, and tokens read and written, to money."""
TIME = "Seconds that each node worked, in whatever processes: not those that the run was off or waited for a person."


def spent(memory: Memory, price: Price) -> Section:
    """By role and by node."""
    rows: list[tuple[Cell, ...]] = []
    for row in by_role(memory):
        money = price(row["role"], (row["read"], row["written"]))
        rows.append((row["role"], row["calls"], row["read"], row["written"], money if money else None))
    head = ("role", "calls", "tokens read", "tokens written", "money")
    shown = 5 if any(row[4] for row in rows) else 4
    roles = Table(head=head[:shown], rows=tuple(row[:shown] for row in rows))
    seconds = clock(memory)
    total = sum(seconds.values())
    by_node: list[tuple[Cell, ...]] = [(node, round(n), f"{n / total:.0%}") for node, n in seconds.items() if n >= 0.5]
    timed = Table(head=("node", "seconds", "share"), rows=(*by_node, ("all", round(total), "")))
    return Section(name="What it cost", blocks=(*((roles,) if rows else ()), *((timed, TIME) if by_node else ())))


def by_role(memory: Memory) -> list[dict[str, Any]]:
    """Calls, tokens read and tokens written."""
    sql = """select role, sum(calls) as calls, sum(prompt_tokens) as read, sum(completion_tokens) as written
        from costs group by role order by role"""
    return memory.query(sql)


def clock(memory: Memory) -> dict[str, float]:
    """Seconds by node, the longest first."""
    sql = """select node, total(body ->> 'seconds') as seconds from events where kind = 'worked' group by node
        order by seconds desc"""
    return {row["node"]: row["seconds"] for row in memory.query(sql)}
