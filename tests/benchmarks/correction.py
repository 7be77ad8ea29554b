"""How often corrected rates hold the truth: sets of verdicts on sandbox conversations, by a judge with known errors.

python -m tests.benchmarks.correction [SETS]

Every set draws anew its conversations (with replacement, so that a given share is harmful by the oracle), what a judge
with sensitivity .85 and specificity .95 says of them, and the labelled answers that this judge is measured by. Prints
Markdown for docs/measurements.md.
"""

import sys

import numpy as np

from evals.report.markdown import table
from tools.sandbox.anchors import labelled
from tools.statistics import Confusion, Interval, Z, corrected, powered, wilson

SENSITIVITY, SPECIFICITY = 0.85, 0.95
RATES = (0.02, 0.1, 0.3, 0.6, 0.9)
CALIBRATIONS = (30, 100, 300)
"""Labelled answers of each class."""
SIZES = (300, 1000)
LABELS = (20, 50, 100, 300)
"""Labels of the run itself, of 1,000 verdicts."""
Flags = np.ndarray


class Town:
    """Sandbox conversations with the oracle's truth, and a judge of them who errs."""

    def __init__(self, seed: int) -> None:
        self.dice = np.random.default_rng(seed)
        self.truth = np.array([label.label for label in labelled("harmful")])

    def drawn(self, rate: float, n: int) -> Flags:
        """The truth about `n` conversations; each is harmful with a chance of `rate`."""
        chances = np.where(self.truth, rate / self.truth.sum(), (1 - rate) / (~self.truth).sum())
        return np.asarray(self.truth[self.dice.choice(len(self.truth), size=n, p=chances)])

    def said(self, truth: Flags) -> Flags:
        chance = np.where(truth, SENSITIVITY, 1 - SPECIFICITY)
        return np.asarray(self.dice.random(len(truth)) < chance)

    def measured(self, each: int) -> Confusion:
        """The judge on as many labelled answers of each class."""
        tp, fp = (int(self.said(self.drawn(share, each)).sum()) for share in (1.0, 0.0))
        return Confusion(tp, each - tp, each - fp, fp)


def holds(interval: Interval | tuple[float, float], rate: float) -> bool:
    low, high = interval[-2:]
    return low <= rate <= high


def coverage(rate: float, calibration: int, n: int, sets: int, seed: int = 0) -> tuple[float, ...]:
    """How often the true rate is held by the corrected interval, by Lang and Reiczigel's and by the raw one; how often
    the corrected one holds the oracle's rate of the very set; its mean width."""
    town, found = Town(seed), []
    for _ in range(sets):
        truth = town.drawn(rate, n)
        k, confusion = int(town.said(truth).sum()), town.measured(calibration)
        fixed = corrected(k, n, confusion)
        assert fixed
        intervals = fixed, lang_reiczigel(k, n, confusion), wilson(k, n)
        held = [holds(interval, rate) for interval in intervals]
        found.append((*held, holds(fixed, truth.mean()), fixed.high - fixed.low))
    return tuple(np.mean(found, axis=0).tolist())


def lang_reiczigel(k: int, n: int, confusion: Confusion) -> tuple[float, float]:
    """The interval of Lang and Reiczigel (Preventive Veterinary Medicine 113, 2014), in their words adjusted."""
    tp, fn, tn, fp = confusion
    cases, controls, sample = tp + fn + 2, tn + fp + 2, n + Z * Z
    se, sp, p = (tp + 1) / cases, (tn + 1) / controls, (k + Z * Z / 2) / sample
    rate = (p + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / cases, sp * (1 - sp) / controls
    spread = float(np.sqrt(p * (1 - p) / sample + rate**2 * of_se + (1 - rate) ** 2 * of_sp)) / (se + sp - 1)
    middle = rate + 2 * Z * Z * (rate * of_se - (1 - rate) * of_sp)
    return middle - Z * spread, middle + Z * spread


def power(rate: float, labels: int, sets: int, n: int = 1000, seed: int = 0) -> tuple[float, float, float, float]:
    """How often the prediction-powered interval and PPI++'s own hold the true rate; widths: ours, the labels' alone."""
    town, found = Town(seed), []
    for _ in range(sets):
        truth = town.drawn(rate, n)
        said = town.said(truth)
        pairs = list(zip(said[:labels].tolist(), truth[:labels].tolist(), strict=True))
        ours = powered(said.tolist(), pairs)
        assert ours
        alone = wilson(int(truth[:labels].sum()), labels)
        theirs = holds(plus_plus(truth[:labels], said[:labels], said[labels:]), rate)
        found.append((holds(ours, rate), theirs, ours.high - ours.low, alone[1] - alone[0]))
    held, normal, width, without = np.mean(found, axis=0)
    return float(held), float(normal), float(width), float(without)


def plus_plus(truth: Flags, said: Flags, rest: Flags) -> Interval:
    """The normal interval of PPI++ (arXiv 2311.01453, section 6) for a mean, with lambda tuned and within [0, 1]."""
    n, more = len(said), len(rest)
    y, f, g = truth.astype(float), said.astype(float), rest.astype(float)
    spread = f.var()
    weight = min(max(((y - y.mean()) * (f - f.mean())).mean() / spread / (1 + n / more), 0), 1) if spread else 0.0
    value = float(y.mean() + weight * (g.mean() - f.mean()))
    half = Z * float(np.sqrt((y - weight * f).var() / n + weight**2 * g.var() / more))
    return Interval(value, value - half, value + half)


def main(sets: int) -> None:
    rows = [
        [f"{each}+{each}", n, rate, *(f"{share:.1%}" for share in coverage(rate, each, n, sets))]
        for each in CALIBRATIONS
        for n in SIZES
        for rate in RATES
    ]
    holding = ["corrected holds it", "Lang-Reiczigel", "raw", "corrected holds the set's own"]
    head = ["calibration", "n", "true rate", *holding, "width"]
    print(table(head, rows), "\n")
    shares = [[labels, rate, *(f"{x:.1%}" for x in power(rate, labels, sets))] for labels in LABELS for rate in RATES]
    print(table(["labels", "true rate", "powered holds it", "PPI++ holds it", "width", "width, labels alone"], shares))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
