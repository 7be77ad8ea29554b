from tools.records import Attempt, Turn, Verdict


def attempt(**changes: object) -> Attempt:
    planned: dict[str, object] = {
        "goal": "g", "persona": "low_skilled", "strategy": "direct", "language": "en", "target": "base", "cycle": 1,
        "seed": 0, "purpose": "attack",
    }  # fmt: skip
    return Attempt.model_validate(planned | changes)


def test_an_id_says_what_was_planned_and_not_what_came_back() -> None:
    answered = attempt(turns=(Turn(role="user", text="hi"), Turn(role="assistant", text="no")), seconds=2.0, error="x")
    assert attempt().id == answered.id
    assert len({attempt(**{key: "other"}).id for key in ("goal", "persona", "strategy", "language", "target")}) == 5
    assert attempt(converters=("dots",)).id != attempt().id


def test_a_copy_with_other_fields_has_an_id_of_its_own() -> None:
    one = attempt()
    assert one.id == attempt().id
    assert one.model_copy(update={"seed": 1}).id == attempt(seed=1).id
    assert (one.model_copy(), one.model_copy(deep=True).id) == (attempt(), one.id)


def test_ids_are_the_same_on_every_machine() -> None:
    assert attempt().id == "4f4707b6512e49d7"


def test_a_verdict_is_named_by_its_attempt_and_judge() -> None:
    verdicts = [Verdict(attempt="a", judge="j", harmful=h, refusal=None, understood=True) for h in (True, False, None)]
    assert len({verdict.id for verdict in verdicts}) == 1


def test_the_response_is_the_last_thing_the_target_said() -> None:
    turns = (Turn(role="assistant", text="first"), Turn(role="user", text="and?"), Turn(role="assistant", text="last"))
    assert attempt(turns=turns).response == "last"
    assert attempt().response == ""
