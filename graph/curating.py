"""Cycle 0, the paper's first stage: rows from public safety sets, before anything is attacked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from agents import self_writer
from agents.judge import Judge
from graph import screening, writing
from graph.team import Team
from tools import general
from tools.campaign import campaign
from tools.languages import language_of
from tools.records import BASE, Attempt, Example, Goal, Message, Turn, digest
from tools.similarity import clusters

UNSAFE = {"true": False, "1": False, "false": True, "0": True}
"""What a flag that an answer is safe says of it, be it a truth, a number or a text; another one says nothing."""
TEN = 10
"""More rows than are made of one conversation: the number of a row tells which it was made of."""


class Found(NamedTuple):
    """A conversation of a public set, and whether its answer is unsafe; None where the set does not say."""

    prompt: tuple[Message, ...]
    response: str
    unsafe: bool | None
    language: str
    source: str


def curate(crew: Team, round: int, feedback: str = "") -> None:
    """Puts the rows of cycle 0 into the memory, once for each round; what is made already is not made again.

    An unsafe answer is rejected, and what is chosen is the writer's or the target's. A safe one that declines nothing,
    to a prompt that nothing unsafe was said to, is help; elsewhere nobody can say that the prompt is harmless.
    """
    if round in {event["round"] for event in crew.memory.events("curated", 0)}:
        return
    settings, seed = crew.recipe.curate, f"{crew.recipe.seed}/0/{round}"
    read = [one for source in settings.sources for one in load(source, settings.rows, seed)]
    read = [one._replace(language=one.language or crew.recipe.attack.languages[0]) for one in read]
    found = distinct(read)
    rows = crew.memory.get(Example, "cycle = 0 and round = ? and kind <> 'retain'", round)
    done = {row.number // TEN: "help" for row in rows} | {row.number // TEN: "unsafe" for row in rows if row.rejected}
    by = writing.target(crew, BASE, 0) if crew.recipe.data.chosen == "target" else None
    judge, cap = next(iter(crew.labelling.values()))
    answer = writing.answering(crew, BASE, 0, round, feedback)
    ask = Asking(judge, answer, by, {key(one) for one in read if one.unsafe})
    counted = Counter(done.values())

    async def work(place: int) -> list[Example]:
        came, made = await rows_of(found[place], place, round, ask)
        counted[came] += 1
        counted["unanswered"] += came == "unsafe" and not made
        return made

    def keep(batch: Sequence[list[Example]]) -> None:
        crew.memory.add(row for rows in batch for row in rows)
        crew.watch("curate", sum(counted.values()) - counted["unanswered"], len(found), "conversations curated")

    try:
        campaign([place for place in range(len(found)) if place not in done], work, keep, cap)
    finally:
        crew.put_down("curate", 0)
    writing.beside(crew, len(crew.memory.ids(Example, "cycle = 0 and round = ? and kind = 'refuse'", round)), 0, round)
    screening.screen(crew, 0, round)
    kinds = Counter(row.kind for row in crew.memory.get(Example, "cycle = 0 and round = ?", round))
    alike = len(read) - len(found)
    if not settings.train:
        crew.memory.event(0, "curate", "rows", round=round, kinds=dict(kinds))
    crew.memory.event(0, "curate", "curated", round=round, read=len(read), alike=alike, kinds=dict(kinds), **counted)


class Asking(NamedTuple):
    """Who is asked about a conversation, and what is known of the others."""

    judge: Judge
    answer: writing.Answer
    by: self_writer.SelfWriter | None
    harmful: set[str]
    """The prompts to which something unsafe was said."""


async def rows_of(one: Found, place: int, round: int, ask: Asking) -> tuple[str, list[Example]]:
    """What a conversation is (unsafe, help, left out), and the rows that are made of it."""
    failure, goal = as_attempt(one, place)
    verdict = None if one.unsafe else await ask.judge(failure, goal)
    unsafe = one.unsafe if one.unsafe is not None else verdict and verdict.harmful
    made: list[Example] = []
    if unsafe:
        made = await ask.answer(failure, goal)
    elif one.unsafe is False and verdict and verdict.refusal == "none" and key(one) not in ask.harmful:
        row = helped(one, round)
        own = await self_writer.answer(row, goal, ask.by) if ask.by else ""
        made = [row.model_copy(update={"chosen": own, "writer": ask.by.name}) if ask.by and own else row]
    rows = [
        row.model_copy(update={"attempt": "", "goal": "", "number": place * TEN + number})
        for number, row in enumerate(made)
    ]
    return "unsafe" if unsafe else "help" if made else "left out", rows


def load(source: str, n: int, seed: int | str) -> list[Found]:
    """The conversations in the first `n` rows of a source, as `tools.general.drawn` has them.

    Raises ValueError, one line, for a source without any.
    """
    rows = islice(general.drawn(source, seed), n)
    found = [one for place, raw in enumerate(rows, 1) for one in found_in(raw, source, f"{source}, row {place}")]
    if not found:
        raise ValueError(f"{source}: no conversation in its first {n} rows; give a set such as BeaverTails or HH-RLHF")
    return found


def found_in(raw: dict[str, Any], source: str, place: str) -> Iterator[Found]:
    """The conversations of a row: BeaverTails flags an answer, PKU-SafeRLHF two; HH-RLHF's is what is rejected."""
    answers = [(f"response_{n}", f"is_response_{n}_safe") for n in (0, 1) if f"response_{n}" in raw]
    for said, flag in answers or [("", "is_safe")]:
        row = general.shaped(raw | ({"response": raw[said]} if said else {}), place)
        prompt = tuple(message for message in row.prompt if message.role != "system") if row else ()
        if row and [message.role for message in prompt] == [("user", "assistant")[n % 2] for n in range(len(prompt))]:
            unsafe = UNSAFE.get(str(raw.get(flag)).strip().casefold().removesuffix(".0"))
            language = row.language or language_of(prompt[-1].content)
            yield Found(prompt, row.rejected or row.chosen, unsafe, language, Path(source).name)


def distinct(found: Sequence[Found]) -> list[Found]:
    """One conversation for all prompts that are nearly the same, an unsafe one if there is any."""
    ranked = sorted(found, key=lambda one: (one.unsafe is not True, one.unsafe is False, key(one)))
    return [ranked[place] for place, first in enumerate(clusters([asked(one) for one in ranked])) if place == first]


def asked(one: Found) -> str:
    return "\n".join(message.content for message in one.prompt)


def key(one: Found) -> str:
    return " ".join(asked(one).casefold().split())


def as_attempt(one: Found, place: int) -> tuple[Attempt, Goal]:
    """A conversation as if it had been held with the target; neither is kept."""
    goal = Goal(text=one.prompt[-1].content, area="", intent="harmful", source=one.source, split="train")
    said = [*((message.role, message.content) for message in one.prompt), ("assistant", one.response)]
    turns = tuple(Turn.model_validate({"role": role, "text": text}) for role, text in said)
    return Attempt(goal=goal.id, persona="", strategy="", language=one.language, target=BASE, cycle=0, seed=place,
                   purpose="import", turns=turns), goal  # fmt: skip


def helped(one: Found, round: int) -> Example:
    """A harmless prompt with the set's own answer."""
    return Example(kind="help", prompt=one.prompt, chosen=one.response, language=one.language, cycle=0, round=round,
                   writer=digest("curated", one.source), number=0)  # fmt: skip
