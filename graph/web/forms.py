"""What forms say: a change to what waits at a gate, or a decision about it."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import parse_qsl

from evals.report.markdown import HIDDEN
from graph.editing import Refused
from graph.gates import NOBODY, Decision, GateName, Place
from graph.waiting import Item

Form = Mapping[str, str]
MOST = 1_000_000
"""Bytes of a form."""
NAMED = 60
"""Letters of a name."""
MARKED = re.compile(r"⟨U\+[0-9A-F]{4,6}⟩")
WRITTEN = {mark: chr(place) for place, mark in HIDDEN.items()}
FIELDS: dict[str, tuple[str, ...]] = {
    "rewrite": ("row", "chosen"), "drop": ("row",), "add": ("kind", "asked", "chosen", "rejected", "language"),
    "judge": ("attempt", "harmful"), "stage": ("stage", "epochs", "rate"),
    "cell": ("how", "area", "strategy", "language"), "ask": ("text", "area", "language"),
}  # fmt: skip
"""What each change takes from its form."""
HARMFUL = {"yes": True, "no": False, "unclear": None}


def read(body: bytes) -> dict[str, str]:
    """The fields of a form, with what pages write out as it was. Raises Refused."""
    try:
        said = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=40)
    except ValueError as error:
        raise Refused(str(error)) from error
    return {name: MARKED.sub(unwritten, value.replace("\r\n", "\n")) for name, value in said}


def unwritten(found: re.Match[str]) -> str:
    """A character that `evals.report.markdown.visible` has written out."""
    return WRITTEN.get(found[0], found[0])


def change(form: Form) -> dict[str, Any]:
    """A change, as `graph.editing.edit` takes it."""
    what = form.get("what", "")
    told: dict[str, Any] = {name: form.get(name, "") for name in FIELDS.get(what, ())}
    if what == "judge":
        if told["harmful"] not in HARMFUL:
            raise Refused("say whether it is harmful: yes, no or unclear")
        told["harmful"] = HARMFUL[told["harmful"]]
    if what == "add":
        told["asked"] = [told["asked"]]
    if what == "stage":
        told = {name: value for name, value in told.items() if value.strip()}
    return {"what": what, **told}


def decision(form: Form, who: str) -> Decision:
    """What somebody decides: a yes, a no, or that the run ends here."""
    says = form.get("says", "")
    if says not in ("approve", "reject", "end"):
        raise Refused("say approve, reject or end")
    end = says == "end" or form.get("end") == "yes"
    return Decision(approved=says == "approve", why=form.get("why", "").strip(), who=who, end=end)


def name(said: str) -> str:
    """Who somebody says they are. Raises Refused."""
    known = " ".join(said.split())
    if not known or len(known) > NAMED or not known.isprintable() or known.casefold() == NOBODY:
        raise Refused(f"{said!r} is no name: give 1 to {NAMED} letters, and not {NOBODY!r}")
    return unicodedata.normalize("NFC", known)


def text_of(place: Place) -> str:
    return ".".join(map(str, place))


def place_of(said: str) -> Place:
    """The gate that a form was made for. Raises Refused."""
    name, *numbers = said.split(".")
    gate = next((gate for gate in get_args(GateName) if gate == name), None)
    if gate is None or len(numbers) != 3 or not all(one.isdecimal() and len(one) < 10 for one in numbers):
        raise Refused(f"{said!r} names no gate")
    return Place(gate, *map(int, numbers))


def stage_of(item: Item) -> dict[str, str]:
    """The numbers of a stage that can be changed."""
    return {name: dict(item.parts)[name] for name in ("epochs", "rate")}
