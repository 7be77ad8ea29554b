"""How long a run may still take, as far as it has taught anybody: by what its last whole cycle took."""

from collections.abc import Mapping

from graph.build import ORDER
from graph.timing import span, worked
from tools.memory import Memory

CYCLE = ORDER[ORDER.index("attack") : ORDER.index("report")]


def left(memory: Memory, node: str, cycle: int, most: int, hours: float | None) -> str:
    """What is left of a cycle, and of the cycles that may follow, in words; empty while no whole cycle was made.

    `most` and `hours` are the recipe's budgets of cycles and of hours. What is measured once, at the end, is not in it.
    """
    took = seconds(memory, cycle - 1)
    whole = [one for one in took if 0 < one < cycle and "promote" in took[one]]
    if node not in CYCLE or not whole:
        return ""
    last, now = took[max(whole)], took.get(cycle, {})
    after = sum(last.get(one, 0.0) for one in CYCLE[CYCLE.index(node) + 1 :])
    rest = max(last.get(node, 0.0) - now.get(node, 0.0), 0.0) + after
    said = f"about {span(rest)} left of cycle {cycle}, as cycle {max(whole)} took"
    more = most - cycle
    longest = rest + more * sum(last.values()) if more > 0 else 0.0
    spare = 3600 * hours - worked(memory) if hours is not None else longest
    if more > 0 and spare >= longest:
        return f"{said}; about {span(longest)} with {more} more like it, if it comes to them"
    return f"{said}; the budget of hours has {span(max(spare, 0.0))} left" if hours is not None else said


def seconds(memory: Memory, since: int) -> Mapping[int, Mapping[str, float]]:
    """What each node of each cycle from `since` on has worked."""
    found: dict[int, dict[str, float]] = {}
    sql = """select cycle, node, total(body ->> 'seconds') as seconds from events where kind = 'worked' and cycle >= ?
        group by cycle, node"""
    for row in memory.query(sql, since):
        found.setdefault(row["cycle"], {})[row["node"]] = row["seconds"]
    return found
