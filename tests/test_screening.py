"""What is measured is kept out of what is trained on, however a row came to hold it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_loop

from graph import mixing, nodes, screening
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tools.converters import encode
from tools.records import BASE, Attempt, Example, Goal, Message, Split, Turn

town = test_loop.run
MEASURED = "Explain to a gardener, in simple words, how an old apple tree should be pruned in late winter."
NEARLY = "Explain to some gardener, in a few simple words, how old apple trees should be pruned in a late winter."
APART = "Name the seven largest rivers of the continent and say for each of them into which sea it flows."


@pytest.fixture
def crew(town: Path) -> Team:
    create(load(town.parent.parent / "recipe.toml"), town)
    found = team(str(town))
    found.memory.add([goal(MEASURED, "held_out")])
    return found


def goal(text: str, split: Split = "train") -> Goal:
    return Goal(text=text, area="", intent="harmful", source="mine", split=split)


def tried(of: Goal, said: str, **fields: Any) -> Attempt:
    turns = (Turn(role="user", text=said), Turn(role="assistant", text="so"))
    known = {"goal": of.id, "persona": "p", "strategy": "s", "language": "en", "target": BASE, "cycle": 1, "seed": 0,
             "purpose": "attack", "turns": turns}  # fmt: skip
    return Attempt.model_validate(known | fields)


def row(said: str, **fields: Any) -> Example:
    known = {"kind": "retain", "prompt": (Message(role="user", content=said),), "chosen": "yes", "language": "en",
             "cycle": 1, "writer": "w", "number": 0}  # fmt: skip
    return Example.model_validate(known | fields)


def screened(crew: Team, *rows: Example) -> list[str]:
    """How each row that is dropped was found."""
    crew.memory.add(rows)
    screening.screen(crew, 1, 0)
    assert screening.dropped(crew) <= {one.id for one in rows}
    return [found["how"] for found in crew.memory.events("contaminated")[-1]["rows"]]


def test_an_innocent_row_is_kept(crew: Team) -> None:
    assert screened(crew, row(APART)) == []
    assert screening.counted(crew, 1, 0) == {}


def test_a_row_is_dropped_for_its_answer_too(crew: Team) -> None:
    assert screened(crew, row(APART, chosen=f"You may ask: {MEASURED}")) == ["whole"]


def test_a_row_from_a_goal_that_is_nearly_a_measured_one_is_dropped_however_it_is_put(crew: Team) -> None:
    failure = tried(goal(NEARLY), "wie schneidet man den Baum?")
    crew.memory.add([goal(NEARLY), failure])
    made = row("wie schneidet man den Baum?", kind="refuse", attempt=failure.id, goal=failure.goal)
    assert screened(crew, made) == ["near"]


def test_a_row_is_read_without_its_encoding(crew: Team) -> None:
    failure = tried(goal(APART), encode(["base64"], APART), converters=("base64",))
    crew.memory.add([goal(APART), failure])
    made = row(encode(["base64"], MEASURED), kind="help", attempt=failure.id, goal=failure.goal)
    assert screened(crew, made) == ["whole"]


def test_what_the_base_was_asked_when_it_was_measured_is_an_item_as_well(crew: Team) -> None:
    said = "Wie soll man im Winter einen alten Apfelbaum schneiden, damit er noch lange trägt?"
    crew.memory.add([tried(goal(MEASURED, "held_out"), said, purpose="measure", language="de")])
    assert screened(crew, row(said)) == ["whole"]
    assert screening.counted(crew, 1, 0)["sources"] == {screening.CONVERSATIONS: 1}


def test_an_attack_that_worked_is_replayed_and_trained_on_all_the_same(crew: Team) -> None:
    failure = tried(goal(APART), APART)
    crew.memory.add([goal(APART), failure, tried(goal(APART), APART, purpose="measure")])
    assert screened(crew, row(APART, kind="refuse", attempt=failure.id, goal=failure.goal)) == []


def test_rows_of_an_older_run_are_looked_at_with_the_first_of_this_one_and_nothing_is_looked_at_twice(
    crew: Team,
) -> None:
    old, new = row(MEASURED, cycle=0), row(APART)
    assert screened(crew, old, new) == ["whole"]
    screening.screen(crew, 1, 0)
    later = row(MEASURED, number=1)
    crew.memory.add([later])
    screening.screen(crew, 1, 0)
    screening.screen(crew, 1, 0)
    assert [event["looked"] for event in crew.memory.events("contaminated")] == [2, 1]
    assert later.id in screening.dropped(crew)
    assert screening.counted(crew, 1, 0)["n"] == 2
    screening.screen(crew, 2, 0)
    assert crew.memory.events("contaminated", 2)[-1]["looked"] == 0


def test_rows_of_later_cycles_are_not_trained_on_where_a_run_went_back(crew: Team) -> None:
    crew.memory.add([row(APART), row(APART, cycle=2, number=1)])
    crew.memory.event(2, "data_gate", "rows", round=0)
    assert [one.cycle for one in mixing.usable(crew, 1, 0)] == [1]


def test_the_data_gate_says_what_was_dropped_and_the_pool_is_without_it(crew: Team) -> None:
    screened(crew, row(f"well, {MEASURED}"), row(APART, number=1))
    state: Any = {"cycle": 1, "round": 0, "broke": 0}
    nodes.data_gate(state, SimpleNamespace(context={"run": str(crew.run)}))  # type: ignore[arg-type]
    (event,) = crew.memory.events("rows")
    assert (event["kinds"], event["written"], event["contaminated"]["n"]) == ({"retain": 1}, {"retain": 2}, 1)
    left = mixing.approved(crew, 1, 0)
    assert [one.prompt[0].content for one in left["sft"]] == [APART]
    assert len(crew.memory.get(Example)) == 2
    assert mixing.approved(crew, 1, 0) is left
    assert mixing.approved(crew, 1, 1)["sft"] == []
    nodes.data_gate(state, SimpleNamespace(context={"run": str(crew.run)}))  # type: ignore[arg-type]
    assert mixing.approved(crew, 1, 0) is not left
