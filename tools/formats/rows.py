"""A recorded conversation as a row, whatever its format; one's own JSONL and CSV; what every format is read with."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tools.goals import json_object, lines, text_of
from tools.records import Turn

FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""What a cell of one's own CSV may say of whether it broke the model; an empty cell says nothing."""
NAMED = ("area", "language", "model", "persona", "strategy")
"""What a row of one's own may say beside what was said."""


@dataclass(frozen=True)
class Row:
    """One recording, whatever the format. Without turns, what came of it is not known."""

    text: str
    """The goal."""
    turns: tuple[Turn, ...]
    source: str
    strategy: str = "recorded"
    model: str = ""
    area: str = ""
    language: str = "en"
    persona: str = "intermediate"
    converters: tuple[str, ...] = ()
    flags: dict[str, bool] = field(default_factory=dict)
    key: str = ""
    """What tells it apart from a recording in which the same was said; empty where that is the same recording."""

    def __post_init__(self) -> None:
        """Raises ValueError for half a character in what names it; `string` has looked at what was said."""
        for name in (*NAMED, "key"):
            storable(getattr(self, name), name)
        for name in self.flags:
            storable(name, "the name of a flag")


Parsed = Iterator[tuple[str, Callable[[], Row]]]
"""Each recording's place in the file, and what makes a `Row` of it, or raises ValueError for what is wrong with it."""


def refuse(why: str) -> Row:
    """What makes no `Row`, with `partial`, where it is known already why there is none."""
    raise ValueError(why)


def jsonl(path: Path, areas: dict[str, str]) -> Parsed:
    def parse(line: str) -> Row:
        row = json_object(line, "the line")
        said = conversation(row["turns"]) if row.get("turns") is not None else turns(row, "prompt", "response")
        flags = {"flag": row["flag"]} if isinstance(row.get("flag"), bool) else {}
        return Row(string(row, "goal"), said, path.name, flags=flags, **named(row))

    for place, line in lines(path):
        yield place, partial(parse, line)


def own_csv(path: Path, areas: dict[str, str]) -> Parsed:
    """The rows of one `conversation` are its turns, in order; its first row says the rest."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for line, row in cells(path, ("goal", "prompt", "response")):
        found.setdefault(row.get("conversation") or f"line {line}", []).append((line, row))

    def parse(rows: list[dict[str, Any]]) -> Row:
        said = [turns(row | {"response": row["response"] or None}, "prompt", "response") for row in map(whole, rows)]
        flags = [flag for row in rows if (flag := flagged(row.get("flag") or "")) is not None]
        return Row(string(rows[0], "goal"), tuple(turn for one in said for turn in one) if all(said) else (), path.name,
                   flags={"flag": any(flags)} if flags else {}, **named(rows[0]))  # fmt: skip

    for rows in found.values():
        yield f"line {rows[0][0]}", partial(parse, [row for _, row in rows])


def whole(row: dict[str, Any]) -> dict[str, Any]:
    if None in row or None in row.values():
        raise ValueError("it has more or fewer cells than the first line has names")
    return row


def flagged(cell: str) -> bool | None:
    if cell.strip() and cell.strip().lower() not in FLAGS:
        raise ValueError(f"flag = {cell[:60]!r} is neither true nor false")
    return FLAGS.get(cell.strip().lower())


def named(row: dict[str, Any]) -> dict[str, Any]:
    return {key: string(row, key) for key in NAMED if row.get(key) not in (None, "")}


def loaded(path: Path, format: str) -> Any:
    """The JSON of a file. Raises ValueError, one line, for any other file."""
    text = text_of(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, as format {format!r} wants it: {error}; is it jsonl?") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply for format {format!r}; is it that format?") from error


def cells(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV with a head, each with the line that it ends on. Raises ValueError for any other file."""
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path} has no column {missing[0]!r} in its first line; name the columns there, by commas"
            )
        for row in reader:
            yield reader.line_num, dict(row)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def turns(row: dict[str, Any], prompt: str, response: str) -> tuple[Turn, ...]:
    """One question and its answer; nothing when either is null."""
    for key in (prompt, response):
        if key not in row:
            raise ValueError(f"no {key!r}")
    if row[prompt] is None or row[response] is None:
        return ()
    return (Turn(role="user", text=string(row, prompt)), Turn(role="assistant", text=string(row, response, empty=True)))


def conversation(said: Any) -> tuple[Turn, ...]:
    """Turns of a list of {role, text}, which go user, assistant, ..., assistant."""
    if not isinstance(said, list) or not all(isinstance(turn, dict) for turn in said):
        raise ValueError("turns is no list of {role, text}")
    alternate([turn.get("role") for turn in said])
    return tuple(Turn(role=turn["role"], text=string(turn, "text", empty=turn["role"] == "assistant")) for turn in said)


def alternate(roles: list[Any]) -> None:
    """Raises ValueError where turns do not go user, assistant, ..., assistant."""
    if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(f"turns go {', '.join(map(str, roles))[:80]}; they must go user, assistant, ..., assistant")


def storable(text: str, name: str) -> str:
    """The text, which may be stored. Raises ValueError for half a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half a character, at {error.start}") from error
    return text


def string(row: dict[str, Any], key: str, empty: bool = False) -> str:
    """The text under a key, which may be stored."""
    value = row.get(key)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"{key} = {str(value)[:60]!r} is no text" if key in row else f"no {key!r}")
    return storable(value, key)
