"""A chat model of any endpoint that speaks OpenAI's chat completions, on aiohttp.

`ChatOpenAI` does the same for three times the CPU (`tests/benchmarks/engines.py`), and what an engine has to know of a
failure, the status and when to come back, is lost in it.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, ClassVar

from aiohttp import (
    ClientConnectionError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    TCPConnector,
)
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers.openai_tools import parse_tool_calls
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr, SecretStr, TypeAdapter

from tools.endpoints import Failed, Unanswered

OPENAI = "https://api.openai.com/v1"
ROLES = {"system": "system", "human": "user", "ai": "assistant"}
LARGEST = 32 * 2**20
"""Bytes of an answer, however it was packed."""
TOP = 5
"""How many tokens' probabilities are asked for at each place: as many as every endpoint gives that gives any."""
LACKS = {
    "logprobs": re.compile("logprob"),
    "response_format": re.compile("response.?format|json.?schema|structured|guided|grammar", re.IGNORECASE),
}
"""Words of an error by which an endpoint says that it does not know one of them."""
LIKELY: TypeAdapter[list[tuple[str, dict[str, float]]]] = TypeAdapter(list[tuple[str, dict[str, float]]])
_opened: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[ClientSession, None], ClientSession]] = {}


class Completions(BaseChatModel):
    """Asks once and tells what happened; `tools.endpoints` decides what is asked again.

    `response_format` holds the answer to a schema where the endpoint can, and is left out from then on where it says
    that it cannot. For guards, a call may say `raw=True`: the text of the messages goes to `/completions` as it stands,
    and no chat template is put around it; `prefill=False`: an answer at the end is not to be gone on with;
    `scored=True`: `response_metadata["logprobs"]` has each token of the answer with the log-probabilities of those that
    could have stood in its place, unless the endpoint gives none; and `max_tokens`.
    """

    raw: ClassVar[bool] = True
    """That it takes those."""
    held: ClassVar[bool] = True
    """That it takes `response_format`."""
    _lacks: set[str] = PrivateAttr(default_factory=set)
    """What the endpoint has said that it does not know."""
    model: str
    base_url: str = OPENAI
    key: SecretStr
    temperature: float
    max_tokens: int
    template: Callable[[Sequence[BaseMessage], bool], str] | None = None
    """What a chat's text is, where it is not for the endpoint to say; whether an answer at its end is gone on with."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the endpoint is to tell its chat template, where it is known to take that (vLLM, SGLang)."""

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
        kept = dict(kwargs)
        raw, scored, prefill = kwargs.pop("raw", False), kwargs.pop("scored", False), kwargs.pop("prefill", True)
        most, formed = kwargs.pop("max_tokens", self.max_tokens), kwargs.pop("response_format", None)
        asked = {"model": self.model, "temperature": self.temperature}
        if self.template and not raw and "tools" not in kwargs:
            asked |= {"prompt": self.template(messages, prefill), "max_tokens": most, "add_special_tokens": False}
            raw = True
        else:
            asked |= as_text(messages, most) if raw else as_chat(messages, most, prefill and self.base_url != OPENAI)
            asked |= {"chat_template_kwargs": self.options} if self.options and not raw else {}
        asked |= ({"stop": stop} if stop else {}) | kwargs
        where = f"{self.base_url.rstrip('/')}/{'completions' if raw else 'chat/completions'}"
        more = {"response_format": formed} if formed and "response_format" not in self._lacks else {}
        if scored and "logprobs" not in self._lacks:
            more |= {"logprobs": TOP} if raw else {"logprobs": True, "top_logprobs": TOP}
        try:
            body = await post(where, self.key.get_secret_value(), asked | more)
            return result(body, strip=self.template is not None)
        except Failed as error:
            lacks = {name for name, words in LACKS.items() if name in more and words.search(str(error))}
            if error.status_code not in (400, 422) or not lacks:
                raise
            self._lacks |= lacks
        return await self._agenerate(messages, stop, None, **kept)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return asyncio.run(self._agenerate(messages, stop, None, **kwargs))


def as_text(messages: list[BaseMessage], most: int) -> dict[str, Any]:
    return {"prompt": "".join(str(message.text) for message in messages), "max_tokens": most}


def as_chat(messages: list[BaseMessage], most: int, prefill: bool) -> dict[str, Any]:
    said = [{"role": ROLES[message.type], "content": message.content} for message in messages]
    begun = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's words for prefill
    return {
        "messages": said, "max_completion_tokens": most,
        **(begun if prefill and said[-1]["role"] == "assistant" else {}),
    }  # fmt: skip


async def post(url: str, key: str, asked: dict[str, Any]) -> bytes:
    """The body of a 200. Raises ConnectionError, or Failed with any other status."""
    try:
        headers, opened = {"Authorization": f"Bearer {key}"}, await session()
        async with opened.post(url, json=asked, headers=headers, allow_redirects=False) as response:
            body = await within(response)
    except (ClientConnectionError, ClientPayloadError) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    if response.status != 200:
        raise Failed(reason(body), response.status, response.headers)
    return body


async def within(response: ClientResponse) -> bytes:
    """A body, unpacked as it comes. Raises Failed for one that would fill the memory."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            raise Failed(f"an answer of more than {LARGEST >> 20} MB", response.status, response.headers)
    return bytes(body)


def result(body: bytes, strip: bool = False) -> ChatResult:
    """What a body says, with or without the space around it.

    Raises Failed when it is no completion, Unanswered when its text was held back.
    """
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        message, why = choice.get("message") or {"content": choice["text"]}, choice.get("finish_reason")
        called = parse_tool_calls(message.get("tool_calls") or [], return_id=True)
        text = message.get("content") or message.get("refusal") or ("" if called else message.get("content"))
        used = completion.get("usage") or {}
        read, written = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
        logprobs = likely(choice.get("logprobs"))
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written) if used else None
        said = AIMessage(str(text or "").strip() if strip else str(text or ""), usage_metadata=usage, tool_calls=called)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Failed(f"{type(error).__name__} in {body[:80]!r}") from error
    if not (text or called) and why == "content_filter":
        raise Unanswered("the endpoint's content filter held the answer back")
    if not isinstance(text, str):
        raise Failed(f"no text (finish_reason {why!r})")
    info = {"finish_reason": why, **({"logprobs": logprobs} if logprobs else {})}
    return ChatResult(generations=[ChatGeneration(message=said, generation_info=info)])


def likely(found: Any) -> list[tuple[str, dict[str, float]]]:
    """The tokens of an answer with what could have stood in their place, as chat completions tell it or completions."""
    return LIKELY.validate_python(weighed(found)) if isinstance(found, dict) else []


def weighed(found: dict[str, Any]) -> list[tuple[Any, Any]]:
    if found.get("content"):
        return [
            (one["token"], {other["token"]: other["logprob"] for other in one.get("top_logprobs") or [one]})
            for one in found["content"]
        ]
    tokens, own = found.get("tokens") or [], found.get("token_logprobs") or []
    tops = found.get("top_logprobs") or [None] * len(tokens)
    return [(token, top or ({} if p is None else {token: p})) for token, p, top in zip(tokens, own, tops, strict=False)]


def reason(body: bytes) -> str:
    """What an error's body says, however it is laid out."""
    text = body.decode(errors="replace")
    try:
        error = json.loads(text)
        error = error.get("error", error)
        return str(error.get("message") or error)
    except (ValueError, AttributeError, RecursionError):
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
