import pytest

from tools.agreement import alpha, f1, kappa
from tools.statistics import wilson

KRIPPENDORFF = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Four raters of twelve units ("Computing Krippendorff's Alpha-Reliability", 2011, example C)."""


def raters(table: list[list[int]]) -> tuple[list[int], list[int]]:
    cells = [(row, column) for row, counts in enumerate(table) for column, n in enumerate(counts) for _ in range(n)]
    return [row for row, _ in cells], [column for _, column in cells]


def test_kappa_and_its_interval_are_the_published_ones() -> None:
    table = [[0, 4, 1], [0, 8, 0], [0, 1, 5]]  # SAS PROC FREQ, as in the tests of statsmodels
    assert kappa(*raters(table)) == pytest.approx((0.4842, 0.2137, 0.7547), abs=5e-5)
    found = kappa(*raters([[20, 5], [10, 15]]))
    assert found is not None
    assert found.value == pytest.approx(0.4)


def test_perfect_agreement_is_not_certain() -> None:
    found = kappa([0, 1] * 10, [0, 1] * 10)
    assert found is not None
    assert found.value == found.high == 1
    assert found.low == pytest.approx(2 * wilson(20, 20)[0] - 1)
    apart = kappa([0, 1] * 10, [1, 0] * 10)
    assert apart is not None
    assert apart.low == apart.value == -1 < apart.high


def test_repeats_widen_kappa() -> None:
    once, thrice = kappa([0, 1, 1, 0] * 9, [0, 1, 0, 0] * 9), kappa([0, 1, 1, 0] * 27, [0, 1, 0, 0] * 27, effect=3)
    assert once is not None
    assert thrice == pytest.approx(once)


def test_there_is_no_kappa_of_nothing_or_of_one_class() -> None:
    assert kappa([], []) is None
    assert kappa([1, 1], [1, 1]) is None


def test_alpha_of_ordered_ratings_is_the_published_one() -> None:
    rows = [[None if mark == "." else int(mark) for mark in line.split()] for line in KRIPPENDORFF.split("\n") if line]
    found = alpha(list(zip(*rows, strict=True)))
    assert found is not None
    assert found.value == pytest.approx(0.815, abs=5e-4)
    assert found.low < found.value < found.high
    one, other = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    binary = alpha(list(zip(one, other, strict=True)))  # example A: two raters, two values
    assert binary is not None
    assert binary.value == pytest.approx(0.095, abs=5e-4)


def test_alpha_needs_two_ratings_and_two_values() -> None:
    assert alpha([]) is None
    assert alpha([[1, None], [2]]) is None
    assert alpha([[3, 3], [3, 3]]) is None
    agreed = alpha([[0, 0], [7, 7]] * 10)
    assert agreed is not None
    assert agreed.low < agreed.value == agreed.high == 1


def test_f1_is_a_share_in_disguise() -> None:
    found = f1(40, 10, 10)
    assert found is not None
    low, high = wilson(40, 60)
    assert found == pytest.approx((0.8, 2 * low / (1 + low), 2 * high / (1 + high)))
    assert found == pytest.approx((0.8, 0.7016, 0.8717), abs=5e-4)


def test_f1_is_never_certain() -> None:
    none, all_ = f1(0, 3, 4), f1(50, 0, 0)
    assert none is not None
    assert all_ is not None
    assert none.low == none.value == 0 < none.high
    assert all_.low < all_.value == all_.high == 1
    assert f1(0, 0, 0) is None
