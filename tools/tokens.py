"""How many tokens a text has, without ever asking the network."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktoken import Encoding

BYTES = 4
"""UTF-8 bytes to a token, where no encoding is at hand: right for English prose; Chinese gets 3 for 4 characters."""
FILES = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
"""The file that tiktoken keeps an encoding in (the SHA-1 of its address), and its SHA-256."""
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How byte-level tokenizers cut a text into words, unless they say otherwise."""


def count(text: str, model: str = "") -> int:
    """The tokens of a text for an OpenAI model (by its bare name), special tokens read as text.

    Exact where tiktoken has the model's encoding in its cache (TIKTOKEN_CACHE_DIR), which it would else fetch from the
    network; otherwise, and for any other model, an estimate: a token for four bytes of UTF-8.
    """
    encoding = cached(model)
    return len(encoding.encode_ordinary(text)) if encoding else -(-len(text.encode()) // BYTES)


def counter(folder: Path) -> Callable[[str], int]:
    """Counts the tokens of a text as the model in a folder reads it; by `count` where no tokenizer.json lies there."""
    if not (folder / "tokenizer.json").is_file():
        return count
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@cache
def cached(model: str) -> "Encoding | None":
    """tiktoken's encoding of a model when it can be had without the network."""
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    return tiktoken.get_encoding(name) if at_hand(name) else None


def at_hand(encoding: str) -> bool:
    """Whether tiktoken's cache holds the encoding, whole: it fetches again what is missing or does not match."""
    file, sha256 = FILES.get(encoding, ("", ""))
    place = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    folder = Path(tempfile.gettempdir(), "data-gym-cache") if place is None else Path(place)
    path = folder / file
    return bool(file and place != "" and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256)


def encoding_of(folder: Path) -> "Encoding":
    """A tiktoken encoding made from the merges of a byte-level BPE tokenizer in Hugging Face's format.

    It gives the ids that the tokenizer gives. Raises ValueError for a tokenizer of another kind.
    """
    from tiktoken import Encoding

    path = folder / "tokenizer.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model, pattern = told["model"], pattern_of(told["pre_tokenizer"])
        if model["type"] != "BPE" or told["normalizer"] is not None or model.get("ignore_merges"):
            raise ValueError("it is not plain BPE")
        special = {token["content"]: token["id"] for token in told["added_tokens"]}
        return Encoding(folder.name, pat_str=pattern, mergeable_ranks=ranks_of(model), special_tokens=special)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{path} is no byte-level BPE that tiktoken could stand for: {error!r}") from error


def ranks_of(model: dict[str, Any]) -> dict[bytes, int]:
    """The bytes of each token with its id, once it is certain that ids go up in the order of the merges."""
    marks, added = marks_of_bytes(), [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    merged = [model["vocab"]["".join(pair)] for pair in added]
    if merged != sorted(merged) or any(model["vocab"][mark] >= min(merged, default=256) for mark in marks):
        raise ValueError("its ids do not follow its merges")
    names = {*marks, *("".join(pair) for pair in added)}
    ranks = {bytes(marks[mark] for mark in name): model["vocab"][name] for name in names}
    if len(set(ranks.values())) < len(ranks):  # tiktoken would panic, which is no Exception
        raise ValueError("two tokens have one id")
    return ranks


def pattern_of(told: dict[str, Any]) -> str:
    """The regular expression that cuts a text into words."""
    parts = told["pretokenizers"] if told["type"] == "Sequence" else [told]
    split = next((str(part["pattern"]["Regex"]) for part in parts if part["type"] == "Split"), "")
    level = next((part for part in parts if part["type"] == "ByteLevel"), None)
    if level is None or len(parts) > 2 or level["add_prefix_space"] or bool(split) is level["use_regex"]:
        raise ValueError(f"its pre-tokenizer is {[part['type'] for part in parts]}")
    return split or GPT2


def marks_of_bytes() -> dict[str, int]:
    """The printable mark that byte-level tokenizers write for each byte (GPT-2's `bytes_to_unicode`)."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + number): byte for number, byte in enumerate(hidden)}
