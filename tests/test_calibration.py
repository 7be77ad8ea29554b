import json
from collections.abc import Sequence
from typing import Any

import pytest

from evals.calibration import caution, corrected, drifted, scorecard, shown
from evals.scorecard import Scorecard
from tools.labels import Label
from tools.records import Refusal, Seen, Severity
from tools.statistics import wilson


def label(yes: bool, number: int = 0, **more: Any) -> Label:
    return Label(goal=f"goal {number}", response=f"answer {number}", label=yes, **more)


def saw(harmful: bool | None, score: float | None = None, refusal: Refusal | None = "none") -> Seen:
    return Seen(harmful=harmful, refusal=refusal, understood=True, score=score, reason="because")


def rows(tp: int, fn: int, tn: int, fp: int, unknown: int = 0) -> tuple[list[Label], list[Seen]]:
    cells = [(True, True)] * tp + [(True, False)] * fn + [(False, False)] * tn + [(False, True)] * fp
    all_ = [*cells, *[(True, None)] * unknown]
    return [label(yes, at) for at, (yes, _) in enumerate(all_)], [saw(said) for _, said in all_]


def card(labels: Sequence[Label], seen: Sequence[Seen]) -> Scorecard:
    return scorecard(labels, seen, "harmful", "judge")


def test_a_scorecard_counts_what_a_hand_would() -> None:
    found = card(*rows(tp=40, fn=10, tn=45, fp=5, unknown=10))
    assert found.n == 110
    assert found.confusion.model_dump() == {"tp": 40, "fn": 10, "tn": 45, "fp": 5}
    for metric, k, n in ((found.coverage, 100, 110), (found.accuracy, 85, 100), (found.sensitivity, 40, 50),
                         (found.specificity, 45, 50)):  # fmt: skip
        assert metric.interval == pytest.approx((k / n, *wilson(k, n)))
    assert found.f1.value == pytest.approx(80 / 95)
    assert found.kappa.value == pytest.approx((0.85 - 0.5) / 0.5)
    assert found.alpha is None
    assert caution(found) == ""


def test_the_json_has_the_fields_that_are_promised() -> None:
    found = card(*rows(8, 2, 9, 1))
    read = json.loads(found.model_dump_json())
    assert read["n"] == 20
    for name in ("coverage", "accuracy", "f1", "sensitivity", "specificity", "kappa"):
        assert set(read[name]) == {"value", "low", "high"}
        assert read[name]["low"] < read[name]["value"] <= read[name]["high"]
    rest = {
        "task",
        "judge",
        "labels",
        "confusion",
        "alpha",
        "by_language",
        "by_area",
        "by_model",
        "reliability",
        "worst",
    }
    assert rest < set(read)
    assert Scorecard.model_validate_json(found.model_dump_json()) == found


def test_what_cannot_be_measured_is_null_and_not_a_number() -> None:
    harmless = card(*rows(0, 0, 9, 1))
    assert harmless.accuracy.value == 0.9
    assert harmless.sensitivity.value is harmless.f1.value is harmless.kappa.value is None
    assert "no positive answer" in caution(harmless)
    assert corrected(3, 10, harmless) is None
    undecided = card([label(True), label(False, 1)], [saw(None), saw(None)])
    assert undecided.coverage.value == 0
    assert undecided.accuracy.value is undecided.specificity.value is undecided.f1.value is None
    assert "not measured" in shown(undecided)


def test_labels_without_as_many_verdicts_are_refused() -> None:
    with pytest.raises(ValueError, match="1 labels and 2 verdicts"):
        card([label(True)], [saw(True)] * 2)
    with pytest.raises(ValueError, match="0 labels"):
        card([], [])


def test_a_partial_refusal_is_a_refusal_and_none_is_undetermined() -> None:
    said: list[Refusal | None] = ["full", "partial", "none", None]
    found = scorecard([label(True)] * 4, [saw(True, 0.9, refusal) for refusal in said], "refusal", "judge")
    assert found.confusion.model_dump() == {"tp": 2, "fn": 1, "tn": 0, "fp": 0}
    assert found.coverage.value == 0.75
    assert found.reliability == ()  # the score is of harm


def test_repeats_of_a_goal_do_not_make_a_judge_better_known() -> None:
    labels, seen = rows(40, 10, 45, 5)
    once, five_times = card(labels, seen), card(labels * 5, seen * 5)
    for name in ("accuracy", "f1", "sensitivity", "kappa"):
        assert getattr(five_times, name).interval == pytest.approx(getattr(once, name).interval, abs=1e-9)
    assert corrected(30, 100, five_times) == pytest.approx(corrected(30, 100, once))


def test_the_order_of_the_labels_does_not_name_another_set() -> None:
    labels, seen = rows(3, 1, 4, 1)
    assert card(labels[::-1], seen[::-1]).labels == card(labels, seen).labels
    assert card(labels[1:], seen[1:]).labels != card(labels, seen).labels


def test_a_judge_that_says_little_asks_for_people() -> None:
    weak = card(*rows(14, 6, 14, 6))
    assert "0.40" in caution(weak)
    assert caution(weak) in shown(weak)


def test_languages_areas_and_models_have_cards_of_their_own() -> None:
    labels = [
        label(at % 2 == 0, at, language=("en", "nl")[at % 4 // 2], model="" if at < 4 else "m") for at in range(8)
    ]
    found = card(labels, [saw(True)] * 8)
    assert set(found.by_language) == {"en", "nl"}
    assert found.by_language["nl"].sensitivity.value == 1
    assert found.by_language["nl"].specificity.value == 0
    assert set(found.by_model) == {"(none)", "m"}
    assert found.by_area == {}
    assert "| nl | 4 |" in shown(found)


def test_scores_are_shown_against_what_people_say() -> None:
    scores = [0.05] * 10 + [0.95] * 10 + [1.0] * 10
    labels = [label(at > 9, at) for at in range(30)]
    found = card(labels, [saw(score > 0.5, score) for score in scores])
    assert [(one.low, one.n, one.positive.value) for one in found.reliability] == [(0, 10, 0), (0.9, 20, 1)]
    assert found.reliability[1].score == pytest.approx(0.975)
    assert "0.9-1.0 [" in shown(found)


def test_the_surest_mistakes_come_first_and_break_out_of_nothing() -> None:
    labels = [label(False, at).model_copy(update={"response": f"{at} | <b>\n" * 99}) for at in range(4)]
    found = card(labels, [saw(True, score) for score in (0.6, 0.99, 0.8, None)])
    assert [miss.index for miss in found.worst] == [1, 2, 0, 3]
    assert len(found.worst[0].response) <= 201
    lines = [line for line in shown(found).splitlines() if line.startswith("| 1 | goal 1")]
    assert len(lines) == 1
    assert "<b>" not in lines[0]


def test_severity_is_compared_where_both_give_one() -> None:
    labels, seen = rows(10, 0, 10, 0)
    levels: list[Severity] = [5, 6, 7, 3] * 5
    labels = [one.model_copy(update={"severity": level}) for one, level in zip(labels, levels, strict=True)]
    seen = [one.model_copy(update={"severity": level}) for one, level in zip(seen, levels, strict=True)]
    same = card(labels, seen)
    assert same.alpha is not None
    assert same.alpha.value == 1
    assert "alpha, severity" in shown(same)


def test_drift_is_said_only_where_it_is_shown() -> None:
    labels, before = rows(45, 5, 45, 5)
    assert drifted(labels, before, before, "harmful") == []
    missed_one = [saw(False), *before[1:]]
    assert drifted(labels, before, missed_one, "harmful") == []
    blind = [saw(False)] * 15 + before[15:]
    [sentence] = drifted(labels, before, blind, "harmful")
    assert "sensitivity fell from 90.0% to 60.0% on 50" in sentence
    crying_wolf = before[:50] + [saw(True)] * 15 + before[65:]
    [sentence] = drifted(labels, before, crying_wolf, "harmful")
    assert "specificity fell from 90.0% to 60.0% on 50" in sentence
    mute = [saw(None)] * 30 + before[30:]
    assert ["coverage fell" in one for one in drifted(labels, before, mute, "harmful")] == [True]
    with pytest.raises(ValueError, match="not paired"):
        drifted(labels, before, before[1:], "harmful")
