"""How often the gate and the stop decide wrongly: whole runs are simulated, and the real ones decide.

python -m tests.benchmarks.decisions [RUNS]

Runs are simulated at the default sizes of `evals.benchmarks.Evals` and `agents.attacker.Attack`: held-out goals are
asked for in up to three benchmarks, and the answers to one goal resemble each other. A candidate's answers come from
the champion's: some of those that broke are mended, and some of the others break. Prints Markdown for
docs/measurements.md. What has been simulated is kept in runs/decisions/, and not simulated again.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from agents.attacker import Attack
from evals import gate, stopping
from evals.benchmarks import Evals, Item
from evals.gate import Card, Choice, Gate, choose, harms
from evals.report.markdown import rate, table
from evals.stopping import Attacked, Stop, fading, stop, together
from tools import significance, statistics
from tools.records import digest
from tools.significance import deviate
from tools.statistics import Interval, Z, wilson

T = TypeVar("T")
SIZES, ATTACKS, GATE, RULE = Evals(), Attack().attempts, Gate(), Stop(target=0.001, cycles=1000)
KEPT = Path("runs/decisions") / digest(
    SIZES.model_dump(), ATTACKS, Path(__file__).read_text("utf-8"),
    *(Path(one.__file__).read_text("utf-8") for one in (gate, stopping, significance, statistics)),
)  # fmt: skip
"""What other rules or sizes came to is not what these do."""
ALIKE = 0.5
"""The chance that an answer goes the way of its goal, and not its own."""
CYCLES = Stop().cycles
PATIENCE = 15
"""After as many cycles a run that does not stop is given up."""
BANKS = {"harm": SIZES.harm, "harm_seen_ways": SIZES.harm_seen_ways, "harm_adaptive": SIZES.harm_adaptive,
         "over_refusal": SIZES.over_refusal, "capability": SIZES.capability}  # fmt: skip
MANY = 1000
"""Items for each guard-rail, where somebody has asked for more of them."""
ITEMS: dict[str, list[Item]] = {
    name: [(f"goal {k}", f"{name} {k}") for k in range(max(n, MANY))] for name, n in BANKS.items()
}
RULES: dict[str, Callable[[Sequence[Interval]], float]] = {
    "a bound for each cycle": lambda gains: max(gain.high for gain in gains),
    "both together at 95 %": lambda gains: together(gains).value + (together(gains).high - together(gains).value) * Z
    / deviate(0.01),
}  # fmt: skip
"""Other rules for the held-out bank: what has to be below delta."""
NAMES = ("as built", *RULES)
NOTHING: Mapping[str, float] = MappingProxyType({})
Flags = np.ndarray


class World:
    """A champion with a true rate of harm, and its answers to the items."""

    def __init__(self, harm: float, seed: int, sizes: Mapping[str, int] = BANKS) -> None:
        self.dice = np.random.default_rng(seed)
        self.harm = harm
        self.now = {name: self.dice.random(n) < self.rate(name) for name, n in sizes.items()}
        self.base = card(self.now)

    def rate(self, name: str) -> float:
        return {"over_refusal": 0.04, "capability": 0.9}.get(name, self.harm)

    def trained(self, gain: float, flips: float, lost: Mapping[str, float] = NOTHING) -> dict[str, Flags]:
        """A candidate whose true harm is lower by `gain`; besides, about a share `flips` of the answers flips.

        Over-refusal and capability fall by what is `lost`, or stay as they are, but for 2 % that flip.
        """
        goals, found = self.dice.random(SIZES.harm), {}
        for name, before in self.now.items():
            harm, rate, own = name.startswith("harm"), self.rate(name), self.dice.random(len(before))
            fall = gain if harm else lost.get(name, 0.0)
            better, worse = max(fall, 0.0), max(-fall, 0.0)
            chance = np.where(self.dice.random(len(before)) < ALIKE * harm, np.resize(goals, len(before)), own)
            even = min(flips / 2 if harm else 0.01, rate - better, 1 - rate - worse)
            found[name] = np.where(before, chance >= (even + better) / rate, chance < (even + worse) / (1 - rate))
        return found

    def attacked(self) -> tuple[int, int]:
        return int(self.dice.binomial(ATTACKS, self.harm)), ATTACKS

    def cycle(self, gains: Sequence[float], flips: float, number: int, lost: Mapping[str, float] = NOTHING) -> Choice:
        """Trains a candidate for each gain, has the gate choose, and makes the choice champion."""
        made = {str(k): self.trained(gain, flips, lost) for k, gain in enumerate(gains)}
        cards = {"base": self.base, "champion": card(self.now)} | {name: card(flags) for name, flags in made.items()}
        choice = choose(cards, "base", "champion", list(made), GATE, number)
        if choice.champion in made:
            self.now, self.harm = made[choice.champion], self.harm - gains[int(choice.champion)]
        return choice


def card(found: dict[str, Flags]) -> Card:
    return {name: dict(zip(ITEMS[name], flags.tolist(), strict=False)) for name, flags in found.items()}


def promoted(harm: float, gains: Sequence[float], flips: float, cycles: Sequence[int], seed: int) -> bool:
    """Whether any of such candidates is promoted in these cycles."""
    world = World(harm, seed)
    return any(world.cycle(gains, flips, number).champion != "champion" for number in cycles)


def slipped(lost: Mapping[str, float], items: int, seed: int) -> bool:
    """Whether the gate promotes a candidate 10 points safer that has lost quality, by so many items a guard-rail."""
    world = World(0.5, seed, {**BANKS, "over_refusal": items, "capability": items})
    return world.cycle((0.1,), 0.1, 1, lost).champion != "champion"


def unclear(gain: float, shares: tuple[float, float], hiding: bool, seed: int) -> bool:
    """Whether a candidate is promoted, where shares of the champion's and of its own harm items are undetermined.

    By chance, or `hiding`: as many of the candidate's as there are, but those alone that broke it.
    """
    world = World(0.5, seed)
    made = world.trained(gain, 0.1)
    cards = {"base": world.base, "champion": card(world.now), "made": card(made)}
    for name, lost in zip(("champion", "made"), shares, strict=True):
        for bank in harms(cards[name]):
            items = [item for item, broke in cards[name][bank].items() if broke or not hiding]
            count = min(int(lost * BANKS[bank]), len(items))
            for at in world.dice.choice(len(items), count, replace=False):
                cards[name][bank][items[at]] = None
    return choose(cards, "base", "champion", ["made"], GATE).champion == "made"


def ended(harm: float, gains: Sequence[float], flips: float, cycles: int, seed: int) -> dict[str, int]:
    """After how many cycles of such candidates a run is ended for want of gain, by rule; without the rules that do not.

    The run goes on, so that all rules are seen on the same one. `as built` is what `stop` says.
    """
    world, found, at = World(harm, seed), list[Interval | None](), dict[str, int]()
    fresh, changed = [world.attacked()], list[bool]()
    for number in range(1, cycles + 1):
        choice = world.cycle(gains, flips, number)
        found.append(choice.gain)
        changed.append(choice.champion != "champion")
        fresh.append(world.attacked())
        if number == 1:
            continue
        fell = fading({"": fresh[-3]}, {"": fresh[-1]}, not any(changed[-2:]))
        held_out = Attacked(int(world.now["harm"].sum()), SIZES.harm, SIZES.harm)
        if stop(Attacked(*fresh[-1], ATTACKS), held_out, found, number, RULE, fell=fell).startswith("no gain"):
            at.setdefault("as built", number)
        last = [gain for gain in found[-2:] if gain]
        for name, bound in RULES.items():
            if len(last) == 2 and fell and max(bound(last), fell.high) < RULE.delta:
                at.setdefault(name, number)
        if len(at) > len(RULES):
            break
    return at


def kept(name: str, made: Callable[[], T]) -> T:
    """What was simulated under this name before, or else is now."""
    file = KEPT / f"{name}.json"
    if not file.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made()))
        print(name, file=sys.stderr)
    found: T = json.loads(file.read_text())
    return found


def chance(asked: Callable[[int], bool], runs: int) -> list[float]:
    """How often it is so, over seeds, with Wilson's interval."""
    k = sum(asked(seed) for seed in range(runs))
    return [k / runs, *wilson(k, runs)]


def promotions(runs: int) -> None:
    """False promotions over whole runs, and those of a candidate that is 10 points safer, by cycle."""
    rows: list[list[object]] = []
    for worse, harm, flips in product((0.0, 0.02), (0.1, 0.3, 0.6), (0.05, 0.2)):
        asked = partial(promoted, harm, (-worse, -worse), flips, range(1, CYCLES + 1))
        found = kept(f"false promotions {worse} {harm} {flips} {runs}", partial(chance, asked, runs))
        rows.append([f"{worse * 100:.0f} points", harm, flips, rate(*found, runs)])
    print(table(["both candidates worse by", "harm", "flips", f"any promoted in {CYCLES} cycles"], rows), "\n")
    rows, numbers = [], (1, 2, 4, 6)
    for harm, flips in product((0.2, 0.5, 0.9), (0.05, 0.1, 0.2)):
        row: list[object] = [harm, flips]
        for number in numbers:
            asked = partial(promoted, harm, (0.1, 0.0), flips, (number,))
            found = kept(f"promotions {harm} {flips} {number} {runs}", partial(chance, asked, runs))
            row.append(rate(*found, runs))
        rows.append(row)
    print(table(["harm", "flips", *(f"promoted in cycle {number}" for number in numbers)], rows), "\n")


def losses(runs: int) -> None:
    """How often a candidate that is 10 points safer is promoted, by what it lost, and by the items of a guard-rail."""
    rows: list[list[object]] = []
    for name, worse in (
        ("over_refusal", (0.0, 0.03, 0.04, 0.05, 0.08)),
        ("capability", (0.02, 0.03, 0.04, 0.05, 0.08)),
    ):
        for points in worse:
            lost, row = {name: points if name == "capability" else -points}, list[object]()
            for items in (SIZES.over_refusal, MANY):
                found = kept(
                    f"losses {name} {points} {items} {runs}", partial(chance, partial(slipped, lost, items), runs)
                )
                row.append(rate(*found, runs))
            rows.append([name.replace("_", "-"), f"{points * 100:.0f} points", *row])
    print(table(["guard-rail", "worse by", *(f"promoted, {n} items" for n in (SIZES.over_refusal, MANY))], rows), "\n")


def silences(runs: int) -> None:
    """How often candidates are promoted where part of the harm items is undetermined."""
    rows: list[list[object]] = []
    for shares, hiding in (((0.0, 0.0), False), ((0.03, 0.03), False), ((0.09, 0.09), False), ((0.0, 0.09), False),
                           ((0.0, 0.09), True)):  # fmt: skip
        row: list[object] = [*(f"{lost:.0%}" for lost in shares), "those that broke" if hiding else "by chance"]
        for gain in (0.1, 0.0, -0.02):
            found = kept(f"silences {shares} {hiding} {gain} {runs}",
                         partial(chance, partial(unclear, gain, shares, hiding), runs))  # fmt: skip
            row.append(rate(*found, runs))
        rows.append(row)
    head = [
        "undetermined of the champion",
        "of the candidate",
        "which",
        "promoted, 10 points safer",
        "equal",
        "2 worse",
    ]
    print(table(head, rows), "\n")


def falsely(harm: float, flips: float, runs: int) -> list[float]:
    """How often a run that gains 5 points in every cycle is ended for want of gain, by rule."""
    found = [ended(harm, (0.05, 0.05), flips, CYCLES, seed) for seed in range(runs)]
    return [sum(name in at for at in found) / runs for name in NAMES]


def lately(harm: float, flips: float, runs: int) -> list[float]:
    """The median of the cycles that a run without any gain goes on for, by rule; and how many went on to the end."""
    found = [ended(harm, (0.0, 0.0), flips, PATIENCE, seed) for seed in range(runs)]
    medians = [float(np.median([at.get(name, PATIENCE + 1) for at in found])) for name in NAMES]
    return [*medians, sum("as built" not in at for at in found)]


def stops(runs: int) -> None:
    """False stops, and late ones, by rule."""
    rows: list[list[object]] = []
    for harm, flips in product((0.35, 0.6, 0.9), (0.05, 0.1, 0.2, 0.3)):
        shares = kept(f"false stops {harm} {flips} {runs}", partial(falsely, harm, flips, runs))
        rows.append([harm, flips, *(rate(share, *wilson(round(share * runs), runs), runs) for share in shares)])
    print(table(["harm", "flips", *(f"stopped, {name}" for name in NAMES)], rows), "\n")
    rows = []
    for harm, flips in product((0.15, 0.3, 0.6), (0.05, 0.1, 0.2, 0.3)):
        *medians, never = kept(f"late stops {harm} {flips} {runs}", partial(lately, harm, flips, runs))
        shown = [f"{most:g}" if most <= PATIENCE else f"over {PATIENCE}" for most in medians]
        rows.append([harm, flips, *shown, f"{never:.0f} of {runs}"])
    head = ["harm", "flips", *(f"median, {name}" for name in NAMES), f"not stopped in {PATIENCE} cycles, as built"]
    print(table(head, rows))


def main(runs: int) -> None:
    promotions(runs)
    losses(runs)
    silences(runs)
    stops(runs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
