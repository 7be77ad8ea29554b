"""Shares with 95 % intervals: never without width, paired where they can be, repeats of a goal counted as such."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple

Z = 1.959964
"""The normal deviate of a two-sided 95 % interval; `tools.significance.deviate` has that of other levels."""
DRAWS = 4000
FEW = 5
"""With fewer goals than this on one side of a comparison, resampling them says nothing about the tail."""
INFORMATIVE = 0.6
"""A judge whose sensitivity + specificity - 1 is below this says too little: people have to label."""


class Interval(NamedTuple):
    """A value with the ends of its interval, of 95 % unless said."""

    value: float
    low: float
    high: float


def wilson(k: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of k out of n (Wilson 1927); [0, 1] when n is 0."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share: give 0 <= k <= n")
    if n == 0:
        return 0.0, 1.0
    p, scale = k / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / scale
    half = z / scale * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if k == 0 else middle - half), (1.0 if k == n else middle + half)


def share(k: float, n: float) -> Interval | None:
    """k out of n with Wilson's interval; None of nothing."""
    return Interval(k / n, *wilson(k, n)) if n else None


def clustered(flags: Sequence[bool], goals: Sequence[str]) -> Interval | None:
    """The share of the flags that are set, counted for as many as there would be without repeats of a goal."""
    if not flags:
        return None
    effect = design_effect(flags, numbered(goals))
    return share(sum(flags) / effect, len(flags) / effect)


def repeated(values: Sequence[float]) -> Interval | None:
    """The mean of values that were each had anew, with Student's t interval; None of fewer than two."""
    if len(values) < 2:
        return None
    from scipy.stats import sem, t

    value = sum(values) / len(values)
    half = float(t.ppf(0.975, len(values) - 1) * sem(values))
    return Interval(value, value - half, value + half)


def wider(value: float, intervals: Sequence[Interval | None]) -> Interval:
    """A value with, at either end, the widest of some intervals."""
    known = [one for one in intervals if one]
    return Interval(value, min([value, *(one.low for one in known)]), max([value, *(one.high for one in known)]))


class Confusion(NamedTuple):
    """What a judge said of answers that people have labelled: true and false positives and negatives."""

    tp: int
    fn: int
    tn: int
    fp: int

    @property
    def sensitivity(self) -> Interval | None:
        return share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Interval | None:
        return share(self.tn, self.tn + self.fp)


def informative(sensitivity: Interval | None, specificity: Interval | None) -> bool:
    """Whether a judge says enough for its rates to be corrected rather than guessed at."""
    if sensitivity is None or specificity is None:
        return False
    return sensitivity.value + specificity.value - 1 >= INFORMATIVE


def corrected(k: float, n: float, confusion: Confusion) -> Interval | None:
    """The true rate where a judge said yes k times in n; None where it is no better than chance, or unmeasured."""
    return rogan_gladen(k, n, confusion.sensitivity, confusion.specificity)


def rogan_gladen(k: float, n: float, sensitivity: Interval | None, specificity: Interval | None) -> Interval | None:
    """The rate (p + Sp - 1) / (Se + Sp - 1) for p = k / n (Rogan and Gladen 1978), within [0, 1], with its interval.

    A rate is in the interval while p less what the rate would show, (1 - rate) (1 - Sp) + rate Se, has 0 between the
    limits that Wilson's of p and those of Se and Sp come to (MOVER-R, see `reduction`). With Se and Sp certain these
    are Wilson's limits, corrected. docs/measurements.md has its coverage beside that of Lang and Reiczigel's interval
    (Prev. Vet. Med. 113, 2014). However few the positives, the upper limit is at least that of 0 in n by a judge
    without false alarms: p below 1 - Sp says that Sp is not what it was, and not that there is nothing.
    """
    if not n or not sensitivity or not specificity or sensitivity.value + specificity.value <= 1:
        return None
    rate = (k / n + specificity.value - 1) / (sensitivity.value + specificity.value - 1)
    low = lowest(k, n, sensitivity, specificity)
    high = 1 - lowest(n - k, n, specificity, sensitivity)
    value = min(max(rate, 0.0), 1.0)
    return Interval(value, min(low, value), max(high, value))


def lowest(k: float, n: float, sensitivity: Interval, specificity: Interval) -> float:
    """The lower limit of a corrected rate; of the other class's rate it is one less the upper."""
    p, down = k / n, k / n - wilson(k, n)[0]
    (se, _, se_high), (sp, sp_low, _) = sensitivity, specificity

    def surplus(rate: float) -> float:
        """By how much p is more than the rate would show, at the least."""
        noise = sqrt(down**2 + ((1 - rate) * (sp - sp_low)) ** 2 + (rate * (se_high - se)) ** 2)
        return p - (1 - rate) * (1 - sp) - rate * se - noise

    if surplus(0) <= 0:
        return 0.0
    left, right = 0.0, max(0.0, 1 - wilson(0, n)[1] / sp)
    if surplus(right) > 0:
        return right
    for _ in range(50):
        middle = (left + right) / 2
        left, right = (middle, right) if surplus(middle) > 0 else (left, middle)
    return left


def powered(verdicts: Sequence[bool | None], labelled: Sequence[tuple[bool | None, bool]]) -> Interval | None:
    """The rate as people see it, from all verdicts of a run and a few (verdict, label) of it; None without labels.

    Where a verdict is yes or no, prediction-powered inference with the lambda of most power (PPI++, arXiv 2311.01453)
    comes to people's share of yes within each verdict, weighted by how often that was given. So it is computed here,
    with Wilson's limits within each verdict (MOVER): PPI's normal interval fails with few labels. Undetermined is a
    verdict of its own; of one that nobody labelled, anything may be true. Labels have to be drawn at random within each
    verdict, not in proportion. Raises ValueError for a labelled verdict that was never given.
    """
    if not labelled:
        return None
    if strange := {said for said, _ in labelled} - set(verdicts):
        raise ValueError(f"labels for the verdicts {strange}, which the run never gave: give labels of the same run")
    overall = sum(label for _, label in labelled) / len(labelled)
    parts = []
    for said in sorted(set(verdicts), key=str):
        labels = [label for verdict, label in labelled if verdict == said]
        k, n = sum(labels), len(labels)
        parts.append((verdicts.count(said) / len(verdicts), Interval(k / n if n else overall, *wilson(k, n))))
    rate = sum(weight * part.value for weight, part in parts)
    mix = sum(weight * (part.value - rate) ** 2 for weight, part in parts) * Z * Z / len(verdicts)
    down = sqrt(mix + sum((weight * (part.value - part.low)) ** 2 for weight, part in parts))
    up = sqrt(mix + sum((weight * (part.high - part.value)) ** 2 for weight, part in parts))
    return Interval(rate, max(rate - down, 0.0), min(rate + up, 1.0))


def difference(before: Sequence[bool], after: Sequence[bool], goals: Sequence[str] = (), z: float = Z) -> Interval:
    """The change (after - before) in a share, item against item; raises ValueError without items.

    Newcombe's tenth interval (Statistics in Medicine 17, 1998): the Wilson limits of both shares, squared and added
    with their correlation. `goals` names each item's goal: where changes within a goal resemble each other, the items
    count for as many as there would be without (Kish's design effect).
    """
    groups = checked(before, after, goals)
    shrink = 1 / design_effect([int(a) - int(b) for b, a in zip(before, after, strict=True)], groups)
    n = len(before) * shrink
    both = sum(b and a for b, a in zip(before, after, strict=True)) * shrink
    was, now = sum(before) * shrink, sum(after) * shrink
    low0, high0 = wilson(was, n, z)
    low1, high1 = wilson(now, n, z)
    p0, p1 = was / n, now / n
    spread = sqrt(was * (n - was) * now * (n - now))
    cross = both * (n - was - now + both) - (was - both) * (now - both)
    phi = (max(cross - n / 2, 0) if cross > 0 else cross) / spread if spread else 0.0
    down = root((p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high0 - p0) + (high0 - p0) ** 2)
    up = root((high1 - p1) ** 2 - 2 * phi * (high1 - p1) * (p0 - low0) + (p0 - low0) ** 2)
    return Interval(p1 - p0, p1 - p0 - down, p1 - p0 + up)


def unpaired(before_k: float, before_n: float, after_k: float, after_n: float) -> Interval:
    """The change in a share between two samples that have nothing to do with each other (Newcombe's hybrid score)."""
    p0, p1 = before_k / before_n, after_k / after_n
    low0, high0 = wilson(before_k, before_n)
    low1, high1 = wilson(after_k, after_n)
    down, up = root((p1 - low1) ** 2 + (high0 - p0) ** 2), root((high1 - p1) ** 2 + (p0 - low0) ** 2)
    return Interval(p1 - p0, p1 - p0 - down, p1 - p0 + up)


Counts = Mapping[str, tuple[float, float]]
"""By stratum, how many of how many."""


def stratified(before: Counts, after: Counts) -> Interval | None:
    """The change (after - before) in a share between two samples, over the strata that both have; None without any.

    Strata are weighted by n0 n1 / (n0 + n1) (Cochran; Mantel and Haenszel), and each side counts for as many as its
    weighted mean is worth (Kish). What differs between strata counts as chance too: a little wide, never narrow.
    """
    both = sorted(name for name in before.keys() & after.keys() if before[name][1] and after[name][1])
    weights = {name: 1 / (1 / before[name][1] + 1 / after[name][1]) for name in both}
    if not both:
        return None
    total = sum(weights.values())

    def worth(side: Counts) -> tuple[float, float]:
        n = total**2 / sum(weights[name] ** 2 / side[name][1] for name in both)
        return n * sum(weights[name] * side[name][0] / side[name][1] for name in both) / total, n

    (k0, n0), (k1, n1) = worth(before), worth(after)
    return unpaired(min(k0, n0), n0, min(k1, n1), n1)


def reduction(before_k: float, before_n: float, after_k: float, after_n: float) -> Interval | None:
    """The relative reduction 1 - p1 / p0 between two unpaired shares; None when nothing was there to be reduced.

    The Wilson limits of both shares, combined as a ratio (MOVER-R, Donner and Zou, Stat. Methods Med. Res. 21, 2012).
    """
    if not before_k or not after_n:
        return None
    p0, p1 = before_k / before_n, after_k / after_n
    low0, high0 = wilson(before_k, before_n)
    low1, high1 = wilson(after_k, after_n)
    least = p0 * p1 + root((p0 * p1) ** 2 - low1 * high0 * (2 * p1 - low1) * (2 * p0 - high0))
    most = p0 * p1 + root((p0 * p1) ** 2 - high1 * low0 * (2 * p1 - high1) * (2 * p0 - low0))
    low = low1 * (2 * p1 - low1) / least if least else 0.0
    return Interval(1 - p1 / p0, 1 - most / (low0 * (2 * p0 - low0)), 1 - low)


def paired_reduction(
    before: Sequence[bool], after: Sequence[bool], goals: Sequence[str] = (), seed: int = 0
) -> Interval | None:
    """The relative reduction of a share, item against item; None when nothing was there to be reduced.

    A percentile bootstrap over goals (over items, where `goals` is empty). Where fewer than `FEW` goals were broken
    before, are broken after, or differ, its lower end is widened to that of `reduction` with the goals as n, and the
    upper end is the latter's: 0 of n after the fix is never taken for certainty, nor a few of n for none. Raises
    ValueError without items.
    """
    import numpy as np

    groups = checked(before, after, goals)
    if not any(before):
        return None
    was, now = np.zeros(max(groups) + 1), np.zeros(max(groups) + 1)
    np.add.at(was, groups, np.asarray(before, dtype=float))
    np.add.at(now, groups, np.asarray(after, dtype=float))
    drawn = np.random.default_rng(seed).multinomial(len(was), np.full(len(was), 1 / len(was)), size=DRAWS)
    base, left = drawn @ was, drawn @ now
    kept = 1 - left[base > 0] / base[base > 0]
    low, high = (float(end) for end in np.quantile(kept, (0.025, 0.975)))
    value = float(1 - now.sum() / was.sum())
    if min(np.count_nonzero(was), np.count_nonzero(now), np.count_nonzero(was != now)) < FEW:
        shrink, n = len(was) / len(before), len(was)
        guard = reduction(sum(before) * shrink, n, sum(after) * shrink, n) or Interval(value, low, high)
        low, high = min(low, guard.low), guard.high
    return Interval(value, low, high)


def checked(before: Sequence[bool], after: Sequence[bool], goals: Sequence[str]) -> list[int]:
    """The number of each item's goal. Raises ValueError when the items are none, or not paired."""
    goals = goals or [str(number) for number in range(len(before))]
    if not len(before) == len(after) == len(goals):
        raise ValueError(f"not paired: {len(before)} items before, {len(after)} after, {len(goals)} goals")
    if not before:
        raise ValueError("no items to compare: give at least one")
    return numbered(goals)


def numbered(goals: Sequence[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(goal, len(numbers)) for goal in goals]


def design_effect(values: Sequence[float], groups: Sequence[int]) -> float:
    """How many times the variance of the mean grows because items come in groups; at least 1 (Kish 1965)."""
    n, count = len(values), max(groups) + 1
    if count == n:
        return 1.0
    mean = sum(values) / n
    sums = [0.0] * count
    for value, group in zip(values, groups, strict=True):
        sums[group] += value - mean
    alone = sum((value - mean) ** 2 for value in values)
    if not alone or count == 1:
        return n / count
    return max(1.0, sum(part * part for part in sums) / alone)


def root(square: float) -> float:
    """The square root of what rounding may have left just below 0."""
    return sqrt(max(square, 0.0))
