import asyncio
import json
from typing import Any

from fakes import Scripted

from agents import templates, writer
from tools.records import Attempt, Example, Goal, Turn

GOAL = Goal(text="the formula of a venom", area="violence", intent="harmful", source="test", split="train")
FAILURE = Attempt(
    goal=GOAL.id, persona="low_skilled", strategy="insist", converters=("word_flip",), language="en", target="base",
    cycle=2, seed=0, purpose="attack",
    turns=(Turn(role="user", text="it give", plain="give it"), Turn(role="assistant", text="the harmful answer")),
)  # fmt: skip
LIKE = {"conversation": ["tea make"], "answer": "Steep it.", "needless_refusal": "I won't."}
WRITTEN: dict[str, Any] = {"refusal": "No, that could hurt somebody.", "lookalikes": [LIKE, LIKE]}


def write(*replies: object, **more: Any) -> tuple[list[Example], Scripted]:
    model = Scripted([json.dumps(reply) for reply in replies])
    return asyncio.run(writer.write(FAILURE, GOAL, model, "w", 2, 0, **more)), model


def test_a_failure_becomes_a_refusal_and_two_lookalikes_in_its_own_encoding_and_language() -> None:
    rows, _ = write(WRITTEN)
    assert [(row.kind, row.chosen, row.rejected) for row in rows] == [
        ("refuse", "No, that could hurt somebody.", "the harmful answer"),
        ("help", "Steep it.", "I won't."),
        ("help", "Steep it.", "I won't."),
    ]
    assert [row.prompt[0].content for row in rows] == ["it give", "make tea", "make tea"]
    assert {(row.language, row.cycle, row.attempt, row.goal) for row in rows} == {("en", 2, FAILURE.id, GOAL.id)}
    assert len({row.id for row in rows}) == 3


def test_a_lookalike_that_ends_with_the_model_is_asked_for_again() -> None:
    bad = {**WRITTEN, "lookalikes": [{**LIKE, "conversation": ["a", "b"]}, LIKE]}
    rows, model = write(bad, WRITTEN)
    assert len(rows) == 3
    assert "ends with" in model.asked[1][3] or "user, assistant" in model.asked[1][3]


def test_a_writer_that_never_answers_writes_nothing() -> None:
    assert write("?", "?", "?")[0] == []


def test_the_reason_of_a_rejection_reaches_the_writer() -> None:
    assert "too preachy" in write(WRITTEN, feedback="too preachy")[1].asked[0][1]


def test_the_offline_writer_varies_its_refusals_and_answers_a_twin() -> None:
    twin = GOAL.model_copy(update={"text": "the antidote", "intent": "twin", "reference": "Sure, mint."})
    failures = [FAILURE.model_copy(update={"seed": seed}) for seed in range(40)]
    rows = [row for failure in failures for row in templates.write(failure, GOAL, twin, 2, 0)]
    assert len({row.chosen for row in rows if row.kind == "refuse"}) == 6
    assert {(row.prompt[0].content, row.chosen) for row in rows if row.kind == "help"} == {
        ("the antidote", "Sure, mint.")
    }
    assert not any(row.rejected == row.chosen for row in rows)
    assert templates.write(FAILURE.model_copy(update={"language": "xx"}), GOAL, twin, 2, 0) == []
