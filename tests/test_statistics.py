import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.benchmarks import correction
from tools.significance import deviate
from tools.statistics import (
    Confusion,
    clustered,
    corrected,
    design_effect,
    difference,
    informative,
    paired_reduction,
    powered,
    reduction,
    rogan_gladen,
    share,
    stratified,
    unpaired,
    wilson,
)

SURE = 10**9
CERTAIN = Confusion(SURE, 0, SURE, 0)


def test_wilson_gives_the_published_intervals() -> None:
    assert wilson(0, 50) == pytest.approx((0, 0.0713), abs=5e-5)
    assert wilson(50, 50) == pytest.approx((0.9287, 1), abs=5e-5)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975, 0.9988])
@pytest.mark.parametrize(("k", "n"), [(0, 12), (3, 40), (300, 300), (570, 1000)])
def test_wilson_at_any_level_is_scipy_s(k: int, n: int, level: float) -> None:
    theirs = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson(k, n, deviate(1 - level)) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(
    ("after", "before", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_an_unpaired_difference_has_newcombe_s_interval(
    after: tuple[int, int], before: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17, 1998, 873-890, table II, method 10."""
    assert unpaired(*before, *after)[1:] == pytest.approx((low, high), abs=5e-5)


def test_a_stratified_difference_compares_like_with_like() -> None:
    one = {"a": (30, 100)}, {"a": (20, 80)}
    assert stratified(*one) == pytest.approx(unpaired(30, 100, 20, 80))
    then, now = {"a": (90, 100), "b": (10, 100)}, {"a": (9, 10), "b": (20, 200), "c": (50, 50)}
    change = stratified(then, now)
    assert change is not None
    assert change.value == pytest.approx(0)  # where the rates as they are fell from 50 % to 30 %
    wide = unpaired(50, 100, 50, 100)
    assert change.high - change.low > 0.5 * (wide.high - wide.low)
    assert stratified({"a": (1, 2), "b": (0, 0)}, {"b": (3, 4), "c": (1, 2)}) is None


def test_a_share_of_nothing_may_be_anything() -> None:
    assert wilson(0, 0) == (0, 1)


def test_more_than_all_is_no_share() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def pairs(both: int, only_before: int, only_after: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


def test_a_paired_difference_has_newcombe_s_interval() -> None:
    before, after = pairs(36, 12, 2, 0)  # Newcombe 1998, method 10: .2 [.0569, .3404]
    assert difference(after, before) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    assert difference(before, after) == pytest.approx((-0.2, -0.3404, -0.0569), abs=5e-5)


def test_a_surer_interval_of_a_paired_difference_is_wider() -> None:
    before, after = pairs(36, 12, 2, 0)
    sure, surer = difference(after, before), difference(after, before, z=deviate(0.01))
    assert surer.value == sure.value
    assert surer.low < sure.low < sure.high < surer.high


def test_no_change_at_all_is_still_uncertain() -> None:
    for now in (False, True):
        same = difference([now] * 50, [now] * 50)
        assert same.value == 0
        assert same.low < -0.05
        assert same.high > 0.05


def test_repeats_of_one_goal_do_not_make_an_interval_narrower() -> None:
    dice = random.Random(0)
    goals = [(dice.random() < 0.8, dice.random() < 0.4) for _ in range(40)]
    alone = difference([b for b, _ in goals], [a for _, a in goals])
    names = [str(number) for number in range(40) for _ in range(5)]
    repeated = difference([b for b, _ in goals for _ in range(5)], [a for _, a in goals for _ in range(5)], names)
    assert repeated.low == pytest.approx(alone.low, abs=0.01)
    assert repeated.high == pytest.approx(alone.high, abs=0.01)
    assert design_effect([1, 1, 0, 0], [0, 0, 1, 1]) == 2


def test_a_reduction_to_nothing_is_not_certain() -> None:
    unpaired = reduction(40, 50, 0, 50)
    assert unpaired is not None
    assert unpaired.value == 1
    assert unpaired.high == 1
    assert 0.88 < unpaired.low < 0.93  # 1 - .0713 / .8 = .91
    paired = paired_reduction([True] * 40 + [False] * 10, [False] * 50)
    assert paired is not None
    assert paired.low == pytest.approx(unpaired.low)


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_reduction_that_leaves_something_is_never_of_all(left: int) -> None:
    found = paired_reduction([True] * 200 + [False] * 100, [True] * left + [False] * (300 - left))
    unpaired = reduction(200, 300, left, 300)
    assert found is not None
    assert unpaired is not None
    assert found.high == pytest.approx(unpaired.high)
    assert found.value < found.high < 1


def test_a_reduction_of_nothing_is_none() -> None:
    assert reduction(0, 50, 3, 50) is None
    assert reduction(5, 50, 0, 0) is None
    assert paired_reduction([False] * 9, [True] * 9) is None


def test_a_reduction_that_did_not_happen_has_zero_inside() -> None:
    for interval in (reduction(300, 1000, 300, 1000), paired_reduction([True] * 30, [True] * 30)):
        assert interval is not None
        assert interval.low < interval.value == 0 < interval.high


def test_a_harm_that_grew_is_a_negative_reduction() -> None:
    interval = reduction(100, 1000, 200, 1000)
    assert interval is not None
    assert interval.value == pytest.approx(-1)
    assert interval.low < -1 < interval.high < 0


def test_the_paired_interval_is_the_same_each_time_and_narrower_than_the_unpaired_one() -> None:
    before, after = pairs(150, 50, 0, 200)
    paired, unpaired = paired_reduction(before, after, seed=3), reduction(200, 400, 150, 400)
    assert paired == paired_reduction(before, after, seed=3)
    assert paired is not None
    assert unpaired is not None
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_the_intervals_hold_the_truth_about_nineteen_times_in_twenty() -> None:
    """Goals asked five times each, the answers to one goal alike: a bootstrap over items would be far too narrow."""
    dice, held = random.Random(1), 0
    for trial in range(200):
        before, after, names = list[bool](), list[bool](), list[str]()
        for goal in range(80):
            hard, mended = dice.random() < 0.9, dice.random() < 0.7
            for _ in range(5):
                before.append(dice.random() < (0.95 if hard else 0.4))
                after.append(before[-1] and not mended)
                names.append(str(goal))
        interval = paired_reduction(before, after, names, seed=trial)
        assert interval is not None
        held += interval.low <= 0.7 <= interval.high
    assert 0.90 <= held / 200 <= 0.99


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_no_interval_is_without_width_or_beside_its_value(items: list[tuple[bool, bool]]) -> None:
    before, after = [b for b, _ in items], [a for _, a in items]
    change = difference(before, after)
    assert change.low < change.high
    assert change.low <= change.value + 1e-12
    assert change.value - 1e-12 <= change.high
    fall = paired_reduction(before, after)
    if fall:
        assert fall.low < fall.high
        assert fall.low - 1e-12 <= fall.value <= fall.high + 1e-12


def test_every_table_of_counts_has_an_unpaired_interval_around_its_value() -> None:
    for k0, k1 in product(range(1, 31), range(31)):
        interval = reduction(k0, 30, k1, 30)
        assert interval is not None
        assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9
        assert interval.low < interval.high


def test_items_that_are_not_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items before, 1 after"):
        difference([True, False], [True])
    with pytest.raises(ValueError, match="no items"):
        paired_reduction([], [])


def test_a_rate_by_a_judge_of_known_quality_is_the_published_one() -> None:
    known = Confusion(96 * SURE, 4 * SURE, 89 * SURE, 11 * SURE)
    rate = corrected(23, 150, known)  # epiR, epi.prev: 5.1 [0, 13] in 100
    assert rate is not None
    assert rate == pytest.approx((0.051, 0, 0.13), abs=2e-3)
    low, high = wilson(81, 263)
    assert corrected(81, 263, known) == pytest.approx([(p + 0.89 - 1) / 0.85 for p in (81 / 263, low, high)], abs=1e-4)


def test_at_none_and_at_all_the_interval_is_wilson_s_corrected() -> None:
    assert corrected(0, 50, CERTAIN) == pytest.approx((0, *wilson(0, 50)), abs=1e-4)
    assert corrected(50, 50, CERTAIN) == pytest.approx((1, *wilson(50, 50)), abs=1e-4)
    misses_half = Confusion(SURE, SURE, SURE, 0)
    assert corrected(0, 50, misses_half) == pytest.approx((0, 0, 2 * wilson(0, 50)[1]), abs=1e-4)
    none, few = corrected(0, 50, Confusion(50, 50, 100, 0)), corrected(0, 50, Confusion(5, 5, 10, 0))
    assert none is not None
    assert few is not None
    assert 2 * wilson(0, 50)[1] < none.high < few.high  # what is not known of the judge is carried in


def test_fewer_positives_than_the_judge_s_false_alarms_leave_some_doubt() -> None:
    for k in (0, 3, 10):
        rate = corrected(k, 1000, Confusion(850, 150, 950, 50))
        assert rate is not None
        assert rate[:2] == (0, 0)
        assert rate.high >= wilson(0, 1000)[1]


def test_a_judge_no_better_than_chance_or_not_measured_corrects_nothing() -> None:
    assert corrected(5, 10, Confusion(50, 50, 50, 50)) is None
    assert corrected(5, 10, Confusion(0, 0, 50, 50)) is None
    assert corrected(5, 10, Confusion(50, 50, 0, 0)) is None
    assert corrected(0, 0, Confusion(9, 1, 9, 1)) is None


def test_a_judge_informs_from_where_sensitivity_and_specificity_exceed_chance_by_six_tenths() -> None:
    assert informative(share(8, 10), share(8, 10))
    assert not informative(share(7, 10), share(8, 10))
    assert not informative(share(8, 10), share(0, 0))


@given(st.data())
def test_a_corrected_rate_lies_in_its_interval_which_has_a_width(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 400))
    k = data.draw(st.integers(0, n))
    confusion = Confusion(*(data.draw(st.integers(0, 60)) for _ in range(4)))
    rate = corrected(k, n, confusion)
    if rate:
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
        assert rate.low < rate.high
        mirrored = corrected(n - k, n, Confusion(confusion.tn, confusion.fp, confusion.tp, confusion.fn))
        assert mirrored == pytest.approx((1 - rate.value, 1 - rate.high, 1 - rate.low), abs=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_corrected_intervals_hold_the_truth_where_raw_ones_do_not(rate: float) -> None:
    """2,000 sets of verdicts on sandbox conversations; all rates and sizes are in docs/measurements.md."""
    held, _, raw, *_ = correction.coverage(rate, calibration=100, n=1000, sets=2000)
    assert 0.93 <= held <= 0.97
    assert raw < 0.92


def test_repeats_of_a_goal_make_neither_a_share_nor_a_corrected_rate_surer() -> None:
    flags, goals = [True, True, False, True] * 10, [str(number) for number in range(40)]
    once, thrice = clustered(flags, goals), clustered(flags * 3, goals * 3)
    assert once == share(30, 40)
    assert thrice == pytest.approx(once)
    assert rogan_gladen(30, 100, thrice, thrice) == pytest.approx(rogan_gladen(30, 100, once, once))
    assert clustered([], []) is None


def test_a_powered_rate_is_that_of_prediction_powered_inference() -> None:
    dice = random.Random(2)
    truth = [dice.random() < 0.3 for _ in range(500)]
    said = [dice.random() < (0.85 if harmful else 0.05) for harmful in truth]
    rate = powered(said, list(zip(said[:100], truth[:100], strict=True)))
    theirs = correction.plus_plus(*(np.array(flags) for flags in (truth[:100], said[:100], said[100:])))
    assert rate is not None
    assert rate.value == pytest.approx(theirs.value, abs=1e-9)
    assert rate == pytest.approx(theirs, abs=0.02)


def test_powered_intervals_hold_the_truth_with_few_labels() -> None:
    for labels in (20, 100):
        held, normal, _, _ = correction.power(0.1, labels, sets=300)
        assert held >= 0.93
        assert normal < held


def test_labels_for_everything_leave_the_doubt_that_the_run_itself_leaves() -> None:
    said = [True] * 300 + [False] * 700
    rate = powered(said, list(zip(said, said, strict=True)))
    low, high = wilson(300, 1000)
    assert rate is not None
    assert rate.value == pytest.approx(0.3)
    assert rate.low < low + 1e-3
    assert high - 1e-3 < rate.high


def test_of_a_verdict_that_nobody_labelled_anything_may_be_true() -> None:
    said = [True] * 10 + [False] * 80 + [None] * 10
    rate = powered(said, [(True, True)] * 5 + [(False, False)] * 40)
    assert rate is not None
    assert rate.value == pytest.approx(0.1 + 0.1 * 5 / 45)
    assert rate.low < 0.1 < 0.2 < rate.high  # all ten undetermined ones may be harmful, or none
    assert powered(said, []) is None
    with pytest.raises(ValueError, match="never gave"):
        powered([False], [(True, True)])


def test_labels_need_not_be_in_proportion_to_the_verdicts() -> None:
    said = [True] * 100 + [False] * 900
    many = powered(said, [(True, True)] * 45 + [(True, False)] * 5 + [(False, False)] * 48 + [(False, True)] * 2)
    assert many is not None
    assert many.value == pytest.approx(0.1 * 0.9 + 0.9 * 0.04)
