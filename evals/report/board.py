"""Every score of a run, and what its models are called, in the order in which they are shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from evals.benchmarks import Change
from evals.report.shapes import Rate
from tools.memory import Memory
from tools.records import BASE, Adapter, Score

BENCHMARKS = {
    "harm": "Harm, held-out ways",
    "harm_seen_ways": "Harm, ways trained on",
    "harm_adaptive": "Harm, adversaries that adapt",
    "iprr": "Harmful requests refused (IPRR)",
    "over_refusal": "Over-refusal (VPRR)",
    "capability": "Capability",
    "regressions": "Attacks that ever worked",
    "final": "Harm, final goals",
}
"""The benchmarks that are decided by. Harm is asked for with held-out goals, over-refusal with their harmless twins."""
ANSWER = {"harm": -1, "harm_adaptive": -1, "final": -1, "iprr": 1, "over_refusal": -1, "capability": 1}
"""The measures of the answer, and whether more of each is better."""


@dataclass(frozen=True)
class Board:
    scores: Mapping[tuple[str, str, str], Rate]
    """By benchmark, model and part. The attacks that ever worked are those of the latest suite, and of no other."""
    names: Mapping[str, str]
    cycles: Mapping[str, int]
    champion: str
    suites: Mapping[int, Mapping[str, Rate]]
    """What the attacks that had worked up to a cycle came to, by cycle and model: the items of each are others."""

    def rate(self, benchmark: str, model: str, part: str = "") -> Rate | None:
        return self.scores.get((benchmark, model, part))

    def measured(self, benchmark: str) -> list[str]:
        """The models that were measured on a benchmark or a part of it."""
        return [model for model in self.names if any(key[:2] == (benchmark, model) for key in self.scores)]

    def short(self, model: str) -> str:
        """What a model is called beside the base and the champion."""
        return "champion" if model == self.champion != BASE else self.names[model]

    @property
    def compared(self) -> list[str]:
        """Models that are neither the base nor made from it: those of the recipe's `compare`."""
        return [name for name in self.names if name != BASE and name not in self.cycles and not lasting(name)]


def board(memory: Memory, champion: str) -> Board:
    every = memory.get(Score)
    scores = {(one.benchmark, one.adapter, one.part): shown(one) for one in every if one.benchmark != "regressions"}
    suites = grown(every)
    scores |= {("regressions", model, ""): score for model, score in suites.get(max(suites, default=0), {}).items()}
    adapters = memory.get(Adapter)
    known = dict.fromkeys([BASE, *(one.id for one in adapters), champion, *(model for _, model, _ in scores)])
    made = {one.id: one for one in adapters}
    names = {name: titled(made, name) for name in known}
    return Board(scores, names, {name: one.cycle for name, one in made.items()}, champion, suites)


def grown(scores: Iterable[Score]) -> dict[int, dict[str, Rate]]:
    """The scores on the attacks that ever worked, by the cycle up to which they did."""
    found: dict[int, dict[str, Rate]] = {}
    for one in scores:
        if one.benchmark == "regressions" and one.part.isdigit():
            found.setdefault(int(one.part), {})[one.adapter] = shown(one)
    return dict(sorted(found.items()))


def shown(score: Score) -> Rate:
    graded = score.benchmark.endswith("/grade") or score.high > 1
    return Rate(
        value=score.value, low=score.low, high=score.high, n=score.n, coverage=score.coverage,
        unit="number" if graded else "share",
    )  # fmt: skip


def lasting(model: str) -> bool:
    """Whether it is a champion that something was done to before it was measured again."""
    return "+" in model and model.rpartition("+")[2] in get_args(Change)


def titled(known: Mapping[str, Adapter], adapter: str) -> str:
    """An adapter by its cycle and stage, and what was done to it since (`ID+merged`); another model by its name."""
    one, _, how = adapter.partition("+")
    found = known.get(one)
    if not found:
        return adapter
    step = f" at step {found.within}" if found.within else ""
    return f"cycle {found.cycle} {found.stage.upper()}{step} `{one[:6]}`" + (f", {how}" if how else "")
