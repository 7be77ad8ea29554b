"""What people have changed at the gates, and what follows: for rows, verdicts, stages, and where attacks go."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agents.attacker import LADDER, Steer
from graph import gates
from graph.gates import Place
from tools.memory import PEOPLE
from tools.records import Attempt, Example, Goal, Kind, Verdict

if TYPE_CHECKING:
    from graph.team import Team

PERSON = "human:"
"""What the names of judges, writers and sources begin with that are people."""
BY_HAND = 1_000_000_000
"""The seeds of attacks that people made: after all that are planned, so that no wave is planned by them."""


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rewrite(Closed):
    """Another chosen answer for a row."""

    what: Literal["rewrite"] = "rewrite"
    row: str
    chosen: str = Field(min_length=1)


class Drop(Closed):
    """A row that is not trained on."""

    what: Literal["drop"] = "drop"
    row: str


class Add(Closed):
    """A row of one's own: turns of user and assistant that end with the user's, and what to say then."""

    what: Literal["add"] = "add"
    kind: Kind
    asked: tuple[str, ...] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = ""
    language: str = ""


class Judge(Closed):
    """Another verdict on an attack of this cycle."""

    what: Literal["judge"] = "judge"
    attempt: str
    harmful: bool | None
    """None says that it cannot be told, so that nothing is trained on."""


class Stage(Closed):
    """Other numbers for a stage, within the recipe's bounds."""

    what: Literal["stage"] = "stage"
    stage: Literal["sft", "dpo"]
    epochs: float | None = None
    rate: float | None = None


class Cell(Closed):
    """Where attacks are to go from the next cycle on, or not to; what is left empty is any."""

    what: Literal["cell"] = "cell"
    how: Literal["pin", "ban"]
    area: str = ""
    strategy: str = ""
    language: str = ""


class Ask(Closed):
    """An attack of one's own, said as it stands in the next cycle; the attacker goes on with it as one of its goals."""

    what: Literal["ask"] = "ask"
    text: str = Field(min_length=1)
    area: str
    language: str


Change = Annotated[Rewrite | Drop | Add | Judge | Stage | Cell | Ask, Field(discriminator="what")]
CHANGE: TypeAdapter[Any] = TypeAdapter(Change)
AT = {"rewrite": "data", "drop": "data", "add": "data", "judge": "data", "stage": "train"}
"""The gate at which a change can be made; the others at every one."""


class Edit(NamedTuple):
    """A change that was made: its number, where, by whom and when, and what it replaced by what."""

    number: int
    at: float
    place: Place
    who: str
    change: Any
    before: Any
    after: Any
    made: str
    """Id of the row, goal or verdict that it brought; empty where it brought none."""


def live(crew: "Team", place: Place | None = None) -> list[Edit]:
    """The changes that stand, of one gate or of all, oldest first: not undone, and made before the gate was decided."""
    rows = crew.memory.query(
        """select rowid as number, at, cycle, kind, body from events where kind in ('edit', 'undo', 'gate')
        order by rowid"""
    )
    found, shut = dict[int, Edit](), set[Place]()
    for row in rows:
        said = {**json.loads(row["body"]), "cycle": row["cycle"]}
        where = gates.place_of(said)
        if where in shut or (place and where != place):
            continue
        if row["kind"] == "gate":
            shut.add(where)
        elif row["kind"] == "undo":
            found.pop(said["of"], None)
        else:
            found[row["number"]] = Edit(
                row["number"], row["at"], where, said["who"], CHANGE.validate_python(said["change"]), said["before"],
                said["after"], said["made"],
            )  # fmt: skip
    return list(found.values())


class Rows(NamedTuple):
    """What people did to rows, by their ids."""

    gone: set[str]
    """Taken away, or another stands in its place."""
    made: set[str]
    """Brought, in whosever place."""
    own: set[str]
    """Those of them that stand in the place of none: a no to the writer's rows is none to these."""

    def stands(self, row: Example) -> bool:
        """Whether a row is one of those that people left, or put there."""
        return row.id not in self.gone and (row.id in self.made or not row.writer.startswith(PERSON))


def rows(crew: "Team") -> Rows:
    found = Rows(set(), set(), set())
    for one in live(crew):
        before = getattr(one.change, "row", "")
        if before:
            found.gone.add(before)
        if before or one.change.what == "add":
            found.made.add(one.made)
        if before in found.own or one.change.what == "add":
            found.own.add(one.made)
    return found


def harmless(crew: "Team", until: int | None = None) -> set[str]:
    """The attempts that people call no harm, or are not sure of: what was written for them is not trained on.

    `until` is the number of the last verdict that counts; None counts all.
    """
    sql = f"""select attempt from verdicts where {PEOPLE} and (? is null or rowid <= ?) group by attempt
        having count(harmful) < count(*) or min(harmful) = 0"""
    return {row["attempt"] for row in crew.memory.query(sql, until, until)}


def settle(crew: "Team", place: Place) -> set[str]:
    """Puts the verdicts that people gave at a gate into the memory; the attacks that they all call harm by that."""
    judged = [one for one in live(crew, place) if one.change.what == "judge"]
    last = {(one.change.attempt, one.who): one.change.harmful for one in judged}
    attempts = "select attempts.id, area from attempts join goals on goals.id = goal where attempts.cycle = ?"
    areas = {row["id"]: row["area"] for row in crew.memory.query(attempts, place.cycle)} if last else {}
    crew.memory.add(
        Verdict(attempt=attempt, judge=f"{PERSON}{who}", harmful=harmful, refusal="none" if harmful else None,
                understood=True, area=areas[attempt] if harmful else "", reason="at the data gate")
        for (attempt, who), harmful in last.items()
    )  # fmt: skip
    return {name for name, _ in last} - {name for (name, _), harmful in last.items() if not harmful}


def numbers(crew: "Team", place: Place) -> dict[str, dict[str, float]]:
    """What people want a stage to have, by stage: the last word on each."""
    found: dict[str, dict[str, float]] = {}
    for one in live(crew, place):
        if one.change.what == "stage":
            found.setdefault(one.change.stage, {}).update(one.after)
    return found


def steered(crew: "Team", before: int | None = None) -> list[Steer]:
    """Where people want attacks to go, or not to, by what they said before a cycle."""
    cells = [one for one in live(crew) if one.change.what == "cell" and (before is None or one.place.cycle < before)]
    return [Steer(one.change.how, one.change.area, one.change.strategy, one.change.language) for one in cells]


def by_hand(crew: "Team", target: str, cycle: int) -> tuple[list[Goal], list[Attempt]]:
    """The goals that people brought before a cycle, and the attacks that say those of the last one as they stand."""
    asks = [one for one in live(crew) if one.change.what == "ask" and one.place.cycle < cycle]
    goals = {goal.id: goal for goal in crew.memory.get(Goal, f"source like '{PERSON}%'")}
    made = [
        Attempt(goal=one.made, persona=LADDER[0], strategy="direct", language=one.change.language, target=target,
                cycle=cycle, seed=BY_HAND + number, purpose="attack")
        for number, one in enumerate(asks) if one.place.cycle == cycle - 1
    ]  # fmt: skip
    return [goals[name] for name in dict.fromkeys(one.made for one in asks)], made
