"""A cycle's attack: waves of attempts, each planned from what all before it came to."""

from collections.abc import Sequence
from typing import Any

from agents import attacker
from agents.bandit import Cell, Tally
from agents.duel import Memo
from graph import budgets, edits, kept, measuring, sources
from graph.team import Team
from tools.memory import ATTACKS
from tools.records import Attempt, Goal, Turn

LATEST = 400
"""How many of the attacks that worked are remembered, and how many of those that failed, the latest first."""


def attack(crew: Team, champion: str, cycle: int) -> None:
    """Makes the attempts of a cycle; a wave once planned stays so, and what is done is not done again.

    The judges that label look at a wave before the next one is planned. Ends early when a budget is spent.
    """
    settings, seed = crew.recipe.attack, crew.recipe.seed
    brought, by_hand = edits.by_hand(crew, champion, cycle)
    known = [*crew.goals, *sources.fresh(crew, cycle), *brought]
    goals = [goal for goal in known if goal.intent == "harmful" and goal.split == "train"]
    if by_hand:
        measuring.converse(crew, by_hand, "attack", cycle, hold=verbatim(crew, champion, brought))
    earlier = kept.each(crew, tallied) if settings.remembers else {}
    before = [tally for when, some in earlier.items() if when < cycle for tally in some]
    steers = edits.steered(crew, cycle)
    size = -(-settings.attempts // settings.waves)
    for start in range(0, settings.attempts, size):
        if budgets.reached(crew, "attack", cycle):
            break
        history = [*before, *tallies(crew, "cycle = ? and seed < ?", cycle, seed + start)]
        left = min(size, settings.attempts - start)
        planned = attacker.plan(goals, history, settings, champion, cycle, seed, start, left, steers)
        measuring.converse(crew, planned, "attack", cycle, memos(crew, cycle, seed + start))
        if start + size < settings.attempts:
            measuring.judge(crew, ATTACKS, [cycle], crew.labelling, "attack", cycle)


def verbatim(crew: Team, champion: str, goals: Sequence[Goal]) -> measuring.Hold:
    """Says a goal's own words, and no more."""
    target, system, texts = crew.target(champion), crew.recipe.target.system, {goal.id: goal.text for goal in goals}

    async def hold(attempt: Attempt) -> Attempt:
        return await attacker.replay(attempt, [Turn(role="user", text=texts[attempt.goal])], target, system)

    return hold


def tallies(crew: Team, where: str, *values: object) -> list[Tally]:
    """What each cell of each cycle came to, of the attacks that meet `where`."""
    rows = crew.memory.tallies(list(crew.labels_by), f"purpose = 'attack' and {where}", *values)
    return [Tally(row["cycle"], row["target"], cell_of(row), row["judged"], row["broke"]) for row in rows]


def tallied(crew: Team, cycle: int) -> list[Tally]:
    return tallies(crew, "cycle = ?", cycle)


def memos(crew: Team, cycle: int, before: int) -> list[tuple[Cell, Memo]]:
    """What worked and what failed, in earlier cycles and in this one's earlier waves, as far as it is remembered."""
    remembers = crew.recipe.attack.remembers
    return [
        (cell_of(row), Memo(row["id"], row["goal_text"], row["said"], broke))
        for broke in (True, False)
        for row in crew.memory.latest(list(crew.labels_by), broke, cycle, before, LATEST)
        if remembers or row["cycle"] == cycle
    ]


def cell_of(row: dict[str, Any]) -> Cell:
    return Cell(row["area"], row["persona"], row["strategy"], row["converters"], row["language"])
