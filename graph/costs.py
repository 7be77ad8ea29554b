"""What the models cost: calls and tokens by role, counted where LangChain reports them."""

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from tools.tokens import count


class Meter(BaseCallbackHandler):
    """Adds each answer's tokens to a role's account: the model's own count where it gives one, else an estimate."""

    run_inline = True

    def __init__(self, role: str, accounts: dict[str, list[int]]) -> None:
        self.account = accounts.setdefault(role, [0, 0, 0])

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self.account[0] += 1
        for generation in (one for some in response.generations for one in some):
            message = generation.message if isinstance(generation, ChatGeneration) else AIMessage(generation.text)
            usage = message.usage_metadata if isinstance(message, AIMessage) else None
            self.account[1] += usage["input_tokens"] if usage else 0
            self.account[2] += usage["output_tokens"] if usage else count(generation.text)
