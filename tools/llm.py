"""Chat models from specs, and asking them for typed answers."""

import asyncio
import html
import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tools.endpoints import ENDPOINTS, endpoint
from tools.records import Turn, digest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

T = TypeVar("T", bound=BaseModel)
AGAIN = "That was not the JSON asked for ({error}). Answer again with that JSON and nothing else."
KEYS = re.compile(r"(?!.*(SECRET|PRIVATE|SSH))[A-Z0-9_]*KEY")
"""Names of variables that a recipe may have sent somewhere: whoever wrote it does not get whatever there is."""
TRANSIENT = (ConnectionError, TimeoutError)
"""What a model in this process may raise and then answer all the same, as the sandbox's do."""


class Serving(BaseModel):
    """How vLLM serves a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: str = Field(default="", pattern=r"^[\w-]*(,[\w-]+)*$")
    """The GPUs that it gets, such as `1,2`; none named are those that this process sees."""
    tensor_parallel: int = Field(default=1, gt=0)
    """GPUs that hold one copy of the model between them."""
    data_parallel: int = Field(default=1, gt=0)
    """Copies that share the requests."""
    memory: float | None = Field(default=None, gt=0, lt=1)
    """The share of each card that it takes; None is vLLM's own, about nine tenths."""
    length: int | None = Field(default=None, gt=0)
    """Most tokens of a conversation; None is as many as the model was made for."""
    dtype: Literal["", "bfloat16", "float16", "float32"] = ""
    """Empty is as the weights are, and float32 on a CPU."""
    quantization: Literal["", "fp8"] = ""


class Model(BaseModel):
    """Which model plays a role, and how it is asked. All of it is part of the role's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    APART: ClassVar[frozenset[str]] = frozenset({"concurrency", "key_env", "price", "vllm", "adapters", "adapters_at"})
    """Settings that do not shape its answers."""

    model: str = Field(min_length=1)
    """`openai:NAME`, `hf:PATH`, `vllm:PATH`, `sandbox:ROLE`, or `PROVIDER:NAME` of any that langchain knows."""
    base_url: str = ""
    key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; the key itself is never written down. It is sent to
    `base_url`, so that a recipe may not name whatever the environment holds."""
    system: str = ""
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, gt=0)
    concurrency: int = Field(default=64, gt=0)
    """Most requests in flight; for `hf:`, also the size of a batch. Roles with one endpoint share the smallest."""
    price: tuple[float, float] = (0.0, 0.0)
    """What a million tokens read, and a million written, cost."""
    dials: dict[str, float] = {}
    """For `sandbox:` alone: error, malformed, refuse, latency, rate_limited, seed; for its target, settings of it."""
    vllm: Serving = Serving()
    """For `vllm:` alone."""
    adapters: Literal["", "vllm", "sglang"] = ""
    """For a target elsewhere: whose words have the endpoint load an adapter; empty where it finds them by itself."""
    adapters_at: str = ""
    """Where that machine has the run's folder of adapters; empty is the same path as here."""

    @field_validator("key_env")
    @classmethod
    def names_a_key_of_a_model(cls, name: str) -> str:
        if not KEYS.fullmatch(name):
            raise ValueError(f"key_env = {name!r} is no name of a model's key, which is sent to base_url; give the "
                             "variable a name such as MY_API_KEY")  # fmt: skip
        return name

    @field_validator("base_url")
    @classmethod
    def is_an_address_without_a_password(cls, url: str) -> str:
        """Whatever stands in a recipe is written into the run's folder."""
        try:
            parts = urlsplit(url)
            wrong = url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0)
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError(f"base_url = {url[:80]!r} is no address; write one such as http://localhost:8000/v1")
        if url and (parts.username is not None or parts.password is not None):
            raise ValueError(
                f"base_url of {parts.hostname} holds a name or a password, which would be kept in the run; give it "
                "without, and the key in the environment variable that key_env names"
            )
        return url

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]

    @property
    def name(self) -> str:
        return self.model.partition(":")[2]

    @property
    def weights(self) -> str:
        """What is loaded here: a folder, or `sandbox:target`; empty for an endpoint."""
        return self.model if self.provider == "sandbox" else self.name if self.provider in ("hf", "vllm") else ""

    def identity(self, *prompts: str) -> str:
        """Hash of the prompts, the model and the settings that shape its answers."""
        precision = [one for one in (self.vllm.dtype, self.vllm.quantization) if one]
        return digest(prompts, self.model_dump(exclude=set(self.APART)), *precision)


def chat(spec: Model) -> "BaseChatModel":
    """The chat model of a spec, for every provider but `hf` and `vllm` (see `tools.engine` and `tools.serve`).

    Raises ValueError when the key or the provider's package is missing.
    """
    if spec.provider == "sandbox":
        from tools.sandbox.llms import simulated

        return simulated(spec.name, **spec.dials)
    if spec.provider == "openai":
        from tools.completions import OPENAI, Completions

        key, url = os.environ.get(spec.key_env, ""), spec.base_url or OPENAI
        if not key and not spec.base_url:
            raise ValueError(f"{spec.model!r} needs a key: set ${spec.key_env}, or give a base_url that wants none")
        asked = Completions(
            model=spec.name, base_url=url, key=SecretStr(key or "none"), temperature=spec.temperature,
            max_tokens=spec.max_tokens,
        )  # fmt: skip
        return tied(asked, url, spec)
    from langchain.chat_models import init_chat_model

    try:
        model: BaseChatModel = init_chat_model(spec.model, temperature=spec.temperature, max_tokens=spec.max_tokens)
    except (ImportError, ValueError) as error:
        raise ValueError(f"cannot make {spec.model!r}: {str(error).splitlines()[0]}") from error
    return tied(model, spec.provider, spec)


def tied(model: "BaseChatModel", name: str, spec: Model) -> "BaseChatModel":
    """The model, its requests to go through the gate of the endpoint of that name; `reply` looks there."""
    endpoint(name := name.rstrip("/"), spec.concurrency)
    model.metadata = {**(model.metadata or {}), "endpoint": name, "model": spec.name}
    return model


def section(name: str, text: object, /, **attributes: object) -> str:
    """Delimits `text` for a prompt. What is inside cannot close the section: its brackets are escaped."""
    head = "".join(f' {key}="{html.escape(str(value))}"' for key, value in attributes.items())
    return f"<{name}{head}>\n{html.escape(str(text), quote=False)}\n</{name}>"


def conversation(turns: Sequence[Turn]) -> str:
    """A conversation as a prompt shows it: user turns as before they were encoded, answers as they came and decoded."""
    parts: list[str] = []
    for number, turn in enumerate(turns):
        user = turn.role == "user"
        said = turn.plain or turn.text if user else turn.text
        parts.append(section("turn", said, role=turn.role, number=number))
        parts += [section("decoded", turn.plain)] if turn.plain and not user else []
    return "<conversation>\n" + "\n".join(parts) + "\n</conversation>"


def prompt_of(module: str) -> str:
    """The prompt that lies beside a module, as `agents/judge.md` beside `agents/judge.py`."""
    return Path(module).with_suffix(".md").read_text(encoding="utf-8")


async def reply(model: "BaseChatModel", messages: Sequence["BaseMessage"], **asked: Any) -> str:
    """The text of one answer, with a question mark for half a surrogate pair, which no file could hold."""
    return str((await answer(model, messages, **asked)).text).encode(errors="replace").decode()


async def answer(model: "BaseChatModel", messages: Sequence["BaseMessage"], **asked: Any) -> "AIMessage":
    """One answer; what passes by itself is tried again. `asked` is what a model was bound to, such as tools.

    Raises Unanswered where this one conversation gets none, EndpointGone and EndpointRefused where no other would.
    """
    said, at = list(messages), model.metadata or {}
    if "endpoint" in at:
        return await ENDPOINTS[at["endpoint"]].call(lambda: model.ainvoke(said, **asked), at["model"])
    for wait in (0.2, 0.5, 1.0, 2.0, 4.0):
        try:
            return await model.ainvoke(said, **asked)
        except TRANSIENT:
            await asyncio.sleep(wait * random.uniform(0.5, 1))
    return await model.ainvoke(said, **asked)


async def ask(
    model: "BaseChatModel",
    system: str,
    user: str,
    schema: type[T],
    tries: int = 3,
    context: Any = None,
    held: bool = False,
) -> T | None:
    """The model's answer as a `schema`, whose validators may look at `context`; None when `tries` were none in a row.

    `held` has an OpenAI-compatible endpoint hold the answer to the schema, where it can. Raises as `reply` does.
    """
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    messages: list[BaseMessage] = [SystemMessage(system), HumanMessage(user)]
    how = formed(schema) if held and hasattr(model, "held") else {}
    for _ in range(tries):
        text = await reply(model, messages, **how)
        try:
            return schema.model_validate(found(text), context=context)
        except (ValidationError, ValueError) as error:
            messages += [AIMessage(text), HumanMessage(AGAIN.format(error=brief(error)))]
    return None


def formed(schema: type[BaseModel]) -> dict[str, Any]:
    """What tells an OpenAI-compatible endpoint to hold an answer to a schema."""
    form = {"name": schema.__name__, "schema": schema.model_json_schema()}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def found(text: str) -> Any:
    """The JSON object in a reply, bare or fenced. Raises ValueError when there is none that can be read."""
    match = re.search(r"\{.*\}", text, re.DOTALL)
    if match is None:
        raise ValueError(f"no JSON object in {text[:80]!r}")
    try:
        return json.loads(match.group())
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def brief(error: Exception) -> str:
    """One line that says what was wrong, without repeating the value."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in error.errors()[:3])
    return str(error).splitlines()[0][:120]
