"""How far raters agree: kappa, Krippendorff's alpha, F1, each with a 95 % interval that is never without width."""

from collections import Counter
from collections.abc import Sequence

from tools.statistics import DRAWS, FEW, Interval, Z, root, share, wilson


def f1(tp: float, fp: float, fn: float, effect: float = 1.0) -> Interval | None:
    """F1 = 2 tp / (2 tp + fp + fn); None when nothing is positive, neither by the labels nor by the judge.

    It grows with the share tp / (tp + fp + fn), whose Wilson limits are carried over (arXiv 2309.14621, "Wilson
    indirect"). `effect` is the design effect of items that repeat a goal.
    """
    hits = share(tp / effect, (tp + fp + fn) / effect)
    if not hits:
        return None
    value, low, high = (2 * end / (1 + end) for end in hits)
    return Interval(value, low, high)


def kappa(one: Sequence[object], other: Sequence[object], effect: float = 1.0) -> Interval | None:
    """Cohen's kappa of two raters; None without items, or when both always say the same one thing.

    The standard error is that of Fleiss, Cohen and Everitt (Psychol. Bull. 72, 1969). Where they agree or differ fewer
    than `FEW` times it is widened to what Wilson's limits of the agreement come to with the chance agreement as it is.
    `effect` is as in `f1`.
    """
    pairs = Counter(zip(one, other, strict=True))
    n = len(one)
    if not n or len({said for pair in pairs for said in pair}) == 1:
        return None
    rows, columns = Counter(one), Counter(other)
    agreed = sum(count for (a, b), count in pairs.items() if a == b)
    seen, chance = agreed / n, sum(rows[said] * columns[said] for said in rows) / n**2
    value = (seen - chance) / (1 - chance)
    spread = -((seen * chance - 2 * chance + seen) ** 2)
    for (a, b), count in pairs.items():
        margins = (columns[a] + rows[b]) / n * (1 - seen)
        spread += count / n * (margins - (1 - chance) * (a == b)) ** 2
    half = Z * root(spread * effect / n) / (1 - chance) ** 2
    low, high = value - half, value + half
    if min(agreed, n - agreed) < FEW:
        ends = [(end - chance) / (1 - chance) for end in wilson(agreed / effect, n / effect)]
        low, high = min(low, ends[0]), max(high, ends[1])
    return Interval(value, max(low, -1.0), min(high, 1.0))


def alpha(units: Sequence[Sequence[int | None]], seed: int = 0) -> Interval | None:
    """Krippendorff's alpha of ordered ratings; a unit has one of each rater, or None where that one gave none.

    "Computing Krippendorff's Alpha-Reliability" (2011), ordinal metric; a percentile bootstrap over the units. Where
    fewer than `FEW` units are disagreed about, the lower end is at most what Wilson's limit of their share would bring,
    were they as far apart as chance has them. None when no unit has two ratings, or all ratings are the same.
    """
    import numpy as np

    rated = [[rating for rating in unit if rating is not None] for unit in units]
    rated = [unit for unit in rated if len(unit) > 1]
    values = sorted({rating for unit in rated for rating in unit})
    if len(values) < 2:
        return None
    alike = Counter(tuple(unit.count(value) for value in values) for unit in rated)
    counts, times = np.array([*alike], dtype=float), np.array([*alike.values()])
    paired = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    pairs = paired / (counts.sum(axis=1) - 1)[:, None, None]

    def of(weights: "np.ndarray") -> "np.ndarray":
        """Alpha where units come as often as a row says; not a number where all ratings are the same."""
        together = np.tensordot(weights, pairs, axes=1)
        n = together.sum(axis=2)
        upto = n.cumsum(axis=1) - n / 2
        apart = (upto[:, :, None] - upto[:, None, :]) ** 2
        seen = (together * apart).sum(axis=(1, 2))
        chance = (n[:, :, None] * n[:, None, :] * apart).sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            found: np.ndarray = 1 - (n.sum(axis=1) - 1) * seen / chance
        return found

    value = float(of(times[None])[0])
    drawn = np.random.default_rng(seed).multinomial(len(rated), times / len(rated), size=DRAWS)
    low, high = (float(end) for end in np.nanquantile(of(drawn), (0.025, 0.975)))
    differ = sum(len(set(unit)) > 1 for unit in rated)
    if differ < FEW:
        low = min(low, 1 - wilson(differ, len(rated))[1])
    return Interval(value, min(low, value), max(high, value))
