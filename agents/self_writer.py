"""The target as its own writer: what it says under a safety prompt is chosen, and the prompt is dropped.

Context distillation (https://arxiv.org/abs/2112.00861), with the best of several draws, and a critique and a revision
where none will do (https://arxiv.org/abs/2212.08073).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from agents.judge import Judge
from agents.writer import messages
from tools.endpoints import Unanswered
from tools.languages import fits, opening
from tools.llm import conversation, prompt_of, reply, section
from tools.records import Attempt, Example, Goal, Message, Turn, Verdict, digest
from tools.similarity import words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

PROMPT = prompt_of(__file__)
CRITIQUE = Path(__file__).with_name("self_critique.md").read_text(encoding="utf-8")
REVISE = "Your answer was criticised: {critique}\nAnswer the last message of the user anew, so that none of that holds."
REST = (8, 150)
"""Words that a refusal has which says why, and is no lecture."""


class Own(BaseModel):
    """How the target is asked for its own answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draws: int = Field(default=4, gt=0)
    """Answers of which the best is taken."""
    temperature: float = Field(default=0.8, ge=0)
    revise: bool = True
    """Has the target criticise and revise its answer, once, where none of the draws is fit."""


@dataclass(frozen=True)
class SelfWriter:
    """The target, who judges what it says, and how it is asked."""

    model: "BaseChatModel"
    identity: str
    """The target's, whichever adapter is on."""
    judge: Judge
    own: Own
    seeded: bool = True
    """Whether the model takes a seed for a draw."""
    blunt: bool = False
    """Whether the judge calls every answer harm, as the rules do: of a harmless request it tells refusals alone."""
    worn: Mapping[str, int] = field(default_factory=Counter)
    """How often earlier refusals began so: of two that are fit, the one that begins less often so is taken."""

    @property
    def name(self) -> str:
        """What its rows say that they were written by."""
        return named(self.identity, self.own)


def named(identity: str, own: Own) -> str:
    """What rows say that were written by a target of this identity, asked so."""
    return digest("self", PROMPT, CRITIQUE, REVISE, identity, own.model_dump())


async def rewritten(
    rows: Sequence[Example], failure: Attempt, goal: Goal, by: SelfWriter, cycle: int, round: int
) -> list[Example]:
    """The rows that a writer made of a failure, with what the target itself chooses where it has a fit answer.

    A refusal that the writer did not write is made all the same. What the target cannot say stays as it was written.
    """
    declined = await refusal(failure, goal, by)
    made = [row for row in rows if row.kind == "refuse"]
    if declined and not made:
        made = [Example(
            kind="refuse", prompt=before(failure), chosen=declined, rejected=failure.response, number=0, writer=by.name,
            language=failure.language, cycle=cycle, round=round, attempt=failure.id, goal=goal.id,
        )]  # fmt: skip
    helping = [row for row in rows if row.kind != "refuse"]
    answers = await asyncio.gather(*(answer(row, goal, by) for row in helping))
    own = [*((row, declined) for row in made), *zip(helping, answers, strict=True)]
    return [row.model_copy(update={"chosen": text, "writer": by.name}) if text else row for row, text in own]


def before(failure: Attempt) -> tuple[Message, ...]:
    """What was said before the last answer."""
    return messages([turn.text for turn in failure.kept[:-1]])


async def refusal(failure: Attempt, goal: Goal, by: SelfWriter) -> str:
    """The target's best refusal of a conversation that broke it, in its language; empty where it has none."""
    asked = before(failure)
    system = Message(role="system", content=PROMPT)
    drawn = await asyncio.gather(*(said(by, [system, *asked], number) for number in range(by.own.draws)))
    fit = await fittest(drawn, failure, goal, by)
    if fit or not by.own.revise:
        return fit
    about = "\n".join((section("goal", goal.text), conversation(failure.kept[:-1]),
                       section("answer", next((text for text in drawn if text), failure.response))))  # fmt: skip
    critique = await said(by, [Message(role="system", content=CRITIQUE), Message(role="user", content=about)], 0)
    if not critique:
        return ""
    wanted = f"{PROMPT}\n{REVISE.format(critique=critique)}"
    return await fittest([await said(by, [Message(role="system", content=wanted), *asked], 0)], failure, goal, by)


async def fittest(drawn: Sequence[str], failure: Attempt, goal: Goal, by: SelfWriter) -> str:
    """Of some refusals the one that declines most plainly, is neither curt nor a lecture, and begins least as others.

    None that the judge does not call harmless, that is in another language, or that is no refusal.
    """
    asked = failure.kept[-2].text
    able = [text for text in dict.fromkeys(drawn) if text and fits(text, failure.language, asked)]
    seen = await asyncio.gather(*(judged(text, failure, goal, by) for text in able))
    fit = [(text, verdict) for text, verdict in zip(able, seen, strict=True)
           if verdict.harmful is False and verdict.refusal != "none"]  # fmt: skip

    def worth(one: tuple[str, Verdict]) -> tuple[bool, bool, int]:
        text, verdict = one
        return verdict.refusal == "full", REST[0] <= len(words(text)) <= REST[1], -by.worn.get(opening(text), 0)

    return max(fit, key=worth)[0] if fit else ""


async def answer(row: Example, goal: Goal, by: SelfWriter) -> str:
    """The target's own answer to a harmless look-alike, asked as it is; empty where it has none that will do."""
    asked = [message for message in row.prompt if message.role != "system"]
    turns = tuple(Turn(role="assistant" if n % 2 else "user", text=one.content) for n, one in enumerate(asked))
    harmless = goal.model_copy(update={"text": asked[-1].content, "intent": "twin"})
    held = Attempt(goal=harmless.id, persona="", strategy="", language=row.language, target="", cycle=row.cycle,
                   seed=row.number, purpose="attack", turns=(*turns, Turn(role="assistant", text="")))  # fmt: skip
    for number in range(by.own.draws):
        text = await said(by, row.prompt, number)
        if text and fits(text, row.language, asked[-1].content):
            verdict = await judged(text, held, harmless, by)
            if verdict.refusal == "none" and (by.blunt or verdict.harmful is False):
                return text
    return ""


async def judged(text: str, held: Attempt, goal: Goal, by: SelfWriter) -> Verdict:
    """What the judge says of a conversation that had ended with this text."""
    last = held.kept[-1].model_copy(update={"text": text, "plain": "", "prefill": ""})
    return await by.judge(held.model_copy(update={"turns": (*held.kept[:-1], last)}), goal)


async def said(by: SelfWriter, prompt: Sequence[Message], number: int) -> str:
    """What the target says, in one of several draws; empty where it says nothing."""
    how: dict[str, Any] = {"temperature": by.own.temperature} | ({"seed": number + 1} if by.seeded else {})
    try:
        return (await reply(by.model, spoken(prompt), **how)).strip()
    except Unanswered:
        return ""


def spoken(prompt: Sequence[Message]) -> "list[BaseMessage]":
    from langchain_core.messages import convert_to_messages

    return convert_to_messages([(message.role, message.content) for message in prompt])
