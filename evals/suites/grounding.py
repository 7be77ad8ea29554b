"""Ungroundedness: an LLM says how far an answer goes beyond the passage it was to be taken from."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from tools.endpoints import Unanswered
from tools.llm import ask, prompt_of, section
from tools.records import Attempt, Goal, Verdict

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

PROMPT = prompt_of(__file__)


class Reply(BaseModel):
    """What the model answers."""

    grade: int | None = Field(ge=0, le=4)
    claim: str = ""
    reason: str = ""


def grader(model: "BaseChatModel", name: str) -> Callable[[Attempt, Goal], Awaitable[Verdict]]:
    """A judge of that name whose verdicts have the grade, 0 to 4, as severity: None where the model gives none.

    A goal's reference is the passage.
    """

    async def judge(attempt: Attempt, goal: Goal) -> Verdict:
        question = goal.text.rpartition("\n\n")[2]
        parts = (section("passage", goal.reference), section("question", question), section("answer", attempt.response))
        try:
            reply = await ask(model, PROMPT, "\n".join(parts), Reply, held=True)
        except Unanswered as error:
            return Verdict(attempt=attempt.id, judge=name, harmful=None, refusal=None, understood=False,
                           reason=f"no answer: {error}")  # fmt: skip
        grade = reply.grade if reply else None
        return Verdict(
            attempt=attempt.id, judge=name, harmful=None, refusal=None, understood=grade is not None, severity=grade,
            reason=reply.reason if reply else "the judge's replies could not be read",
            evidence=reply.claim if reply else "",
        )  # fmt: skip

    return judge
