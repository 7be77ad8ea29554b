"""Runs that were had anew with other seeds: their means, and by how much they differ from others on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evals.benchmarks import Outcomes
from evals.gate import Card, Pairs, pairs
from evals.report.board import ANSWER
from evals.report.comparison import SHARED
from evals.report.shapes import Rate
from tools.significance import mcnemar
from tools.statistics import Interval, clustered, difference, repeated, wider


@dataclass(frozen=True)
class Ran:
    """A finished run of an arm."""

    arm: str
    seed: int
    judge: str
    champion: str
    """What it is called; empty where no candidate replaced the base."""
    base: Card
    card: Card
    """What became of every item with the champion on."""
    languages: Mapping[str, str]
    """Of every item."""
    areas: Mapping[str, str]
    """Of every goal."""
    fresh: tuple[int, int]
    """How many of the last cycle's attacks, which nobody was trained on since, broke the model, and of how many."""
    cells: int
    """Of harm area, way and language, in which an attack broke the model of its day."""
    cycles: int
    rows: int
    """Written for training, in all cycles."""
    calls: int
    tokens: int
    money: float
    seconds: float


def level(runs: Sequence[Ran], name: str, base: bool = False) -> Rate | None:
    """The mean share of a benchmark over runs; None where it was not measured."""
    cards = {f"{one.seed}" if base else f"{n}": (one.base if base else one.card) for n, one in enumerate(runs)}
    return mean_of([known(card.get(name, {}), seed) for seed, card in cards.items()])


def attacked(runs: Sequence[Ran]) -> Rate | None:
    """How many of the latest attacks broke the model that they were made on, over runs."""
    return mean_of([[(f"{n} {k}", k < one.fresh[0]) for k in range(one.fresh[1])] for n, one in enumerate(runs)])


Known = list[tuple[str, bool]]
"""Goals and what happened, of the items with an outcome; goals of different seeds are different."""


def known(found: Outcomes, seed: str) -> Known:
    return [(f"{seed} {goal}", happened) for (goal, _), happened in found.items() if happened is not None]


def mean_of(seeds: Sequence[Known]) -> Rate | None:
    seeds = [one for one in seeds if one]
    if not seeds:
        return None
    items = [one for some in seeds for one in some]
    shares = [fmean(happened for _, happened in some) for some in seeds]
    within = clustered([happened for _, happened in items], [goal for goal, _ in items])
    found = wider(fmean(shares), [within, repeated(shares)])
    return Rate(value=found.value, low=max(found.low, 0.0), high=min(found.high, 1.0), n=len(items))


Sides = Mapping[int, Sequence[tuple[Ran, Ran]]]
"""By seed, runs that are compared: the first is what the other is measured against."""


def both(before: Sequence[Ran], after: Sequence[Ran]) -> Sides:
    """The runs of two arms by seed, of the seeds that both have."""
    mine = {one.seed: one for one in after}
    return {one.seed: [(one, mine[one.seed])] for one in before if one.seed in mine}


@dataclass(frozen=True)
class Contrast:
    """By how much runs differ in a benchmark from those that they are compared with."""

    change: Interval
    n: int
    p: float
    seeds: tuple[float, ...]
    """The difference of each."""


def contrast(sides: Sides, name: str) -> Contrast | None:
    """None where too few items are the same, or another judge measured."""
    found: dict[int, list[Pairs]] = {}
    for seed, some in sides.items():
        alike = [paired for one, other in some if (paired := shared(one, other, name))]
        if alike:
            found[seed] = alike
    if not found:
        return None
    was, now, goals = list[bool](), list[bool](), list[str]()
    for seed, alike in found.items():
        for before, after, of_goals in alike:
            was, now, goals = was + before, now + after, goals + [f"{seed} {goal}" for goal in of_goals]
    each = [fmean(fmean(after) - fmean(before) for before, after, _ in alike) for alike in found.values()]
    change = wider(fmean(each), [difference(was, now, goals), repeated(each)])
    change = change._replace(low=max(change.low, -1.0), high=min(change.high, 1.0))
    return Contrast(change, len(was), mcnemar(was, now, goals), tuple(each))


def shared(one: Ran, other: Ran, name: str) -> Pairs | None:
    """The items that two champions were measured on alike; None where these are too few of either's."""
    ours, theirs = one.card.get(name, {}), other.card.get(name, {})
    found = pairs(one.card, other.card, [name])
    same = len(ours.keys() & theirs.keys()) >= SHARED * max(len(ours), len(theirs), 1)
    return found if found[0] and same and one.judge == other.judge else None


def signs(one: Contrast) -> str:
    """In how many seeds the difference goes the way that it goes on average."""
    way = sum((each > 0) == (one.change.value > 0) and bool(each) for each in one.seeds)
    return f"{way} of {len(one.seeds)}"


def meaning(name: str, one: Contrast) -> str:
    if one.change.low <= 0 <= one.change.high:
        return "not shown to differ"
    return "better" if (one.change.value > 0) == (ANSWER.get(name, -1) > 0) else "worse"


def amount(values: Sequence[float]) -> Rate:
    """A mean that is no share, with t over the runs where they differ."""
    found = repeated(values) if len(set(values)) > 1 else None
    low, high = (max(found.low, 0.0), found.high) if found else (None, None)
    return Rate(value=fmean(values), low=low, high=high, unit="number")
