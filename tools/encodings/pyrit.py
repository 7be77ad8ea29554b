"""PyRIT's prompt converters by name, through the optional extra: https://github.com/microsoft/PyRIT."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tools.names import instead

SEED = 0


def encoder(name: str, params: dict[str, Any]) -> Callable[[str], str]:
    """A function from text to text, and the same for the same text: what PyRIT draws, it draws from `SEED`.

    (Its CharNoiseConverter alone draws from elsewhere.) Raises ValueError where PyRIT is missing, the name is none of
    its converters, or the converter needs a model.
    """
    made = built(name, found(name), params)

    def encode(text: str) -> str:
        # A thread of its own, because the caller may be inside an event loop already.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(converted(made, text))).result()

    return encode


def found(name: str) -> Any:
    """The class of a name, given as PyRIT has it, in snake case, or without `Converter` behind it."""
    try:
        from pyrit import converter
    except ImportError:
        raise ValueError(f"pyrit:{name} needs PyRIT: pip install 'breakfix[pyrit]'") from None
    names = {plain(known): known for known in converter.__all__ if known.endswith("Converter") and known != "Converter"}
    if plain(name) not in names:
        raise ValueError(f"PyRIT has no converter {name!r}; {instead(plain(name), names)}")
    try:
        return getattr(converter, names[plain(name)])
    except ImportError as error:
        raise ValueError(f"pyrit:{name} needs another package: {error}") from None


def plain(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("converter")


def built(name: str, kind: Any, params: dict[str, Any]) -> Any:
    from pyrit.converter import Converter

    if "text" not in kind.SUPPORTED_INPUT_TYPES or "text" not in kind.SUPPORTED_OUTPUT_TYPES:
        raise ValueError(f"pyrit:{name} does not make text of text: use a converter that does")
    own = {} if kind.__init__ is Converter.__init__ else inspect.signature(kind.__init__).parameters
    if "converter_target" in own:
        raise ValueError(f"pyrit:{name} asks a language model, which a converter does not: use one that asks none")
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        raise ValueError(f"pyrit:{name} cannot be made: {' '.join(str(error).split())}") from None


async def converted(made: Any, text: str) -> str:
    from pyrit.common.random_context import random_execution

    with random_execution(namespace="breakfix", seed=SEED):
        return str((await made.convert_async(prompt=text)).output_text)
