"""A chat model of any endpoint that speaks OpenAI's chat completions, on aiohttp.

`ChatOpenAI` does the same for three times the CPU (`tests/benchmarks/engines.py`), and what an engine has to know of a
failure, the status and when to come back, is lost in it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, ClientTimeout, TCPConnector
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers.openai_tools import parse_tool_calls
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import SecretStr

from tools.endpoints import Failed, Unanswered

OPENAI = "https://api.openai.com/v1"
ROLES = {"system": "system", "human": "user", "ai": "assistant"}
_opened: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[ClientSession, None], ClientSession]] = {}


class Completions(BaseChatModel):
    """Asks once and tells what happened; `tools.endpoints` decides what is asked again."""

    model: str
    base_url: str = OPENAI
    key: SecretStr
    temperature: float
    max_tokens: int

    @property
    def _llm_type(self) -> str:
        return "chat-completions"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What LangChain's cache tells two models apart by."""
        return self.model_dump(include={"model", "base_url", "temperature", "max_tokens"})

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        choice = {"tool_choice": tool_choice} if tool_choice else {}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = [{"role": ROLES[message.type], "content": message.content} for message in messages]
        asked = {"model": self.model, "messages": said, "temperature": self.temperature}
        if said[-1]["role"] == "assistant" and self.base_url != OPENAI:
            asked |= {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's words for prefill
        asked |= {"max_completion_tokens": self.max_tokens} | ({"stop": stop} if stop else {}) | kwargs
        return result(await post(f"{self.base_url.rstrip('/')}/chat/completions", self.key.get_secret_value(), asked))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return asyncio.run(self._agenerate(messages, stop, None, **kwargs))


async def post(url: str, key: str, asked: dict[str, Any]) -> bytes:
    """The body of a 200. Raises ConnectionError, or Failed with any other status."""
    try:
        headers, opened = {"Authorization": f"Bearer {key}"}, await session()
        async with opened.post(url, json=asked, headers=headers, allow_redirects=False) as response:
            body = await response.read()
    except (ClientConnectionError, ClientPayloadError) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    if response.status != 200:
        raise Failed(reason(body), response.status, response.headers)
    return body


def result(body: bytes) -> ChatResult:
    """What a body says. Raises Failed when it is no completion, Unanswered when its text was held back."""
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        message, why = choice["message"], choice.get("finish_reason")
        called = parse_tool_calls(message.get("tool_calls") or [], return_id=True)
        text = message.get("content") or message.get("refusal") or ("" if called else message.get("content"))
        used = completion.get("usage") or {}
        read, written = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Failed(f"{type(error).__name__} in {body[:80]!r}") from error
    if not (text or called) and why == "content_filter":
        raise Unanswered("the endpoint's content filter held the answer back")
    if not isinstance(text, str):
        raise Failed(f"no text (finish_reason {why!r})")
    usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written) if used else None
    said = AIMessage(text, usage_metadata=usage, tool_calls=called)
    return ChatResult(generations=[ChatGeneration(message=said, generation_info={"finish_reason": why})])


def reason(body: bytes) -> str:
    """What an error's body says, however it is laid out."""
    text = body.decode(errors="replace")
    try:
        error = json.loads(text)
        error = error.get("error", error)
        return str(error.get("message") or error)
    except (ValueError, AttributeError):
        return text


async def session() -> ClientSession:
    """The connections of the running event loop, kept open until it ends."""
    loop = asyncio.get_running_loop()
    if loop not in _opened:
        opening = _session(loop)
        _opened[loop] = opening, await anext(opening)
    return _opened[loop][1]


async def _session(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[ClientSession, None]:
    """Closed by `asyncio.run`, which ends the asynchronous generators of a loop before the loop."""
    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(), trust_env=True) as one:
        try:
            yield one
        finally:
            del _opened[loop]
