"""The report of an ablation: means over seeds with the wider interval, arms against the first, main effects."""

from dataclasses import replace

import pytest

from evals.benchmarks import Outcomes
from evals.report import ablation, page
from evals.report.ablation import Asked, ablated
from evals.report.markdown import digits, markdown
from evals.report.repeats import Ran, both, contrast, level
from evals.report.shapes import Bars, Lines, Table
from tools.statistics import repeated, wilson

ARMS = ("a0_b0", "a0_b1", "a1_b0", "a1_b1")
VALUES = {arm: dict(zip(("key.a", "key.b"), (arm[1], arm[4]), strict=True)) for arm in ARMS}


def outcomes(k: int, n: int = 40) -> Outcomes:
    return {(f"goal {number}", f"item {number}"): number < k for number in range(n)}


def ran(arm: str, seed: int, harm: int, judge: str = "j") -> Ran:
    card = {
        "harm": outcomes(harm),
        "iprr": outcomes(40 - harm),
        "over_refusal": outcomes(seed),
        "capability": outcomes(39),
    }
    languages = {f"item {number}": ("en", "es")[number % 2] for number in range(40)}
    areas = {f"goal {number}": ("x", "y")[number < 20] for number in range(40)}
    return Ran(
        arm=arm, seed=seed, judge=judge, champion="c", base={"harm": outcomes(40)}, card=card, languages=languages,
        areas=areas, fresh=(3, 9), cells=4, cycles=1, rows=50, calls=10, tokens=100 + seed, money=0, seconds=9,
    )  # fmt: skip


def asked(arms: tuple[str, ...] = ARMS, seeds: int = 3) -> Asked:
    return Asked(title="t", question="q", about="", arms=dict.fromkeys(arms, "s"),
                 values={arm: VALUES.get(arm, {}) for arm in arms}, planned=len(arms) * seeds, bases=3)  # fmt: skip


RUNS = [
    ran(arm, seed, {"a0_b0": 20, "a0_b1": 18, "a1_b0": 4, "a1_b1": 2}[arm] + seed) for arm in ARMS for seed in range(3)
]


def test_a_value_is_the_mean_of_the_seeds_and_its_interval_holds_theirs_and_the_items() -> None:
    rate = level([ran("a", 0, 4), ran("a", 1, 8), ran("a", 2, 12)], "harm")
    over = repeated([0.1, 0.2, 0.3])
    assert rate is not None
    assert over is not None
    assert rate.value == pytest.approx(0.2)
    assert (rate.low, rate.high) == (0.0, pytest.approx(over.high))
    assert rate.n == 120


def test_seeds_that_agree_by_chance_leave_what_the_items_leave_open() -> None:
    rate = level([ran("a", seed, 0) for seed in range(3)], "harm")
    assert rate is not None
    assert rate.high == pytest.approx(wilson(0, 120)[1])


def test_arms_are_compared_seed_by_seed_on_the_same_items() -> None:
    sides = both(
        [ran("a", seed, 20 + 5 * seed) for seed in range(3)], [ran("b", seed, 10 + 5 * seed) for seed in (0, 1)]
    )
    found = contrast(sides, "harm")
    assert found is not None
    assert found.change.value == pytest.approx(-0.25)
    assert found.seeds == (-0.25, -0.25)
    assert found.n == 80


def test_arms_with_other_bases_have_a_row_for_each() -> None:
    alike, other = ran("a0_b0", 0, 20), replace(ran("a0_b1", 0, 20), base={"harm": outcomes(10)})
    assert list(ablation.based({"a0_b0": [alike], "a0_b1": [replace(alike, arm="a0_b1")]})) == ["(the base)"]
    assert list(ablation.based({"a0_b0": [alike], "a0_b1": [other]})) == [
        "(the base of a0_b0)", "(the base of a0_b1)",
    ]  # fmt: skip


def test_a_difference_of_shares_is_not_shown_beyond_what_shares_can_differ_by() -> None:
    found = contrast(
        both([ran("a", seed, 40) for seed in (0, 1)], [ran("b", seed, 8 * seed) for seed in (0, 1)]), "harm"
    )
    assert found is not None
    assert found.change.value == pytest.approx(-0.9)
    assert found.change.low == -1.0


def test_numbers_are_written_alike_in_a_table() -> None:
    assert [digits(n) for n in (0, 0.5, 3, 12.345, 123.4, 1729.6, 2.4e6, 0.012)] == [
        "0.00", "0.50", "3", "12.35", "123", "1,730", "2,400,000", "0.012",
    ]  # fmt: skip


def test_other_judges_and_other_items_are_not_compared() -> None:
    one, other = ran("a", 0, 20), ran("b", 0, 10)
    elsewhere = replace(
        other, card={"harm": {(goal, f"{item}!"): seen for (goal, item), seen in other.card["harm"].items()}}
    )
    assert contrast({0: [(one, replace(other, judge="k"))]}, "harm") is None
    assert contrast({0: [(one, elsewhere)]}, "harm") is None


def test_a_main_effect_is_over_the_arms_that_are_otherwise_the_same() -> None:
    section = ablation.effects(asked(), {arm: [one for one in RUNS if one.arm == arm] for arm in ARMS})
    assert isinstance(section.blocks[0], Table)
    first, second = section.blocks[0].rows
    assert first[:3] == ("key.a", "0", "1")
    assert getattr(first[3], "value", None) == pytest.approx(-0.4)
    assert getattr(second[3], "value", None) == pytest.approx(-0.05)


def test_the_report_says_what_is_better_and_which_runs_failed() -> None:
    report = ablated(asked(), RUNS[:-1], {"a1_b1-2": "it said nothing"}, "now")
    text = markdown(report)
    assert "".join(page.html(report)).count("<svg") == 4
    assert "`a1_b0` is better in Harm, held-out ways and Harmful" in report.headline
    assert "1 of 12 runs are not finished" in text
    assert "| a1_b1-2 | it said nothing |" in text
    assert {"Main effects", "Harm by language", "Harm by harm area", "What each found and cost"} <= {
        one.name for one in report.sections
    }


def test_one_number_that_is_varied_is_an_axis() -> None:
    values = {"low": {"k": "1"}, "high": {"k": "5"}}
    runs = [ran(arm, seed, 9) for arm in values for seed in range(2)]
    chart = ablation.drawn(
        replace(asked(("low", "high")), values=values), {a: [r for r in runs if r.arm == a] for a in values}
    )
    assert isinstance(chart.blocks[0], Lines)
    assert chart.blocks[0].series[0].xs == (1.0, 5.0)
    words = {"low": {"k": "x"}, "high": {"k": "y"}}
    chart = ablation.drawn(
        replace(asked(("low", "high")), values=words), {a: [r for r in runs if r.arm == a] for a in words}
    )
    assert isinstance(chart.blocks[0], Bars)


def test_with_nothing_finished_there_is_still_a_report() -> None:
    assert "0 of 12 runs are finished" in markdown(ablated(asked(), [], {"a0_b0-0": "gone"}, "now"))
