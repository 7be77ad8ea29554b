import random
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from tests.benchmarks.coverage import bootstrap
from tools.significance import (
    benjamini_hochberg,
    deviate,
    excluding,
    holm,
    mcnemar,
    needed,
    power,
    settling,
    spent,
)
from tools.statistics import difference

THROMBOLYSIS = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
                0.7590, 1.0]  # fmt: skip
"""The fifteen of Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995, section 3.2)."""


def pairs(fell: int, rose: int, same: int = 0) -> tuple[list[bool], list[bool]]:
    before = [True] * fell + [False] * rose + [True] * same
    return before, [not was for was in before[: fell + rose]] + [True] * same


@pytest.mark.parametrize(("fell", "rose"), [(59, 6), (11, 3), (121, 59), (1, 0), (7, 7), (0, 0)])
def test_mcnemar_is_the_exact_test_of_the_pairs_that_differ(fell: int, rose: int) -> None:
    p = binomtest(fell, fell + rose).pvalue if fell + rose else 1.0
    assert mcnemar(*pairs(fell, rose, 40)) == pytest.approx(p)


def test_mcnemar_gives_published_values() -> None:
    assert mcnemar(*pairs(9, 1)) == pytest.approx(0.0215, abs=5e-5)  # 10 pairs, 9 one way: sign test tables, 2 x .0107
    assert mcnemar(*pairs(86, 150)) < 0.0001  # Agresti, approval of the prime minister: z = -4.17
    assert mcnemar(*pairs(121, 59)) == pytest.approx(4e-6, abs=1e-6)  # Wikipedia, McNemar's test: 121 against 59


def test_answers_to_one_goal_change_together_or_not_at_all() -> None:
    before, after = pairs(9, 1)
    thrice = [f"goal {number}" for number in range(10) for _ in range(3)]
    repeated = [[flag for flag in flags for _ in range(3)] for flags in (before, after)]
    assert mcnemar(*repeated, thrice) == pytest.approx(mcnemar(before, after))
    assert mcnemar(*repeated) < 0.001


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_by_goal_it_is_the_test_over_every_way_of_swapping_before_and_after(
    items: list[tuple[int, bool, bool]],
) -> None:
    goals = [str(goal) for goal, _, _ in items]
    changes = {goal: sum(a - b for name, (_, b, a) in zip(goals, items, strict=True) if name == goal) for goal in goals}
    seen, net = abs(sum(changes.values())), list(changes.values())
    swaps = [abs(sum(map(prod, zip(signs, net, strict=True)))) for signs in product((-1, 1), repeat=len(net))]
    p = mcnemar([b for _, b, _ in items], [a for _, _, a in items], goals)
    assert p == pytest.approx(sum(swap >= seen for swap in swaps) / len(swaps))


def test_by_goal_it_agrees_with_scipy_s_permutation_test() -> None:
    dice = random.Random(0)
    before, after = [dice.random() < 0.6 for _ in range(90)], [dice.random() < 0.4 for _ in range(90)]
    goals = [str(number // 3) for number in range(90)]
    sums = [[sum(flags[k : k + 3]) for k in range(0, 90, 3)] for flags in (before, after)]
    theirs = permutation_test(sums, lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis), vectorized=True,
                              permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0))  # fmt: skip
    assert mcnemar(before, after, goals) == pytest.approx(theirs.pvalue, abs=0.01)


def test_holm_adjusts_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Wikipedia, Holm-Bonferroni
    assert sum(p <= 0.05 for p in holm(THROMBOLYSIS)) == 3
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_benjamini_and_hochberg_find_four_where_holm_finds_three() -> None:
    assert sum(p <= 0.05 for p in benjamini_hochberg(THROMBOLYSIS)) == 4
    assert benjamini_hochberg([]) == []


def test_what_is_spent_over_all_cycles_is_alpha() -> None:
    assert spent(0.05, 1) == pytest.approx(0.025)
    assert sum(spent(0.05, cycle) for cycle in range(1, 10_001)) == pytest.approx(0.05, abs=1e-5)


def test_the_deviates_are_those_of_the_tables() -> None:
    assert [deviate(alpha) for alpha in (0.1, 0.05, 0.01)] == pytest.approx([1.644854, 1.959964, 2.575829], abs=1e-6)


def test_the_power_is_what_simulation_gives() -> None:
    """With 1 % of items broken, 2 points show in .61 of cases with 600 items and .87 with 1,000; 3 points in .91."""
    for n, gain, measured in ((600, 0.02, 0.61), (1000, 0.02, 0.87), (600, 0.03, 0.91)):
        assert power(gain, gain + 0.02, n, 0.05) == pytest.approx(measured, abs=0.03)
    dice = np.random.default_rng(0)
    counts = dice.multinomial(200, (0.15, 0.05, 0.8), size=1000)
    shown = [fell > rose and binomtest(fell, fell + rose).pvalue <= 0.05 for fell, rose, _ in counts.tolist()]
    assert power(0.1, 0.2, 200, 0.05) == pytest.approx(np.mean(shown), abs=0.04)
    assert power(0.05, 0, 100, 0.05) == 0


@pytest.mark.parametrize(("change", "discordance"), [(0.02, 0.04), (0.05, 0.2), (0.1, 0.3), (-0.1, 0.3), (0.03, 0.05)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_as_many_items_as_are_needed_show_it_four_times_in_five(
    change: float, discordance: float, alpha: float
) -> None:
    n = needed(change, discordance, alpha)
    assert n is not None
    assert power(change, discordance, n, alpha) == pytest.approx(0.8, abs=0.06)


def test_no_change_is_never_shown_to_be_one() -> None:
    assert needed(0, 0.2, 0.05) is None


def test_the_bootstrap_agrees_with_newcombe_where_there_is_enough_to_resample() -> None:
    before, after = pairs(60, 20, 120)
    goals = [str(number // 2) for number in range(200)]
    assert bootstrap(before, after, goals) == pytest.approx(difference(before, after, goals), abs=0.015)
    wide, narrow = bootstrap(before, after, goals, alpha=0.01), bootstrap(before, after, goals)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert bootstrap(before, after, goals, seed=5) == bootstrap(before, after, goals, seed=5)


def test_the_power_to_exclude_a_harm_is_that_of_the_interval() -> None:
    """An over-refusal of .04 measured on 250 paired items with 4 % of them different, and nothing changed in truth."""
    dice = np.random.default_rng(1)
    drawn = dice.multinomial(250, (0.02, 0.02, 0.02, 0.94), size=800)
    changes = [difference(*pairs_of(row)) for row in drawn.tolist()]
    width = float(np.mean([change.high - change.value for change in changes]))
    excluded = [change.high < 0.03 for change in changes]
    assert excluding(0.03, width, 0.04, 250) == pytest.approx(np.mean(excluded), abs=0.05)
    assert excluding(0.03, 0.02, 0, 250) == 1


def pairs_of(counts: list[int]) -> tuple[list[bool], list[bool]]:
    fell, rose, both, neither = counts
    before, after = pairs(fell, rose, both)
    return before + [False] * neither, after + [False] * neither


def test_what_would_settle_it_puts_the_bound_on_this_side_of_the_limit() -> None:
    before, after = pairs(12, 10, 78)
    change = difference(after, before)
    n = settling(change.value, change.high, 0.05, 100)
    assert n is not None
    again = difference(after * (n // 100 + 1), before * (n // 100 + 1))
    assert change.high > 0.05 > again.high
    assert settling(0.06, 0.1, 0.05, 100) is None
    assert settling(0.06, 0.02, 0.05, 100) == pytest.approx(1600, abs=1)
