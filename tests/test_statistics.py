import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.statistics import design_effect, difference, paired_reduction, reduction, wilson


def test_wilson_gives_the_published_intervals() -> None:
    assert wilson(0, 50) == pytest.approx((0, 0.0713), abs=5e-5)
    assert wilson(50, 50) == pytest.approx((0.9287, 1), abs=5e-5)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


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
