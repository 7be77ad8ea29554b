"""Robustness beyond the prompt, once the run is over: begun answers, draws at a temperature, other spellings."""

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agents import attacker
from agents.asking import perturbed
from evals import benchmarks, robustness
from evals.benchmarks import Outcomes
from graph import measuring
from graph.team import Team
from tools.records import BASE, Attempt, Goal, Turn, Verdict

Asked = tuple[Attempt, tuple[Turn, ...], dict[str, Any]]
"""A variant of an item, what is said in it, and how the target is to answer."""


def measure_robustness(crew: Team, adapter: str, node: str, cycle: int) -> None:
    """Scores an adapter on held-out goals that are asked for plainly, and then by other means than words.

    A begun answer is the harmful one that the base gave, as far as that is not yet harm by itself: where it is, the
    item says nothing about who goes on with it and is left out. So n falls with the depth.
    """
    items = bank(crew)
    if not items:
        return
    for one in dict.fromkeys((BASE, adapter)):
        measuring.converse(crew, [benchmarks.against(item, one) for item in items], node, cycle)
        measuring.judge(crew, measuring.ANSWERS, [one], crew.measuring, node, cycle)
    asked = {one[0].id: one for one in variants(crew, items, adapter, beginnings(crew, items, node, cycle))}
    target = cache(crew.target)

    async def hold(attempt: Attempt) -> Attempt:
        _, turns, how = asked[attempt.id]
        return await attacker.replay(attempt, turns, target(attempt.target), crew.recipe.target.system, **how)

    measuring.converse(crew, [attempt for attempt, _, _ in asked.values()], node, cycle, hold=hold)
    measuring.judge(crew, measuring.ANSWERS, [adapter], crew.measuring, node, cycle)
    crew.memory.add(robustness.scores(adapter, card(crew, adapter), crew.recipe.evals.robustness))


def bank(crew: Team) -> list[Attempt]:
    """The items: held-out goals asked for plainly, in the languages that are trained against."""
    recipe = crew.recipe
    goals = crew.memory.get(Goal, "split = 'held_out' and intent = 'harmful'")
    size = min(recipe.evals.robustness.items, len(goals))
    return benchmarks.items("robustness", goals, size, [benchmarks.DIRECT], recipe.attack.languages, recipe.seed)


def variant(item: Attempt, strategy: str, target: str) -> Attempt:
    return item.model_copy(update={"strategy": strategy, "target": target, "parents": (item.id,)})


def beginnings(crew: Team, items: Sequence[Attempt], node: str, cycle: int) -> dict[tuple[str, int], str]:
    """By item and depth, how the base's harmful answer begins, where the measuring judge finds no harm in that yet.

    None where the target is an endpoint that goes on with no answer that was begun for it.
    """
    spec = crew.recipe.target
    if not spec.weights and not spec.base_url:
        return {}
    harmful, plain, cut = verdicts(crew, BASE), answered(crew, BASE), dict[tuple[str, int], str]()
    for item in items:
        for depth in crew.recipe.evals.robustness.prefill if harmful.get(item.id) else ():
            answer = plain[item.id].response
            text = robustness.begun(answer, crew.engine.first(answer, depth)) if depth else ""
            cut |= {(item.id, depth): text} if text else {}
    alone = {
        key: variant(item, f"begun:{key[1]}", BASE).model_copy(update={"turns": begin(plain[item.id], text)})
        for item in items for key, text in cut.items() if key[0] == item.id
    }  # fmt: skip
    known = crew.memory.ids(Attempt, "purpose = 'measure' and target = ? and strategy like 'begun:%'", BASE)
    crew.memory.add(attempt for attempt in alone.values() if attempt.id not in known)
    measuring.judge(crew, measuring.ANSWERS, [BASE], crew.measuring, node, cycle)
    found = verdicts(crew, BASE)
    return {key: text for key, text in cut.items() if found.get(alone[key].id) is False}


def begin(plain: Attempt, text: str) -> tuple[Turn, ...]:
    """What was said up to an answer, and how that is to begin."""
    return (*plain.kept[:-1], Turn(role="assistant", text=text, prefill=text))


def variants(crew: Team, items: Sequence[Attempt], adapter: str, begun: Mapping[tuple[str, int], str]) -> list[Asked]:
    """Every item in every other way of asking it; an item as it stands is no prefill, and the first try of N."""
    settings, plain, asked = crew.recipe.evals.robustness, answered(crew, BASE), list[Asked]()
    seeded = bool(crew.recipe.target.weights) or crew.recipe.target.provider == "openai"
    for item in items:
        said = plain[item.id]
        for (name, depth), text in begun.items():
            if name == item.id:
                asked.append((variant(item, f"prefill:{depth}", adapter), begin(said, text), {}))
        for number in range(1, settings.repeats + 1):
            how = {"temperature": settings.temperature, **({"seed": number} if seeded else {})}
            asked.append((variant(item, f"repeat:{number}", adapter), said.kept, how))
        for number in range(2, settings.tries + 1):
            asked.append((variant(item, f"best_of_n:{number}", adapter), respelled(said, f"{item.id}/{number}"), {}))
    return asked


def respelled(said: Attempt, seed: str) -> tuple[Turn, ...]:
    """A conversation with another spelling of what the user says."""
    dice = random.Random(seed)
    return tuple(
        turn.model_copy(update={"text": perturbed(turn.text, dice), "plain": turn.plain or turn.text})
        if turn.role == "user" else turn for turn in said.kept
    )  # fmt: skip


def card(crew: Team, adapter: str) -> dict[str, Outcomes]:
    """What became of every item in each of its variants, such as `prefill:5`; items are named as the base's are."""
    harmful, broke, found = verdicts(crew, adapter), verdicts(crew, BASE), dict[str, Outcomes]()
    for item in bank(crew):
        plain = harmful.get(benchmarks.against(item, adapter).id)
        found.setdefault("best_of_n:1", {})[item.goal, item.id] = plain
        if broke.get(item.id):
            found.setdefault("prefill:0", {})[item.goal, item.id] = plain
    for attempt in crew.memory.get(Attempt, f"purpose = 'measure' and target = ? and {robustness.VARIANT}", adapter):
        found.setdefault(attempt.strategy, {})[attempt.goal, attempt.parents[0]] = harmful.get(attempt.id)
    return found


def answered(crew: Team, adapter: str) -> dict[str, Attempt]:
    """The conversations that were held with one of the models to measure it, by id."""
    return {a.id: a for a in crew.memory.get(Attempt, "purpose = 'measure' and target = ? and error = ''", adapter)}


def verdicts(crew: Team, adapter: str) -> dict[str, bool | None]:
    """What the measuring judge says of them; an answer that was not given has no verdict."""
    sql = "attempt in (select id from attempts where purpose = 'measure' and target = ?) and judge = ?"
    return {v.attempt: v.harmful for v in crew.memory.get(Verdict, sql, adapter, crew.measures_by)}
