"""The gates: where a run waits for a person, what is decided there, and what is decided where nobody comes."""

import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from graph.team import Team
    from tools.memory import Memory

GateName = Literal["data", "train", "promote", "stop"]
NOBODY = "nobody"
"""Who decides when the time is over."""
LOOKS = 1.0
"""Seconds between two looks at whether somebody has decided."""


class Wait(BaseModel):
    """How long a run stays at a gate for a person, and what it does then."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minutes: float = Field(gt=0)
    otherwise: Literal["approve", "reject", "wait"] = "wait"
    """`wait` ends the process, and the run waits on; as it does at once at a gate without a limit."""


class Decision(BaseModel):
    """What somebody says at a gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approved: bool
    why: str = ""
    """Of a no it reaches the prompt of whoever has to do it again."""
    who: str = ""
    end: bool = False
    """Whether the run ends here; what is approved by the same word still counts."""


class Place(NamedTuple):
    """One stop at a gate: the same rows may be looked at again, as after a verdict was changed."""

    gate: GateName
    cycle: int
    round: int
    look: int = 0

    @property
    def node(self) -> str:
        return f"{self.gate}_gate"


class Decided(ValueError):
    """Somebody else was first."""


def asked(crew: "Team", place: Place, **shown: Any) -> Decision | None:
    """What was decided at a gate; stops the node until something is. None where the recipe has no such gate."""
    from langgraph.types import interrupt

    if place.gate not in crew.recipe.gates:
        return None
    if found := decision(crew.memory, place):
        return found
    if reached(crew.memory, place) is None:
        crew.memory.event(place.cycle, place.node, "waits", **body(place))
    told = {**place._asdict(), **shown}
    while True:
        answer = interrupt(told)
        try:
            said = Decision.model_validate(answer)
            return decide(crew.memory, place, said)
        except ValidationError as error:
            told = {**told, "mistake": mistake(error)}
        except Decided:
            return decision(crew.memory, place)


def ending(said: Decision | None, at: str) -> str:
    """Why the run ends at a gate; empty where it does not."""
    if said is None or not said.end:
        return ""
    return f"ended at the {at} gate by {said.who or 'somebody'}" + (f": {said.why}" if said.why else "")


def mistake(error: ValidationError) -> str:
    """What is wrong with an answer, in one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}; say approved (true or false), why, who and end"


def decide(memory: "Memory", place: Place, said: Decision) -> Decision:
    """Puts a decision down, once and for all. Raises Decided, which says whose was there before."""
    try:
        memory.event(place.cycle, place.node, "gate", **body(place), **said.model_dump())
    except sqlite3.IntegrityError as error:
        [first] = events(memory, "gate", place)
        word = "approved" if first["approved"] else "rejected"
        ago = (time.time() - first["at"]) / 60
        raise Decided(f"{first['who'] or 'somebody'} was first, {ago:.0f} minutes ago: {word}"
                      f"{': ' + first['why'] if first['why'] else ''}; nothing was changed") from error  # fmt: skip
    return said


def decision(memory: "Memory", place: Place) -> Decision | None:
    """What was decided there; None as long as nobody has."""
    found = events(memory, "gate", place)
    return Decision(**{name: found[0][name] for name in Decision.model_fields if name in found[0]}) if found else None


def reached(memory: "Memory", place: Place) -> float | None:
    """When a run came to a gate, in seconds since 1970; None where it has not."""
    found = events(memory, "waits", place)
    return found[0]["at"] if found else None


def events(memory: "Memory", kind: str, place: Place) -> list[dict[str, Any]]:
    return [event for event in memory.events(kind, place.cycle) if place_of(event) == place]


def body(place: Place) -> dict[str, Any]:
    """What an event says of a place, beside its cycle."""
    return {"gate": place.gate, "round": place.round, "look": place.look}


def place_of(shown: dict[str, Any]) -> Place:
    """Where an event, or what a waiting run shows, belongs."""
    return Place(shown["gate"], shown["cycle"], shown["round"], shown.get("look", 0))


def stay(crew: "Team", place: Place) -> bool:
    """Stays at a gate as long as the recipe says, and returns whether something is decided by then.

    Only what went by before this process came goes by the clock on the wall: that may be set while it waits.
    """
    limit = crew.recipe.wait.get(place.gate)
    if limit is None:
        return decision(crew.memory, place) is not None
    now = time.time()
    until = time.monotonic() + 60 * limit.minutes - max(0.0, now - (reached(crew.memory, place) or now))
    while not decision(crew.memory, place):
        left = until - time.monotonic()
        if left <= 0:
            return timed_out(crew.memory, place, limit)
        then = "the run waits on" if limit.otherwise == "wait" else f"it is {limit.otherwise}d"
        crew.watch(place.node, 0, 0, f"waits for a person; in {left / 60:.1f} minutes {then}")
        time.sleep(min(LOOKS, left))
    return True


def timed_out(memory: "Memory", place: Place, limit: Wait) -> bool:
    """Decides in the place of a person who did not come; whether there is a decision then.

    Rows, plans and the end are rejected so once: to do them again and again for nobody would never end.
    """
    cycle = None if place.gate == "stop" else place.cycle
    before = [e for e in memory.events("gate", cycle) if (e["gate"], e["who"]) == (place.gate, NOBODY)]
    if limit.otherwise == "wait" or (limit.otherwise == "reject" and before):
        return False
    why = f"nobody came within {limit.minutes:g} minutes"
    with suppress(Decided):
        decide(memory, place, Decision(approved=limit.otherwise == "approve", why=why, who=NOBODY))
    return True


def rejections(memory: "Memory", cycle: int, at: str) -> list[str]:
    """Why people said no at a gate in this cycle, once for each time."""
    said = [event for event in memory.events("gate", cycle) if event["gate"] == at and not event["approved"]]
    return [event["why"] for event in said if event["why"] and event["who"] != NOBODY]
