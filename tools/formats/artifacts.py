"""Recordings that were published: JailbreakBench's artifacts, and the past-tense attack on Phi-3."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tools.formats.rows import Parsed, Row, loaded, string, turns
from tools.goals import JBB, jbb_area


def jbb(path: Path, areas: dict[str, str]) -> Parsed:
    whole = artifact(path, "jbb", "jailbreaks")
    parameters = whole.get("parameters") or {}

    def parse(row: dict[str, Any]) -> Row:
        text, category = string(row, "goal"), string(row, "category")
        area = jbb_area(category, str(row.get("behavior")))
        if not area:
            raise ValueError(f"category = {category!r} is none of JailbreakBench's")
        return Row(text, turns(row, "prompt", "response"), JBB, name(parameters, "method") or "PAIR",
                   model=name(parameters, "model"), area=area, flags=judged(row))  # fmt: skip

    yield from numbered(whole["jailbreaks"], parse)


def phi3(path: Path, areas: dict[str, str]) -> Parsed:
    whole = artifact(path, "phi3", "jb_artifacts")

    def parse(row: dict[str, Any]) -> Row:
        text = string(row, "request")
        return Row(text, turns(row, "request_reformulated", "response"), JBB, "past_tense",
                   model=name(whole, "target_model"), area=areas.get(text, ""), flags=judged(row))  # fmt: skip

    yield from numbered(whole["jb_artifacts"], parse)


def judged(row: dict[str, Any]) -> dict[str, bool]:
    """What the artifact's own judges said, under its own names."""
    return {key: value for key, value in row.items() if key.startswith("jailbroken") and isinstance(value, bool)}


def artifact(path: Path, format: str, key: str) -> dict[str, Any]:
    """A whole JSON file whose rows are a list under `key`. Raises ValueError for any other file."""
    whole = loaded(path, format)
    if not isinstance(whole, dict) or not isinstance(whole.get(key), list):
        raise ValueError(f"{path} is not of format {format!r}: it has no list {key!r}; give the format that it is of")
    return whole


def numbered(found: list[Any], parse: Callable[[dict[str, Any]], Row]) -> Parsed:
    def checked(row: Any) -> Row:
        if not isinstance(row, dict):
            raise ValueError(f"{str(row)[:60]!r} is no JSON object")
        return parse(row)

    for number, row in enumerate(found):
        yield f"row {number}", partial(checked, row)


def name(said: dict[str, Any], key: str) -> str:
    """What the whole file says of a model or a method; empty where it does not."""
    return string(said, key) if said.get(key) else ""
