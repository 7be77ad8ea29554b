"""Is it more than chance? Exact tests, several of them at once and over cycles, and how much it takes to tell."""

from collections import Counter
from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist

from tools.statistics import checked

NORMAL = NormalDist()


def deviate(alpha: float) -> float:
    """The normal deviate of a two-sided interval that may err in a share `alpha` of cases."""
    return NORMAL.inv_cdf(1 - alpha / 2)


def spent(alpha: float, cycle: int) -> float:
    """What a claim may err in a cycle (from 1), so that all claims together err in at most `alpha`, however many."""
    return alpha / (cycle * (cycle + 1))


def mcnemar(before: Sequence[bool], after: Sequence[bool], goals: Sequence[str] = ()) -> float:
    """The two-sided p of no change between paired answers, exact (McNemar 1947); raises ValueError without items.

    Where goals repeat, a goal's answers keep together: under no change, the before and after of a goal may as well be
    the other way round, so that each goal's net change has either sign with even chances. With a goal for each item
    this is McNemar's test.
    """
    import numpy as np
    from scipy.stats import binom

    groups = checked(before, after, goals)
    changes = [0] * (max(groups) + 1)
    for was, now, group in zip(before, after, groups, strict=True):
        changes[group] += int(now) - int(was)
    chances = np.ones(1)
    for size, count in Counter(abs(change) for change in changes if change).items():
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, steps)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[sums >= abs(sum(changes))].sum()))


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as Holm adjusts it (Scand. J. Statist. 6, 1979): those up to alpha hold together with error alpha."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, most = [1.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = most
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Each p as Benjamini and Hochberg adjust it (1995): of those up to q, a share q is false. For choosing targets."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(ps)] if ps else []


def power(change: float, discordance: float, n: int, alpha: float) -> float:
    """The chance that `mcnemar` shows a change of this share, where a share `discordance` of n pairs differ. Exact."""
    import numpy as np
    from scipy.stats import binom

    differ = np.arange(n + 1)
    weights = binom.pmf(differ, n, discordance)
    worse = binom.ppf(alpha / 2, differ, 0.5)
    worse -= binom.cdf(worse, differ, 0.5) > alpha / 2
    against = (discordance - abs(change)) / (2 * discordance) if discordance else 0.5
    return float(weights @ binom.cdf(worse, differ, against))


def needed(change: float, discordance: float, alpha: float, chance: float = 0.8) -> int | None:
    """How many pairs it takes to show a change with this chance (Miettinen, Biometrics 24, 1968); None for no change.

    A share `discordance` of them differ.
    """
    if not change:
        return None
    spread = sqrt(max(discordance, abs(change)))
    rest = sqrt(max(discordance - change**2, 0.0))
    return ceil(((deviate(alpha) * spread + NORMAL.inv_cdf(chance) * rest) / change) ** 2)


def excluding(limit: float, width: float, discordance: float, n: float) -> float:
    """The chance that n pairs, of which a share differs and none in truth, show that no change is as large as `limit`.

    `width` is what their interval adds to the change. This is the power of a test of non-inferiority.
    """
    return NORMAL.cdf((limit - width) / sqrt(discordance / n)) if discordance else float(width < limit)


def settling(value: float, bound: float, limit: float, n: float) -> int | None:
    """How many items it takes until a bound is on this side of a limit, were the value to stay; None where it is not.

    `bound` is that of n items; its distance from the value shrinks with the root of their number.
    """
    room, width = (limit - value, bound - value) if bound >= value else (value - limit, value - bound)
    return ceil(n * (width / room) ** 2) if room > 0 else None
