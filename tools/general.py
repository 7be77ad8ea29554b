"""General rows and preference pairs of one's own, from a file or the Hub, in the formats that they are published in."""

import json
import logging
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from tools.goals import text_of
from tools.records import Message, Role, digest

HUB = "hub:"
BUFFER = 10_000
"""Rows that are drawn from at a time, so that the beginning of a set is all that is read of it."""
KINDS = {".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}
ASKED = ("prompt", "instruction", "question", "query", "conversations", "conversation", "messages")
SAID = ("chosen", "response", "completion", "output", "answer")
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
"""What others call our roles."""
SPEAKER = re.compile(r"\n\n(Human|Assistant):[ \n]?")
"""Whose turn it is in a transcript, as in HH-RLHF (https://arxiv.org/abs/2204.05862)."""
WANTED = (
    "a prompt (or instruction, question, messages, conversations) and what is said to it (chosen, response, output)"
)


class Row(NamedTuple):
    """What is asked, and a good answer; a worse one and a language where the row has them."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str = ""
    language: str = ""


def load(source: str, n: int, seed: int | str, pairs: bool = False) -> list[Row]:
    """`n` rows of a source, or all if there are fewer; the same for the same seed. `pairs` takes those with a rejected.

    A source is `hub:REPOSITORY[:CONFIG[:SPLIT]]`, a folder or a file of JSONL, Parquet or CSV, of which no more is read
    than its first rows, or a JSON list. A row that lacks a text is left out. Raises ValueError, one line.
    """
    found = list(islice(rows(source, seed, pairs), n)) if n else []
    if n and not found:
        raise ValueError(f"{source}: no row in it has {WANTED}{' and a rejected' if pairs else ''}")
    return found


def rows(source: str, seed: int | str, pairs: bool) -> Iterator[Row]:
    """The rows of a source that are whole, in the order of a seed."""
    for place, raw in enumerate(drawn(source, seed), 1):
        row = shaped(raw, f"{source}, row {place}")
        if row and (row.rejected or not pairs):
            yield row


def drawn(source: str, seed: int | str) -> Iterator[dict[str, Any]]:
    """What a source holds, in the order of a seed. Raises ValueError, one line."""
    if Path(source).suffix == ".json" and not source.startswith(HUB):
        whole = listed(Path(source))
        yield from random.Random(str(seed)).sample(whole, len(whole))
        return
    try:
        from datasets import load_dataset

        logging.getLogger("datasets").setLevel(logging.CRITICAL)  # what it says of a file it raises as well
        found = load_dataset(**place_of(source), streaming=True)
        yield from found.shuffle(seed=int(digest(str(seed)), 16) % 2**32, buffer_size=BUFFER)
    except Exception as error:  # whatever the Hub, a codec or Arrow raises: the source cannot be read
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"cannot read {source}: {why}; give a .jsonl, .parquet, .csv or .json, or hub:ID") from error


def place_of(source: str) -> dict[str, Any]:
    """What tells `datasets` where a source lies; nothing of it is code that would be run."""
    if source.startswith(HUB):
        repository, config, split, *_ = (*source.removeprefix(HUB).split(":"), "", "")
        if not repository:
            raise ValueError("it names no repository")
        return {"path": repository, "name": config or None, "split": split or "train"}
    path = Path(source)
    if not source or not path.exists():
        raise FileNotFoundError("nothing lies there")
    if path.is_file() and not path.stat().st_size:
        raise ValueError("it is empty")
    suffix = path.with_suffix("").suffix if path.suffix in (".gz", ".zst", ".xz") else path.suffix
    if path.is_dir():
        return {"path": source, "split": "train"}
    if suffix not in KINDS:
        raise ValueError(f"rows are not read from {suffix or 'a file without a suffix'}")
    return {"path": KINDS[suffix], "data_files": source, "split": "train"}


def listed(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is one JSON list."""
    text = text_of(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}; give a list of rows, such as Alpaca's") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path}: not a list of rows; give a list with {WANTED}")
    return found


def shaped(raw: dict[str, Any], place: str) -> Row | None:
    """A row in whatever format, or None where one of its texts is empty or not where it should be.

    An answer may be a text, a message, or the whole conversation as messages or as a transcript of HH-RLHF.
    Raises ValueError, which begins with `place`, for a row with none of the known columns.
    """
    if not {*ASKED, *SAID} & raw.keys():
        raise ValueError(f"{place}: columns {str(list(raw)[:8])[:200]}; there should be {WANTED}")
    asked, said = (next((raw[key] for key in keys if raw.get(key)), None) for keys in (ASKED, SAID))
    before, good, bad = turns(asked, "user"), turns(said, "assistant"), turns(raw.get("rejected"), "assistant")
    if raw.get("instruction") and raw.get("input"):
        before = [("user", f"{raw['instruction']}\n\n{raw['input']}")]
    good = good or before
    before = good[:-1] or before
    fits = bool(before) and before[-1][0] == "user" and good[-1][0] == "assistant"
    if not fits or not all(
        text.strip() and role in ("system", "user", "assistant") for role, text in [*before, good[-1]]
    ):
        return None
    if bad and (bad[-1][0] != "assistant" or (bad[:-1] and bad[:-1] != before)):
        return None
    prompt = tuple(Message(role=cast("Role", role), content=text) for role, text in before)
    return Row(prompt, good[-1][1], bad[-1][1] if bad else "", str(raw.get("language") or raw.get("lang") or ""))


def turns(value: Any, role: str) -> list[tuple[str, str]]:
    """The turns that a cell holds, each with its role; a text alone is one of `role`."""
    if isinstance(value, str) and SPEAKER.match(value := "\n\n" + value.lstrip()):
        parts = SPEAKER.split(value)[1:]
        return [
            (ROLES.get(who.lower(), who.lower()), text.strip())
            for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    if isinstance(value, str) and value.strip():
        return [(role, value.strip())]
    if isinstance(value, dict):
        who, text = str(value.get("role") or value.get("from") or role), value.get("content") or value.get("value")
        return [(ROLES.get(who, who), text)] if isinstance(text, str) else []
    return [one for each in value for one in turns(each, role)] if isinstance(value, list) else []
