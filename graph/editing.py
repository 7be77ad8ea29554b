"""Changing things at a gate: each change is held to what a machine's would be, stands beside what it changes, and can
be undone until the gate is decided."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agents import attacker
from agents.attacker import LADDER, Steer
from agents.bandit import Cell as Where
from graph import edits, gates, screening, sources
from graph.edits import AT, CHANGE, PERSON, Add, Ask, Cell, Drop, Edit, Judge, Rewrite, Stage
from graph.gates import Decided, Place
from tools.contamination import contaminated
from tools.records import Example, Goal, Message, StagePlan
from training.dataset import foreign

if TYPE_CHECKING:
    from graph.team import Team


class Refused(ValueError):
    """A change that cannot be made: why, in one line."""


def edit(crew: "Team", place: Place, who: str, told: Any) -> Edit:
    """Makes a change. Raises Refused where it is none, or Decided where the gate has been decided."""
    change = read(told)
    if place.gate != AT.get(change.what, place.gate):
        raise Refused(f"{change.what} belongs to the {AT[change.what]} gate, and this is the {place.gate} gate")
    with alone(crew):
        open_still(crew, place)
        before, after, made = CHANGES[change.what](crew, place, who, change)
        crew.memory.event(
            place.cycle, place.node, "edit", **gates.body(place), who=who,
            change=change.model_dump(mode="json"), before=before, after=after, made=made,
        )  # fmt: skip
        open_still(crew, place)
        return edits.live(crew, place)[-1]


@contextmanager
def alone(crew: "Team") -> Iterator[None]:
    """Has whoever else changes something in this run wait, in whichever process: changes build on each other."""
    with (crew.run / "edits.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(told: Any) -> Any:
    """A change, from what a form or a file says of it. Raises Refused."""
    try:
        return CHANGE.validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(f"{'.'.join(map(str, first['loc'][1:] or first['loc']))}: {first['msg']}") from error


def open_still(crew: "Team", place: Place) -> None:
    """Raises Decided where a gate has been decided: what is changed after that changes nothing."""
    if said := gates.decision(crew.memory, place):
        word = "approved" if said.approved else "rejected"
        raise Decided(f"{said.who or 'somebody'} {word} this in the meantime; nothing was changed")


def undo(crew: "Team", place: Place, who: str, number: int) -> Edit:
    """Takes a change back. Raises Refused where there is none, or another builds on it."""
    with alone(crew):
        open_still(crew, place)
        standing = edits.live(crew, place)
        found = next((one for one in standing if one.number == number), None)
        if found is None:
            raise Refused(f"there is no change {number} at this gate to be undone")
        if found.made and any(getattr(one.change, "row", "") == found.made for one in standing):
            raise Refused(f"a later change builds on change {number}; undo that one first")
        crew.memory.event(place.cycle, place.node, "undo", **gates.body(place), who=who, of=number)
        open_still(crew, place)
        return found


def rewrite(crew: "Team", place: Place, who: str, change: Rewrite) -> tuple[Any, Any, str]:
    row = row_of(crew, place, change.row)
    new = row.model_copy(update={"chosen": change.chosen, **own(crew, who)})
    return row.chosen, new.chosen, put(crew, new)


def drop(crew: "Team", place: Place, who: str, change: Drop) -> tuple[Any, Any, str]:
    return row_of(crew, place, change.row).chosen, None, ""


def add(crew: "Team", place: Place, who: str, change: Add) -> tuple[Any, Any, str]:
    if len(change.asked) % 2 == 0 or not all(change.asked):
        raise Refused("asked must go user, assistant, ..., user, with nothing empty")
    prompt = tuple(
        Message(role="assistant" if number % 2 else "user", content=text) for number, text in enumerate(change.asked)
    )
    row = Example(kind=change.kind, prompt=prompt, chosen=change.chosen, rejected=change.rejected,
                  language=change.language, cycle=place.cycle, round=place.round, **own(crew, who))  # fmt: skip
    return None, row.chosen, put(crew, row)


def row_of(crew: "Team", place: Place, name: str) -> Example:
    """A row that would be trained on. Raises Refused."""
    here = f"id = ? and cycle = ? and (round = ? or writer like '{PERSON}%')"
    rows = crew.memory.get(Example, here, name, place.cycle, place.round)
    if not rows or not edits.rows(crew).stands(rows[0]):
        raise Refused(f"there is no row {name!r} among those that wait at this gate")
    return rows[0]


def own(crew: "Team", who: str) -> dict[str, Any]:
    """What names a row as somebody's, and as another than all before."""
    written = crew.memory.query(f"select count(*) as n from examples where writer like '{PERSON}%'")
    return {"writer": f"{PERSON}{who}", "number": written[0]["n"]}


def put(crew: "Team", row: Example) -> str:
    """Puts a person's row into the memory, held to what a writer's is. Raises Refused."""
    if row.chosen.strip() == row.rejected.strip():
        raise Refused("what is chosen and what is rejected are the same")
    if foreign(row):
        raise Refused(f"what is chosen is in another language than the row's, {row.language or 'that of its prompt'}")
    [text] = screening.texts(crew, [row])
    if found := contaminated([text], list(screening.items(crew))).get(row.id):
        raise Refused(
            f"it holds what the target is measured on ({found.source}, {found.how}), and may not be trained on"
        )
    try:
        crew.memory.add([row])
    except ValueError as error:
        raise Refused(str(error)) from error
    return row.id


def judge(crew: "Team", place: Place, who: str, change: Judge) -> tuple[Any, Any, str]:
    asked = "attempts.id = ? and attempts.cycle = ? and purpose <> 'measure'"
    labels = crew.memory.labels(list(crew.labels_by), asked, change.attempt, place.cycle)
    if not labels:
        raise Refused(f"there is no attack {change.attempt!r} of cycle {place.cycle}")
    if crew.memory.query("select 1 from verdicts where attempt = ? and judge = ?", change.attempt, f"{PERSON}{who}"):
        raise Refused(f"{who} has judged this conversation before, and that stays; somebody else may")
    return labels[0]["harmful"], change.harmful, ""


def stage(crew: "Team", place: Place, who: str, change: Stage) -> tuple[Any, Any, str]:
    settings = crew.recipe.training
    bound = {"sft": settings.sft, "dpo": settings.dpo}[change.stage]
    if not crew.memory.ids(StagePlan, "cycle = ? and round = ? and stage = ?", place.cycle, place.round, change.stage):
        raise Refused(f"no {change.stage.upper()} stage is planned here")
    given = change.model_dump(include={"epochs", "rate"}, exclude_none=True)
    if not given:
        raise Refused("say epochs, rate or both")
    for name, value in given.items():
        low, _, high = getattr(bound, name)
        if not low <= value <= high:
            key = f"training.{change.stage}.{name}"
            raise Refused(f"{key} = {value:g} is not within the recipe's {low:g} to {high:g}")
    return None, given, ""


def attacked(crew: "Team") -> None:
    """Raises Refused for a run on recorded conversations."""
    if crew.recipe.agents.attacker is None:
        raise Refused("this run attacks nothing: its conversations are recorded")


def cell(crew: "Team", place: Place, who: str, change: Cell) -> tuple[Any, Any, str]:
    attacked(crew)
    told = change.model_dump(include={"area", "strategy", "language"}, exclude_defaults=True)
    if not told:
        raise Refused("say an area, a strategy or a language")
    steers = [*edits.steered(crew), Steer(change.how, change.area, change.strategy, change.language)]
    known = every_cell(crew)
    if not any(steers[-1].fits(one) for one in known):
        raise Refused(f"no cell of this run is {', '.join(told.values())}; see the attack section of its recipe")
    if not any(attacker.allowed(one, steers) for one in known):
        raise Refused("with that nothing is left to attack with")
    return None, {"how": change.how, **told}, ""


def ask(crew: "Team", place: Place, who: str, change: Ask) -> tuple[Any, Any, str]:
    attacked(crew)
    if change.area not in {area.name for area in crew.policy.areas}:
        raise Refused(f"area {change.area!r} is none of the policy's: {', '.join(a.name for a in crew.policy.areas)}")
    attack = crew.recipe.attack
    if change.language not in attack.languages:
        raise Refused(f"language {change.language!r} is none that is trained against: {', '.join(attack.languages)}")
    goal = Goal(text=change.text, area=change.area, intent="harmful", source=f"{PERSON}{who}", split="train")
    if why := sources.unfit(crew.recipe, goal, sources.held_out(crew, [goal])):
        raise Refused(why)
    crew.memory.add([goal])
    return None, goal.text, goal.id


CHANGES: dict[str, Callable[..., tuple[Any, Any, str]]] = {
    "rewrite": rewrite, "drop": drop, "add": add, "judge": judge, "stage": stage, "cell": cell, "ask": ask,
}  # fmt: skip
"""What makes a change: it returns what was before, what is after, and the id of what it brought."""


def every_cell(crew: "Team") -> list[Where]:
    areas = sorted({goal.area for goal in crew.goals if goal.intent == "harmful" and goal.split == "train"})
    return [one for level in LADDER for one in attacker.cells(level, areas, crew.recipe.attack)]
