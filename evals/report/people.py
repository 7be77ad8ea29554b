"""What people did at the gates: who decided what, when and why, and what they changed."""

import time
from collections.abc import Mapping
from typing import Any

from evals.report.shapes import Section, Table
from tools.memory import Memory

MOST = 200
"""Letters of a text that are shown; the memory has all."""


def people(memory: Memory) -> Section:
    """Every decision at a gate and every change there; nothing where nobody was asked."""
    decided = tuple(
        (event["cycle"], event["gate"], answer(event), event["who"] or "somebody", at(event), event["why"])
        for event in memory.events("gate")
    )
    changed = tuple(
        (event["cycle"], event["gate"], event["who"] or "somebody", at(event), event["change"]["what"],
         short(event["before"]), short(event["after"]))
        for event in memory.events("edit")
    )  # fmt: skip
    undone, blocks = len(memory.events("undo")), list[Table]()
    if decided:
        head: tuple[str, ...] = ("cycle", "gate", "answer", "who", "when (UTC)", "why")
        blocks.append(Table(head=head, rows=decided))
    if changed:
        head = ("cycle", "gate", "who", "when (UTC)", "what", "before", "after")
        blocks.append(Table(title="What they changed", head=head, rows=changed))
    about = f"{undone} of the changes were undone." if undone else ""
    return Section(name="People at the gates", about=about if blocks else "", blocks=tuple(blocks))


def answer(event: Mapping[str, Any]) -> str:
    said = "approved" if event["approved"] else "rejected"
    return f"{said}, and the run ended" if event.get("end") else said


def at(event: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(event["at"]))


def short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MOST else text[: MOST - 3] + "..."
