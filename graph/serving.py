"""Who serves a model that a spec names: this process, a vLLM of ours, or an endpoint."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tools.llm import Model, chat
from tools.records import BASE

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from tools.engine import Local


def weights(spec: Model, texts: Callable[[], list[str]], tell: Callable[[int, int], None]) -> Path | None:
    """The folder of a model's weights, built first if it is the sandbox's (`dials` are its settings there); None for an
    endpoint. A tokenizer is made from `texts` where the model has none."""
    if spec.weights.startswith("sandbox:"):
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    if spec.weights == "sandbox:target":
        from tools.sandbox import target

        wide = {"heads": 4} if spec.provider == "vllm" else {}  # on a CPU it has no attention for heads of sixteen
        return target.build(target.Settings.model_validate(wide | spec.dials), tell)
    if spec.weights == "sandbox:phi3":
        from tools.sandbox import phi3

        return phi3.build(texts())
    return Path(spec.weights) if spec.provider in ("hf", "vllm") else None


def model_of(spec: Model) -> "BaseChatModel":
    """The chat model of a spec, whoever serves it."""
    if spec.provider == "vllm":
        return vllm_of(spec, weights(spec, list, lambda done, total: None) or Path())
    return local_of(spec) if spec.provider == "hf" else chat(spec)


def local_of(spec: Model) -> "Local":
    from tools.engine import Engine, Local

    return Local(engine=Engine(Path(spec.name), spec.concurrency, spec.max_tokens, spec.temperature))


def vllm_of(spec: Model, folder: Path, name: str = BASE, adapter: Path | None = None) -> "BaseChatModel":
    """A model that vLLM serves to a command, which has no run."""
    from tools.adapters import rank
    from tools.engine import Engine
    from tools.serve import LOG, Server, chat

    server = Server(
        folder, Path(tempfile.mkdtemp(prefix="breakfix-")) / LOG, spec.vllm, rank(adapter) if adapter else 1
    )
    server.start()
    if adapter:
        server.load(name, adapter)
    return chat(server, spec, name if adapter else BASE, Engine(folder, spec.concurrency, spec.max_tokens).as_chat)
