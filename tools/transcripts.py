"""Recorded conversations as goals and attempts: JailbreakBench's artifacts, the past-tense attack on Phi-3, JSONL."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from tools.goals import JBB, behaviors, jbb_area, json_object, text_of
from tools.records import BASE, Attempt, Goal, Turn, digest

Format = Literal["jbb", "phi3", "jsonl"]
NOTHING = "the recording has no response"


@dataclass(frozen=True)
class Imported:
    """What a file of recordings held.

    A row whose prompt or response is null is an attempt with `error` set and no turns: it was tried, and what came of
    it is not known. `malformed` names each row that could not be read, and why; the others are imported.
    """

    goals: tuple[Goal, ...]
    attempts: tuple[Attempt, ...]
    flags: dict[str, dict[str, bool]]
    """What the file's own judges said, by attempt id and the file's name for the judge; only where there are turns."""
    malformed: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One recording, whatever the format. Raises ValueError when a field has the wrong type or is missing."""

    text: str
    turns: tuple[Turn, ...]
    source: str
    strategy: str
    model: str = ""
    area: str = ""
    language: str = "en"
    persona: str = "intermediate"
    flags: dict[str, bool] = field(default_factory=dict)


def read(path: Path, format: Format, cycle: int = 0, categories: Path | None = None) -> Imported:
    """The recordings of a file.

    Goals are `harmful` and `train`. Attempts have the purpose `import`, the target `base`, and as seed a hash of the
    model and of what was said, so that the same recording has the same id wherever it is read from. Formats:

    - `jbb`: a JailbreakBench artifact (https://github.com/JailbreakBench/artifacts), area by its category;
    - `phi3`: the artifact of Andriushchenko and Flammarion (arXiv 2407.11969), whose requests are JailbreakBench's:
      area by request where `categories`, JailbreakBench's `harmful-behaviors.csv`, is given, else empty;
    - `jsonl`: a line for each, `{"goal": ..., "turns": [{"role": "user", "text": ...}, {"role": "assistant", ...}]}`,
      or `prompt` and `response` in place of `turns`; `area`, `language` (en), `model`, `persona` (intermediate),
      `strategy` (recorded) and `flag` (true: it broke the model) may be left out.

    Raises ValueError, one line, for a file that cannot be read or is of another format.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is no format of recordings; there are {', '.join(get_args(Format))}")
    known = behaviors(categories).values() if categories else ()
    areas = {row["Goal"]: jbb_area(row["Category"], row["Behavior"]) for row in known}
    goals: dict[str, Goal] = {}
    attempts: dict[str, Attempt] = {}
    flags: dict[str, dict[str, bool]] = {}
    malformed: list[str] = []
    for place, parse in FORMATS[format](path, areas):
        try:
            row = parse()
        except ValueError as error:
            malformed.append(f"{place}: {error}")
            continue
        goal = Goal(text=row.text, area=row.area, intent="harmful", source=row.source, split="train")
        attempt = attempt_of(row, goal, cycle)
        if attempt.id in attempts:
            malformed.append(f"{place}: the same recording as an earlier row")
            continue
        goals[goal.id], attempts[attempt.id] = goal, attempt
        if row.turns and row.flags:
            flags[attempt.id] = row.flags
    return Imported(tuple(goals.values()), tuple(attempts.values()), flags, tuple(malformed))


def attempt_of(row: Row, goal: Goal, cycle: int) -> Attempt:
    seed = int(digest(row.model, [turn.model_dump() for turn in row.turns])[:8], 16)
    return Attempt(
        goal=goal.id, persona=row.persona, strategy=row.strategy, language=row.language, target=BASE, cycle=cycle,
        seed=seed, purpose="import", turns=row.turns, error="" if row.turns else NOTHING,
    )  # fmt: skip


Parsed = Iterator[tuple[str, Callable[[], Row]]]
"""Each row's place in the file, and what makes a `Row` of it."""


def jbb(path: Path, areas: dict[str, str]) -> Parsed:
    whole = artifact(path, "jbb", "jailbreaks")
    parameters = whole.get("parameters") or {}

    def parse(row: dict[str, Any]) -> Row:
        text, category = string(row, "goal"), string(row, "category")
        area = jbb_area(category, str(row.get("behavior")))
        if not area:
            raise ValueError(f"category = {category!r} is none of JailbreakBench's")
        return Row(text, turns(row, "prompt", "response"), JBB, str(parameters.get("method") or "PAIR"),
                   model=str(parameters.get("model") or ""), area=area, flags=judged(row))  # fmt: skip

    yield from numbered(whole["jailbreaks"], parse)


def phi3(path: Path, areas: dict[str, str]) -> Parsed:
    whole = artifact(path, "phi3", "jb_artifacts")

    def parse(row: dict[str, Any]) -> Row:
        text = string(row, "request")
        return Row(text, turns(row, "request_reformulated", "response"), JBB, "past_tense",
                   model=str(whole.get("target_model") or ""), area=areas.get(text, ""), flags=judged(row))  # fmt: skip

    yield from numbered(whole["jb_artifacts"], parse)


def jsonl(path: Path, areas: dict[str, str]) -> Parsed:
    def parse(line: str) -> Row:
        row = json_object(line, "the line")
        said = conversation(row["turns"]) if row.get("turns") is not None else turns(row, "prompt", "response")
        named = {key: string(row, key) for key in ("area", "language", "model", "persona") if row.get(key) is not None}
        flags = {"flag": row["flag"]} if isinstance(row.get("flag"), bool) else {}
        return Row(string(row, "goal"), said, path.name, str(row.get("strategy") or "recorded"), flags=flags, **named)

    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            yield f"line {number}", partial(parse, line)


FORMATS: dict[str, Callable[[Path, dict[str, str]], Parsed]] = {"jbb": jbb, "phi3": phi3, "jsonl": jsonl}


def artifact(path: Path, format: Format, key: str) -> dict[str, Any]:
    """A whole JSON file whose rows are a list under `key`. Raises ValueError for any other file."""
    try:
        whole = json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON, as format {format!r} wants it: {error}; is it jsonl?") from error
    if not isinstance(whole, dict) or not isinstance(whole.get(key), list):
        raise ValueError(
            f"{path} is not of format {format!r}: it has no list {key!r}; "
            f"give another file, or one of {', '.join(get_args(Format))}"
        )
    return whole


def numbered(found: list[Any], parse: Callable[[dict[str, Any]], Row]) -> Parsed:
    def checked(row: Any) -> Row:
        if not isinstance(row, dict):
            raise ValueError(f"{str(row)[:60]!r} is no JSON object")
        return parse(row)

    for number, row in enumerate(found):
        yield f"row {number}", partial(checked, row)


def turns(row: dict[str, Any], prompt: str, response: str) -> tuple[Turn, ...]:
    """One question and its answer; nothing when either is null."""
    for key in (prompt, response):
        if key not in row:
            raise ValueError(f"no {key!r}")
    if row[prompt] is None or row[response] is None:
        return ()
    return (Turn(role="user", text=string(row, prompt)), Turn(role="assistant", text=string(row, response, empty=True)))


def conversation(said: Any) -> tuple[Turn, ...]:
    """Turns that go user, assistant, ..., assistant."""
    if not isinstance(said, list) or not all(isinstance(turn, dict) for turn in said):
        raise ValueError("turns is no list of {role, text}")
    found = tuple(
        Turn(role="assistant" if number % 2 else "user", text=string(turn, "text", empty=bool(number % 2)))
        for number, turn in enumerate(said)
    )
    roles = [turn.get("role") for turn in said]
    if len(found) % 2 or roles != [turn.role for turn in found]:
        raise ValueError(f"turns go {', '.join(map(str, roles))}; they must go user, assistant, ..., assistant")
    return found


def string(row: dict[str, Any], key: str, empty: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"{key} = {str(value)[:60]!r} is no text" if key in row else f"no {key!r}")
    return value


def judged(row: dict[str, Any]) -> dict[str, bool]:
    """What the artifact's own judges said, under its own names."""
    return {key: value for key, value in row.items() if key.startswith("jailbroken") and isinstance(value, bool)}
