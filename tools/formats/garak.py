"""Recordings of garak: the attempts of its report, `*.report.jsonl` (https://github.com/NVIDIA/garak)."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from tools.formats.rows import Parsed, Row, alternate, refuse, string
from tools.goals import json_object, lines
from tools.records import Turn

COMPLETE = 2
"""The status of an attempt whose detectors have spoken. Every attempt has an earlier line without them."""
HIT = 0.5
"""The score from which a detector calls an output a hit: garak's own default threshold."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-\w+)?")


def read(path: Path, areas: dict[str, str]) -> Parsed:
    """A recording for every output of every complete attempt, flagged by each detector.

    The probe is the strategy and its goal the goal. A system message is left out; a null output was not had. Reports
    of garak until 0.12, whose prompts and outputs are bare texts, are read too.
    """
    model = ""
    for place, line in lines(path):
        try:
            row = json_object(line, "the line")
            kind = string(row, "entry_type")
        except (ValueError, RecursionError) as error:
            yield place, partial(refuse, str(error))
            continue
        if kind == "start_run setup":
            model = str(row.get("plugins.target_name") or row.get("plugins.model_name") or "")
        if kind == "attempt" and row.get("status") == COMPLETE:
            outputs = row.get("outputs")
            for number in range(len(outputs) if isinstance(outputs, list) else 1):
                yield f"{place}, output {number}", partial(parse, row, number, model)


def parse(row: dict[str, Any], number: int, model: str) -> Row:
    probe, prompt, outputs = string(row, "probe_classname"), row.get("prompt"), row.get("outputs")
    if not isinstance(outputs, list):
        raise ValueError("outputs is no list")
    histories = row.get("conversations") or row.get("messages")
    if isinstance(histories, list) and len(histories) == len(outputs):
        said = messages(histories[number])
    else:
        said = [*messages(prompt), message("assistant", outputs[number])]
    asked = next((one["text"] for one in said if one["role"] == "user"), "")
    goal = row if str(row.get("goal") or "").strip() else {"goal": asked}
    return Row(string(goal, "goal"), turns(said) if said[-1]["text"] is not None else (), "garak", probe, model=model,
               language=language(prompt, row), flags=hits(row.get("detector_results"), number, len(outputs)),
               key=f"{row.get('uuid')}/{number}")  # fmt: skip


def messages(said: Any) -> list[dict[str, Any]]:
    """The turns of a conversation, or of a prompt as older versions write it."""
    found = said.get("turns") if isinstance(said, dict) else said
    if not isinstance(found, list):
        return [message("user", said)]
    return [message(str(one.get("role")), one.get("content")) for one in found if isinstance(one, dict)]


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "text": content.get("text") if isinstance(content, dict) else content}


def turns(said: list[dict[str, Any]]) -> tuple[Turn, ...]:
    spoken = [one for one in said if one["role"] != "system"]
    alternate([one["role"] for one in spoken])
    return tuple(Turn(role=one["role"], text=string(one, "text", empty=one["role"] == "assistant")) for one in spoken)


def language(prompt: Any, row: dict[str, Any]) -> str:
    """The language of the last message of a prompt; `en` where garak says none, or any (`*`)."""
    turns = prompt.get("turns") if isinstance(prompt, dict) else None
    content = turns[-1].get("content") if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else row
    found = str(content.get("lang") or "") if isinstance(content, dict) else ""
    return found if LANGUAGE.fullmatch(found) else "en"


def hits(results: Any, number: int, outputs: int) -> dict[str, bool]:
    """Whether each detector called an output a hit; one that could not tell, or skipped an output, says nothing."""
    found: dict[str, bool] = {}
    for detector, scores in results.items() if isinstance(results, dict) else ():
        score = scores[number] if isinstance(scores, list) and len(scores) == outputs else None
        if isinstance(score, (int, float)):
            found[detector] = score >= HIT
    return found
