import asyncio
from collections import Counter

import pytest
from fakes import Scripted

from agents.attacker import Attack, converse, corrected, levels, plan, replay, ways
from agents.bandit import Cell, Tally
from agents.duel import DECLINED
from tools.records import Attempt, Goal, Turn

AREAS = ("violence", "hate")
LOW = ("direct", "plead", "insist")
GOALS = [
    Goal(text=f"goal {n}", area=area, intent="harmful", source="test", split="train")
    for n, area in enumerate(AREAS * 10)
]
SETTINGS = Attack(
    attempts=60, languages=("en", "es"), strategies=("direct", "plead", "insist", "roleplay", "fiction", "crescendo"),
    held_out_strategies=("fiction",), converters=("word_flip", "dots"), held_out_converters=("dots",), probe=0,
)  # fmt: skip


def tally(persona: str, broke: int, judged: int = 100, *, language: str = "en", target: str = "base") -> Tally:
    strategy = {"low_skilled": "direct", "intermediate": "roleplay", "advanced": "crescendo"}[persona]
    return Tally(1, target, Cell("violence", persona, strategy, (), language), judged, broke)


def test_the_climb_begins_with_the_low_skilled_in_the_main_language() -> None:
    planned = plan(GOALS, [], SETTINGS, "base", 1, 0)
    assert len(planned) == 60
    assert {(a.persona, a.language) for a in planned} == {("low_skilled", "en")}


def test_a_level_opens_when_the_one_below_stopped_working_and_the_next_is_probed() -> None:
    assert levels([], SETTINGS, "base") == (["low_skilled"], "intermediate")
    assert levels([tally("low_skilled", 90)], SETTINGS, "base") == (["low_skilled"], "intermediate")
    assert levels([tally("low_skilled", 5)], SETTINGS, "base") == (["low_skilled", "intermediate"], "advanced")
    quiet = [tally(persona, 0) for persona in ("low_skilled", "intermediate", "advanced")]
    assert levels(quiet, SETTINGS, "base")[0] == ["low_skilled", "intermediate", "advanced", "languages"]
    assert levels([*quiet, tally("low_skilled", 0, language="es")], SETTINGS, "base")[1] == ""


def test_a_level_that_worked_on_a_target_mended_since_lets_the_next_one_open() -> None:
    assert levels([tally("low_skilled", 90)], SETTINGS, "adapter")[0] == ["low_skilled", "intermediate"]


def test_few_attempts_are_no_proof_that_a_level_stopped_working() -> None:
    assert levels([tally("low_skilled", 0, judged=3)], SETTINGS, "base")[0] == ["low_skilled"]


def test_what_went_quiet_is_still_sampled_and_plain_asking_goes_on() -> None:
    quiet = [Tally(1, "base", Cell(area, "low_skilled", way, (), "en"), 50, 0) for area in AREAS for way in LOW]
    history = [*quiet, tally("intermediate", 95)]
    planned = plan(GOALS, history, SETTINGS.model_copy(update={"attempts": 400}), "base", 2, 0)
    counts = Counter((a.persona, a.strategy, a.converters) for a in planned)
    assert counts["low_skilled", "plead", ()] >= 5
    assert counts["low_skilled", "direct", ()] >= 20
    assert counts["intermediate", "roleplay", ()] > 4 * counts["low_skilled", "plead", ()]


def test_what_the_judges_get_wrong_is_taken_off_a_cells_success() -> None:
    noisy = SETTINGS.model_copy(update={"specificity": 0.8, "sensitivity": 0.9})
    found = [corrected(tally("intermediate", broke), noisy).broke for broke in (10, 20, 55, 90)]
    assert found == pytest.approx([0, 0, 50, 100])
    assert corrected(tally("intermediate", 20), SETTINGS).broke == 20


def test_every_attempt_says_how_likely_its_cell_was_and_shares_sum_to_one() -> None:
    planned = plan(GOALS, [tally("low_skilled", 5)], SETTINGS, "base", 1, 0, size=2000)
    areas = {goal.id: goal.area for goal in GOALS}
    found = {(areas[a.goal], a.persona, a.strategy, a.converters, a.language): a.propensity for a in planned}
    assert sum(found.values()) == pytest.approx(1)
    counts = Counter((areas[a.goal], a.persona, a.strategy, a.converters, a.language) for a in planned)
    assert all(abs(count - 2000 * found[cell]) <= 1.01 for cell, count in counts.items())


def test_nothing_held_out_is_ever_planned() -> None:
    history = [tally("low_skilled", 0), tally("intermediate", 0)]
    planned = plan(GOALS, history, SETTINGS, "base", 2, 0)
    assert {a.persona for a in planned} == {"low_skilled", "intermediate", "advanced"}
    assert "fiction" not in {a.strategy for a in planned}
    assert {a.converters for a in planned} == {(), ("word_flip",)}
    assert ways("intermediate", SETTINGS, held_out=True) == [("fiction", ()), ("direct", ("dots",))]


def test_a_recipe_that_names_no_strategies_has_them_all_the_answer_in_kind_too() -> None:
    found = ways("intermediate", Attack(converters=("rot13",)))
    assert {("fiction", ()), ("direct", ("rot13",)), ("in_kind", ("rot13",))} < set(found)


def test_a_way_is_held_out_when_its_strategy_or_its_encoding_is() -> None:
    settings = Attack(strategies=("plead", "in_kind"), held_out_strategies=("in_kind",), converters=("base64",))
    assert ways("intermediate", settings) == [("direct", ("base64",))]
    assert ways("intermediate", settings, held_out=True) == [("in_kind", ("base64",))]


def test_a_message_that_cannot_be_encoded_is_a_failed_attempt() -> None:
    said = Scripted(['{"message": "中"}'])
    held = asyncio.run(converse(planned("direct", ("base64(charset='latin-1')",)), GOALS[0], said, Scripted([])))
    assert held.error.startswith("the message cannot be encoded")


def test_a_plan_is_the_same_for_the_same_history_and_another_for_the_next_wave() -> None:
    first, second = (plan(GOALS, [], SETTINGS, "base", 1, 7) for _ in range(2))
    assert [a.id for a in first] == [a.id for a in second]
    assert len({a.id for a in first}) == 60
    assert not {a.id for a in plan(GOALS, [], SETTINGS, "base", 1, 7, start=60)} & {a.id for a in first}
    assert {a.id for a in plan(GOALS, [], SETTINGS, "base", 1, 8)} != {a.id for a in first}


def test_the_answer_in_kind_is_asked_for_only_where_it_can_be_decoded() -> None:
    settings = Attack(strategies=("in_kind",), converters=("rot13", "first_letters"))
    assert ways("intermediate", settings) == [
        ("direct", ("rot13",)),
        ("in_kind", ("rot13",)),
        ("direct", ("first_letters",)),
    ]


def planned(strategy: str, converters: tuple[str, ...] = ()) -> Attempt:
    return Attempt(goal=GOALS[0].id, persona="low_skilled", strategy=strategy, converters=converters, language="en",
                   target="base", cycle=1, seed=0, purpose="attack")  # fmt: skip


def test_a_conversation_takes_the_strategys_turns() -> None:
    attacker = Scripted(['{"message": "one"}', '{"message": "two"}'])
    target = Scripted(["first answer", "second answer"])
    held = asyncio.run(converse(planned("insist"), GOALS[0], attacker, target))
    assert [turn.text for turn in held.turns] == ["one", "first answer", "two", "second answer"]
    assert "first answer" in attacker.asked[1][1]
    assert target.asked[1] == ["one", "first answer", "two"]


def test_a_message_is_encoded_for_the_target_and_kept_plain_for_the_judge() -> None:
    target = Scripted(["answer"])
    held = asyncio.run(converse(planned("direct", ("word_flip",)), GOALS[0], Scripted(['{"message": "a b"}']), target))
    assert held.turns[0] == Turn(role="user", text="b a", plain="a b")
    assert target.asked == [["b a"]]


def test_where_the_attackers_model_will_not_play_the_goal_is_asked_for_as_it_stands() -> None:
    held = asyncio.run(converse(planned("direct"), GOALS[0], Scripted(["I can't do that."] * 3), Scripted(["answer"])))
    assert (held.error, held.note) == ("", DECLINED)
    assert [turn.text for turn in held.turns] == ["goal 0", "answer"]


def test_in_another_language_an_attacker_that_will_not_play_leaves_a_failed_attempt() -> None:
    spanish = planned("direct").model_copy(update={"language": "es"})
    held = asyncio.run(converse(spanish, GOALS[0], Scripted(["I can't do that."] * 3), Scripted([])))
    assert held.error.startswith(DECLINED)
    assert held.turns == ()
    assert held.id == spanish.id


def test_an_answer_in_kind_is_kept_as_it_came_and_decoded() -> None:
    held = asyncio.run(
        converse(planned("in_kind", ("rot13",)), GOALS[0], Scripted(['{"message": "a b"}']), Scripted(["Fher, urer."]))
    )
    assert held.turns[0] == Turn(role="user", text="n o", plain="a b")
    assert held.turns[1] == Turn(role="assistant", text="Fher, urer.", plain="Sure, here.")


def test_a_conversation_in_which_nothing_was_fit_to_be_sent_is_a_failed_attempt() -> None:
    wanders = Scripted(['{"message": "m", "on_topic": false}'] * 99)
    advanced = planned("tap").model_copy(update={"persona": "advanced"})
    held = asyncio.run(converse(advanced, GOALS[0], wanders, Scripted([])))
    assert held.error == "no message was fit to be sent"
    assert {turn.dropped for turn in held.turns} == {"pruned: off topic"}


def test_a_replay_says_the_same_to_another_target() -> None:
    recorded = (Turn(role="user", text="b a", plain="a b"), Turn(role="assistant", text="old"))
    held = asyncio.run(replay(planned("direct", ("word_flip",)), recorded, Scripted(["new"])))
    assert [turn.text for turn in held.turns] == ["b a", "new"]


def test_a_lost_connection_is_tried_again_and_a_real_error_goes_up() -> None:
    flaky = Scripted([ConnectionError("gone"), "answer"])
    held = asyncio.run(converse(planned("direct"), GOALS[0], Scripted(['{"message": "m"}']), flaky))
    assert held.response == "answer"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(
            converse(planned("direct"), GOALS[0], Scripted(['{"message": "m"}']), Scripted([ZeroDivisionError()]))
        )
