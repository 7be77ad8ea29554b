"""What the models cost: calls and tokens by role, counted where LangChain reports them, and the budget for them."""

import math
from statistics import median
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from graph.config import Recipe
from tools.memory import Memory
from tools.records import StagePlan
from tools.tokens import count


class Meter(BaseCallbackHandler):
    """Adds each answer's tokens to a role's account: the model's own count where it gives one, else an estimate."""

    run_inline = True

    def __init__(self, role: str, accounts: dict[str, list[int]]) -> None:
        self.account = accounts.setdefault(role, [0, 0, 0])
        self.asked: dict[UUID, list[list[BaseMessage]]] = {}

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.asked[run_id] = messages

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.asked.pop(run_id, None)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self.account[0] += 1
        asked = self.asked.pop(run_id, [])
        for generation in (one for some in response.generations for one in some):
            message = generation.message if isinstance(generation, ChatGeneration) else AIMessage(generation.text)
            usage = message.usage_metadata if isinstance(message, AIMessage) else None
            read = usage["input_tokens"] if usage else sum(count(str(one.text)) for some in asked for one in some)
            self.account[1] += read
            self.account[2] += usage["output_tokens"] if usage else count(generation.text)


def over(memory: Memory, recipe: Recipe) -> str:
    """Which budget of the recipe is spent, in words; empty while none is."""
    sql = "select role, sum(prompt_tokens) as read, sum(completion_tokens) as written from costs group by role"
    spent = {row["role"]: (row["read"], row["written"]) for row in memory.query(sql)}
    for role, most in recipe.stop.tokens.items():
        tokens = sum(spent.get(role, (0, 0)))
        if tokens >= most:
            return f"{role} has used {tokens:,} of {most:,} tokens"
    cost = sum(money(tokens, recipe, role) for role, tokens in spent.items())
    if recipe.stop.money is not None and cost >= recipe.stop.money:
        return f"{cost:.2f} of {recipe.stop.money:.2f} is spent"
    return ""


def money(tokens: tuple[int, int], recipe: Recipe, role: str) -> float:
    """What tokens read and written have cost, by the price of the role's model."""
    spec = recipe.models.get(role)
    return sum(n * price for n, price in zip(tokens, spec.price, strict=True)) / 1e6 if spec else 0.0


def estimate(memory: Memory, plan: StagePlan) -> tuple[int, float | None]:
    """The steps of a stage and the seconds that they may take, by earlier stages of its kind; None where none was."""
    steps = math.ceil(math.ceil(plan.rows / plan.batch) * plan.epochs)
    sql = "select seconds / steps as each from adapters where stage = ? and within = 0 and steps > 0 and seconds > 0"
    before = [row["each"] for row in memory.query(sql, plan.stage)]
    return steps, steps * median(before) if before else None


def told(memory: Memory, plan: StagePlan) -> str:
    """The same in words."""
    steps, seconds = estimate(memory, plan)
    time = "no stage of its kind has been timed yet" if seconds is None else f"about {seconds / 60:.1f} minutes"
    return f"{steps} steps, {time}"
