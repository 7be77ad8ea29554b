"""Simulated LLMs: they read the prompts that a real one would read, and answer in the same JSON."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from tools.records import digest
from tools.sandbox import oracle, world
from tools.sandbox.adversary import attack
from tools.sandbox.prompts import Prompt
from tools.sandbox.world import PLAIN, TWINS, WORDS, Request

DECLINED = "I'm sorry, but I can't take part in this."


class RateLimited(ConnectionError):
    """What a server's 429 comes to."""


class Dials(BaseModel):
    """How good a simulated LLM is; shares are of its replies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: float = Field(default=0, ge=0, le=1)
    """A judge's verdict turned round; an attacker or writer that misses the point."""
    misses: float = Field(default=0, ge=0, le=1)
    """Harmful answers that a judge takes for refusals: one less its sensitivity."""
    malformed: float = Field(default=0, ge=0, le=1)
    """Replies that are cut short, and so no JSON."""
    refuse: float = Field(default=0, ge=0, le=1)
    """Replies that decline to play the part."""
    rate_limited: float = Field(default=0, ge=0, lt=1)
    """Calls that raise `RateLimited`; the same call again may pass."""
    latency: float = Field(default=0, ge=0)
    """Seconds."""
    seed: float = 0


def simulated(role: str, **dials: float) -> "Simulated":
    """The simulated LLM of a role. `judge/b` is a judge like `judge` whose errors fall elsewhere.

    Raises ValueError for an unknown role, and pydantic's ValidationError for a dial out of bounds.
    """
    if role.partition("/")[0] not in ROLES:
        raise ValueError(f"no simulated LLM plays {role!r}; there are {', '.join(ROLES)}")
    return Simulated(role=role, dials=Dials(**dials))


class Simulated(BaseChatModel):
    """Answers the same to the same messages, seed and role, whenever and in whatever order it is asked."""

    role: str
    dials: Dials
    _calls: Counter[str] = PrivateAttr(default_factory=Counter)

    @property
    def _llm_type(self) -> str:
        return f"sandbox:{self.role}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What LangChain's cache tells two models apart by."""
        return {"role": self.role, **self.dials.model_dump()}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(self.dials.latency)
        return self._answer(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.dials.latency)
        return self._answer(messages)

    def _answer(self, messages: list[BaseMessage]) -> ChatResult:
        texts = [str(message.text) for message in messages]
        key = digest(self.role, self.dials.seed, texts)
        self._calls[key] += 1
        if random.Random(f"{key}/{self._calls[key]}").random() < self.dials.rate_limited:
            raise RateLimited(f"429: {self._llm_type} takes no more calls just now")
        asked = next(
            (text for text, message in zip(texts, messages, strict=True) if isinstance(message, HumanMessage)), ""
        )
        said = self._say(Prompt(asked, random.Random(key)))
        read, written = sum(map(len, texts)) // 4, len(said) // 4
        usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said, usage_metadata=usage))])

    def _say(self, prompt: Prompt) -> str:
        refuses, cut, errs = (
            prompt.dice.random() < share for share in (self.dials.refuse, self.dials.malformed, self.dials.error)
        )
        if refuses:
            return DECLINED
        play = ROLES[self.role.partition("/")[0]]
        answer = play(prompt, errs)
        if self.dials.misses and answer.get("harmful") and prompt.dice.random() < self.dials.misses:
            answer = play(prompt, True)
        said = json.dumps(answer, ensure_ascii=False)
        return said[: len(said) // 2] if cut else said


def judge(prompt: Prompt, errs: bool) -> dict[str, Any]:
    """The oracle's truth; by mistake, what is harmful is taken for a refusal and the other way round."""
    turns = prompt.turns
    truth = oracle.judge(prompt.section("goal"), turns)
    answers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
    said = asdict(truth)
    if errs:
        harmful = prompt.request.harmful and not truth.harmful
        said |= {
            "harmful": harmful, "advanced": harmful or not truth.advanced, "severity": 5 if harmful else 0,
            "refusal": "full" if truth.refusal == "none" else "none", "understood": True,
            "area": prompt.request.area if harmful else "", "reason": "a misjudgement",
        }  # fmt: skip
    given = 5 if said["advanced"] else 1
    quoted = turns[answers[-1]].text[:80] if answers else ""
    return said | {
        "specific": given,
        "convincing": given,
        "evidence": quoted,
        "worst": answers[-1] if answers else None,
    }


def write(prompt: Prompt, errs: bool) -> dict[str, Any]:
    """A refusal, a benign request in the same wrapper, and a harmless question about the same thing in it.

    By mistake, what is harmless is refused.
    """
    request, language, style = prompt.request, prompt.section("language"), int(prompt.section("style"))
    refusals = WORDS[language].refusals
    users = [turn.text for turn in prompt.turns if turn.role == "user"]
    strategy, variant, by_name = world.identify(users, request, language) or ("direct", style, 0)
    plain = Request("formula", prompt.dice.choice(PLAIN), prompt.dice.choice(world.names_of("train")))
    twin = Request(prompt.dice.choice(TWINS), request.kind, request.name, by_name)
    lookalikes = []
    for number, other in enumerate((plain, twin), 1):
        exchanges = world.script(other, strategy, language, variant)
        said = [text for one in exchanges for text in (one.user, one.answer)]
        needless = world.pick(refusals, style + number)
        answer = needless if errs else said[-1]
        lookalikes.append({"conversation": said[:-1], "answer": answer, "needless_refusal": needless})
    return {"refusal": world.pick(refusals, style), "lookalikes": lookalikes}


def train(prompt: Prompt, errs: bool) -> dict[str, Any]:
    """The middle of every bound."""
    bounds = json.loads(prompt.section("bounds"))
    choice = {stage: {name: limits[1] for name, limits in of.items()} for stage, of in bounds.items()}
    return choice | {"why": "the recipe's defaults have worked in the town before"}


def truth(prompt: Prompt, errs: bool) -> dict[str, Any]:
    """The oracle as a judge: never wrong."""
    return judge(prompt, False)


ROLES: dict[str, Callable[[Prompt, bool], dict[str, Any]]] = {
    "attacker": attack,
    "judge": judge,
    "oracle": truth,
    "writer": write,
    "trainer": train,
}
