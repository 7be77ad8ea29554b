"""Rows from failures: what the writer makes of one, what the target itself would say, and general rows beside them."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable

from agents import self_writer, templates, writer
from agents.self_writer import SelfWriter
from graph import sources
from graph.team import Team
from tools.languages import opening
from tools.records import Attempt, Example, Goal

Answer = Callable[[Attempt, Goal], Awaitable[list[Example]]]
"""Makes the rows that answer a failure."""


def answering(crew: Team, adapter: str, cycle: int, round: int, feedback: str = "") -> Answer:
    """How failures are answered in a round: by the writer, and then by the target with an adapter on where it is so."""
    twins, own = sources.lookalikes(crew.recipe), crew.recipe.data.chosen == "target"
    by = target(crew, adapter, cycle) if own else None

    async def answer(failure: Attempt, goal: Goal) -> list[Example]:
        if crew.writer is None:
            rows = templates.write(failure, goal, twins.get(goal.text), cycle, round)
        else:
            rows = await writer.write(failure, goal, crew.writer, crew.writer_id, cycle, round, feedback)
        return await self_writer.rewritten(rows, failure, goal, by, cycle, round) if by else rows

    return answer


def target(crew: Team, adapter: str, cycle: int) -> SelfWriter:
    """The target as its own writer, judged by the first judge that labels."""
    earlier = crew.memory.query("select chosen from examples where kind = 'refuse' and cycle < ?", cycle)
    judge, _ = next(iter(crew.labelling.values()))
    return SelfWriter(
        model=crew.target(adapter), identity=crew.recipe.target.identity(), judge=judge, own=crew.recipe.data.own,
        seeded=crew.recipe.target.provider in ("hf", "sandbox", "openai", "vllm"),
        blunt=all(leaf.offline for leaf in crew.recipe.agents.judge.leaves),
        worn=Counter(opening(row["chosen"]) for row in earlier),
    )  # fmt: skip


def beside(crew: Team, failures: int, cycle: int, round: int) -> None:
    """Puts general rows and pairs into the memory, in proportion to the failures and to the pairs that answer them."""
    data = crew.recipe.data
    crew.memory.add(sources.retained(crew.recipe, data.retained_per_failure * failures, cycle, round))
    if data.preferences:
        pairs = len(crew.memory.ids(Example, "cycle = ? and round = ? and kind <> 'retain'", cycle, round))
        general = math.ceil(pairs * data.preferred / (1 - data.preferred))
        crew.memory.add(sources.preferences(crew.recipe, general, cycle, round))
