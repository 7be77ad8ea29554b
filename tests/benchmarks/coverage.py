"""How often intervals hold the truth, 95 % ones unless said: exact where every outcome can be counted, else simulated.

python -m tests.benchmarks.coverage

Prints Markdown for docs/measurements.md. What has been found is kept in runs/decisions/, and not looked for again.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
from scipy.stats import binom

from evals.report.markdown import table
from tests.benchmarks.decisions import ALIKE, GATE, Flags, kept
from tools.significance import deviate
from tools.statistics import (
    DRAWS,
    Interval,
    Z,
    checked,
    clustered,
    difference,
    paired_reduction,
    reduction,
    stratified,
    unpaired,
    wilson,
)

SETS, RESAMPLED = 1000, 20
"""Simulated sets of answers, and those of them that a bootstrap is made of."""
LATE = GATE.alpha / (6 * 7)
"""What the claims of the sixth cycle may err in."""
BY_BOOTSTRAP = ("its bootstrap", "paired reduction")
Spread = tuple[float, float, float]
"""The least, the mean and the most of some coverages."""


def spread(held: Sequence[float] | Flags) -> Spread:
    return float(np.min(held)), float(np.mean(held)), float(np.max(held))


def truths(n: int) -> Flags:
    """True shares from 5 % to 95 %, as far as both answers are expected five times or more."""
    shares = np.linspace(0.05, 0.95, 91)
    return np.asarray(shares[np.minimum(shares, 1 - shares) * n >= 5])


def alone(n: int, z: float) -> Spread:
    """Wilson's interval of a share, over all true shares."""
    k, asked = np.arange(n + 1), truths(n)
    low, high = np.array([wilson(int(one), n, z) for one in k]).T
    held = (low <= asked[:, None]) & (asked[:, None] <= high)
    return spread((binom.pmf(k, n, asked[:, None]) * held).sum(axis=1))


def two(n: int, relative: bool) -> Spread:
    """The unpaired difference, or relative reduction, of two samples of n, over pairs of true shares."""
    k, asked = np.arange(n + 1), truths(n)[::6]
    found = [reduction(a, n, b, n) if relative else unpaired(a, n, b, n) for a in k.tolist() for b in k.tolist()]
    ends = np.array([one[1:] if one else (np.nan, np.nan) for one in found]).reshape(n + 1, n + 1, 2)
    chances, held = binom.pmf(k, n, asked[:, None]), []
    for before, after in product(range(len(asked)), repeat=2):
        truth = 1 - asked[after] / asked[before] if relative else asked[after] - asked[before]
        inside = (ends[..., 0] - 1e-12 <= truth) & (truth <= ends[..., 1] + 1e-12)
        held.append(chances[before] @ inside @ chances[after])
    return spread(held)


def answers(
    goals: int, each: int, harm: float, gain: float, flips: float, dice: np.random.Generator
) -> tuple[list[bool], list[bool]]:
    """Answers before and after, `each` of a goal; with a chance of `ALIKE` they go the way of their goal both times."""
    alike = dice.random((goals, each)) < ALIKE * (each > 1)
    first, then = (np.where(alike, dice.random((goals, 1)), dice.random((goals, each))) for _ in range(2))
    before, even = first < harm, min(flips / 2, harm - gain, 1 - harm)
    after = np.where(before, then >= (even + gain) / harm, then < even / (1 - harm))
    return before.ravel().tolist(), after.ravel().tolist()


def bootstrap(
    before: Sequence[bool], after: Sequence[bool], goals: Sequence[str] = (), alpha: float = 0.05, seed: int = 0
) -> Interval:
    """The change (after - before) in a share, by a percentile bootstrap over goals.

    A check on `tools.statistics.difference`, which has a width where nothing changed and this has none.
    """
    groups = checked(before, after, goals)
    sizes, changes = np.bincount(groups), np.zeros(max(groups) + 1)
    np.add.at(changes, groups, np.asarray(after, dtype=float) - np.asarray(before, dtype=float))
    drawn = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=DRAWS)
    means = (drawn @ changes) / (drawn @ sizes)
    low, high = np.quantile(means, (alpha / 2, 1 - alpha / 2))
    return Interval(float(changes.sum() / sizes.sum()), float(low), float(high))


def on_goals(goals: int, each: int) -> dict[str, Spread]:
    """Intervals of paired items, over rates of harm, gains and flips."""
    names = [f"goal {goal}" for goal in range(goals) for _ in range(each)]
    held: dict[str, list[float]] = {}
    for harm, gain, flips in product((0.1, 0.3, 0.6, 0.9), (0.0, 0.05), (0.05, 0.2)):
        dice, inside = np.random.default_rng(0), dict[str, list[bool]]()
        for number in range(SETS):
            before, after = answers(goals, each, harm, gain, flips, dice)
            found = {
                "share, by goal": (clustered(before, names), harm),
                "paired difference": (difference(before, after, names), -gain),
            }
            if number < RESAMPLED:
                found["its bootstrap"] = bootstrap(before, after, names, seed=number), -gain
                found["paired reduction"] = paired_reduction(before, after, names, number), gain / harm
            for name, (interval, truth) in found.items():
                inside.setdefault(name, []).append(bool(interval and interval.low <= truth <= interval.high))
        for name, flags in inside.items():
            held.setdefault(name, []).append(float(np.mean(flags)))
    return {name: spread(shares) for name, shares in held.items()}


def few_left() -> Spread:
    """The paired reduction to so little that two, four or eight of 300 items are expected to be left."""
    dice, held = np.random.default_rng(0), []
    for left in (2 / 300, 4 / 300, 8 / 300):
        inside = []
        for number in range(10 * RESAMPLED):
            before, kept_on = dice.random(300) < 0.5, dice.random(300) < 2 * left
            found = paired_reduction(before.tolist(), (before & kept_on).tolist(), seed=number)
            inside.append(bool(found and found.low <= 1 - 2 * left <= found.high))
        held.append(float(np.mean(inside)))
    return spread(held)


def over_levels() -> Spread:
    """The difference over levels, with the same share of the attacks in each as before, and with other ones."""
    dice, held = np.random.default_rng(0), []
    rates = (0.2, 0.4, 0.7)
    for fall, (then, now) in product((0.0, 0.05, 0.2), (((100,) * 3, (100,) * 3), ((200, 80, 20), (60, 90, 150)))):
        inside = []
        for _ in range(SETS):
            before, after = (
                {str(n): (int(dice.binomial(size, rates[n] - less)), size) for n, size in enumerate(sizes)}
                for sizes, less in ((then, 0.0), (now, fall))
            )
            change = stratified(before, after)
            inside.append(bool(change and change.low <= -fall <= change.high))
        held.append(float(np.mean(inside)))
    return spread(held)


def main() -> None:
    lines: list[tuple[str, str, str, Sequence[float]]] = []
    for n in (50, 100, 250, 300, 570, 1000):
        lines.append(("share, Wilson", str(n), "exact", kept(f"wilson {n}", partial(alone, n, Z))))
    late = kept("wilson 570 in cycle 6", partial(alone, 570, deviate(LATE)))
    lines.append((f"the same at {1 - LATE:.2%}, as in cycle 6", "570", "exact", late))
    for what, n in product(("difference", "reduction"), (50, 150, 300)):
        found = kept(f"{what} {n}", partial(two, n, what == "reduction"))
        lines.append((f"unpaired {what}", f"{n} and {n}", "exact", found))
    lines.append(("difference over levels", "300 and 300", f"{SETS} sets of each", kept("over levels", over_levels)))
    lines.append(("paired reduction, few left", "300", f"{10 * RESAMPLED} sets of each", kept("few left", few_left)))
    for goals, each in ((300, 1), (190, 3), (60, 5)):
        of_each = f"{goals} goals" + (f", {each} answers each" if each > 1 else "")
        for what, held in kept(f"on goals {goals} {each}", partial(on_goals, goals, each)).items():
            lines.append((what, of_each, f"{RESAMPLED if what in BY_BOOTSTRAP else SETS} sets of each", held))
    rows = [[what, n, how, *(f"{share:.1%}" for share in held)] for what, n, how, held in lines]
    for row in rows:
        if row[0] in BY_BOOTSTRAP:  # too few sets of each to tell the ends
            row[3] = row[5] = ""
    print(table(["interval", "n", "", "least", "mean", "most"], rows))


if __name__ == "__main__":
    main()
