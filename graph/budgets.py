"""The budgets of a run: asked about before anything new is begun; what is begun already is finished."""

import os
from pathlib import Path

from graph import costs, timing
from graph.team import Team

OVER = "budget over: "
HELD = "purpose <> 'import'"
"""SQL: a conversation that the run has held, and none that was imported."""


def over(crew: Team) -> str:
    """Which budget of the recipe is spent, in words; empty while none is."""
    rule, memory = crew.recipe.stop, crew.memory
    if spent := costs.over(memory, crew.recipe):
        return spent
    if rule.hours is not None and (seconds := timing.worked(memory)) >= 3600 * rule.hours:
        return f"it has worked for {timing.span(seconds)} of {timing.span(3600 * rule.hours)}"
    if rule.attempts is not None and (held := conversations(crew)) >= rule.attempts:
        return f"{held:,} of {rule.attempts:,} conversations are held"
    if rule.disk is not None and (taken := size(crew.run) / 1e9) >= rule.disk:
        return f"its folder takes {taken:.3g} of {rule.disk:g} GB"
    return ""


def reached(crew: Team, node: str, cycle: int) -> str:
    """Why a node begins nothing more, which is an event then; empty where it may.

    Whoever has a run go on at the stop gate though a budget is over has it go on until the next decision.
    """
    if crew.memory.last("decision").get("despite", "").startswith(OVER) or not (spent := over(crew)):
        return ""
    crew.memory.event(cycle, node, "budget", why=spent)
    return OVER + spent


def conversations(crew: Team) -> int:
    """Those that the run has held, to attack or to measure, failed ones too; what was imported it has not held."""
    [found] = crew.memory.query(f"select count(*) as n from attempts where {HELD}")
    return int(found["n"])


def size(folder: Path) -> int:
    """Bytes that a run takes on disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except FileNotFoundError:  # SQLite takes its logs away
                continue
    return total
