"""What waits at a gate, item by item: what the terminal and the browser show, and have changed."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from graph import costs, edits, mixing
from graph.edits import Edit
from graph.gates import Place
from graph.team import Team
from tools.records import Attempt, Example, StagePlan

KINDS = ("refuse", "help", "retain")


class Item(NamedTuple):
    """One thing that may be looked at and changed."""

    what: str
    """`row`, `attack` (one that the judges do not agree on), `stage`, or `word`: what a gate says."""
    id: str
    about: str
    """What kind it is, in a line."""
    parts: tuple[tuple[str, str], ...]
    """What it says, part by part: whose or which, and the text. What is `rejected` is harmful where a refusal is
    preferred to it."""
    attempt: str = ""
    """The attack that a row answers, or that this is."""
    cell: tuple[str, str, str] = ("", "", "")
    """Area, way and language of that attack."""
    edit: Edit | None = None
    """The change that brought it; None where it is as a machine made it."""
    harmful: bool | None = None
    """What is said of that attack; None also where there is none, or it cannot be told."""


def items(crew: Team, place: Place, shown: dict[str, Any]) -> list[Item]:
    """What waits at a gate, the rows by kind and what was changed with them."""
    if place.gate == "data":
        return [*rows(crew, place), *doubtful(crew, place)]
    if place.gate == "train":
        return [
            staged(crew, plan, edits.numbers(crew, place)) for plan in map(StagePlan.model_validate, shown["stages"])
        ]
    told = [("why", str(shown.get("why", "")))]
    told += [("score", str(score)) for score in shown.get("scores", ())]
    about = (
        f"{shown.get('candidate', '')} against {shown['champion']}" if place.gate == "promote" else "the run would end"
    )
    return [Item("word", place.gate, about, tuple(told))]


def rows(crew: Team, place: Place) -> list[Item]:
    """This round's rows that may be trained on."""
    made = {one.made: one for one in edits.live(crew) if one.change.what in ("rewrite", "add")}
    written = [row for row in mixing.usable(crew, place.cycle, place.round) if row.cycle == place.cycle]
    labels = crew.memory.labels(list(crew.labels_by), "attempts.cycle = ?", place.cycle)
    answered = {row["id"]: ((row["area"], row["strategy"], row["language"]), row["harmful"]) for row in labels}
    return [
        Item("row", row.id, about(row), said(row), row.attempt, cell, made.get(row.id), harmful)
        for row in sorted(written, key=lambda row: KINDS.index(row.kind))
        for cell, harmful in [answered.get(row.attempt, (("", "", ""), None))]
    ]  # fmt: skip


def about(row: Example) -> str:
    return f"{row.kind}, {row.language or 'no language'}, by {row.writer}"


def said(row: Example) -> tuple[tuple[str, str], ...]:
    turns = [(message.role, message.content) for message in row.prompt]
    return (*turns, ("chosen", row.chosen), *([("rejected", row.rejected)] if row.rejected else []))


def doubtful(crew: Team, place: Place, only: str = "%") -> list[Item]:
    """The cycle's attacks that no judge, or not all of them, could tell, and those that a person has judged here;
    `only` is the id of one."""
    judged = {one.change.attempt: one for one in edits.live(crew, place) if one.change.what == "judge"}
    asked = "purpose <> 'measure' and attempts.cycle = ? and attempts.id like ?"
    labels = crew.memory.labels(list(crew.labels_by), asked, place.cycle, only)
    wanted = {row["id"]: row for row in labels if row["harmful"] is None or row["id"] in judged}
    found = crew.memory.get(Attempt, "id in (select value from json_each(?))", json.dumps(list(wanted)))
    return [
        Item("attack", one.id, f"attack, the judges say {word(wanted[one.id]['harmful'])}",
             tuple((turn.role, turn.plain or turn.text) for turn in one.kept), one.id,
             (wanted[one.id]["area"], one.strategy, one.language), judged.get(one.id), wanted[one.id]["harmful"])
        for one in found
    ]  # fmt: skip


def word(harmful: bool | None) -> str:
    return "nothing that they agree on" if harmful is None else "harmful" if harmful else "harmless"


def staged(crew: Team, plan: StagePlan, wanted: dict[str, dict[str, float]]) -> Item:
    """A stage with the numbers that it is to have, and what it may take."""
    names = ("rows", "epochs", "rate", "rank", "batch", "beta", "method", "why")
    values = {name: getattr(plan, name) for name in names} | wanted.get(plan.stage, {})
    about = f"{plan.stage.upper()} from {plan.parent}{', changed here' if plan.stage in wanted else ''}"
    takes = costs.told(crew.memory, plan.model_copy(update=wanted.get(plan.stage, {})))
    parts = tuple((name, f"{value}") for name, value in values.items())
    return Item("stage", plan.stage, about, (("takes", takes), *parts))


def found(some: Sequence[Item], words: str) -> list[int]:
    """The places of the items that hold all of some words."""
    wanted = words.casefold().split()
    texts = (" ".join([one.about, one.id, *(text for _, text in one.parts)]).casefold() for one in some)
    return [number for number, text in enumerate(texts) if all(word in text for word in wanted)]


def difference(before: str, after: str) -> str:
    """What was changed, word by word: [-taken away-] and {+put there+}."""
    old, new = before.split(" "), after.split(" ")
    told = list[str]()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        told += [" ".join(old[a:b])] if tag == "equal" else []
        told += ["[-" + " ".join(old[a:b]) + "-]"] if tag in ("delete", "replace") else []
        told += ["{+" + " ".join(new[c:d]) + "+}"] if tag in ("insert", "replace") else []
    return " ".join(told)
