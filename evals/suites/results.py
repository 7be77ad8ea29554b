"""What came of benchmarks, as a table and as data."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from evals.report.markdown import rate, table
from evals.suites.suite import Suite
from tools.records import Score

HEAD = ["benchmark", "measure", "value [95 %]", "n", "coverage", "seconds", "note"]

ENOUGH = 0.9
"""With a smaller share of the items determined, what the others may hide is said."""


class Measured(NamedTuple):
    """A benchmark with the scores of a model on it."""

    suite: Suite
    drawn: int
    """How many of its items were asked."""
    scores: list[Score]
    seconds: float
    notes: list[str]


def notes(suite: Suite, scores: Sequence[Score], unasked: bool) -> list[str]:
    """Why something was not measured."""
    said = [suite.benchmark.needs, "needs an attacker's model to hold its conversations" if unasked else ""]
    empty = {measure_of(score) for score in scores if not score.part and not score.n}
    said += [f"{name} needs {measure.needs}" for name, measure in suite.benchmark.measures.items()
             if name in empty and measure.needs and not unasked]  # fmt: skip
    said += [f"{name}: {why}" for name in left_out(suite, scores) if (why := undrawn(suite, name))]
    said += [thin(score, suite) for score in scores if score.n and not score.part and score.coverage < ENOUGH]
    return [text for text in said if text]


def thin(score: Score, suite: Suite) -> str:
    """What a share of few determined items may be in truth: where none of the others counts, and where all do."""
    name, asked = measure_of(score), round(score.n / score.coverage)
    if suite.benchmark.measures[name].scale != 1:
        return f"{name}: {asked - score.n} of {asked} undetermined"
    counted = score.value * score.n
    most = (counted + asked - score.n) / asked
    return f"{name}: {asked - score.n} of {asked} undetermined, so anything from {counted / asked:.0%} to {most:.0%}"


def left_out(suite: Suite, scores: Sequence[Score]) -> list[str]:
    """The measures of which nothing was asked."""
    measured = {measure_of(score) for score in scores}
    return [name for name in suite.benchmark.measures if name not in measured]


def undrawn(suite: Suite, name: str) -> str:
    asked = [item for item in suite.items if item.goal.intent in suite.benchmark.measures[name].intents]
    return f"none of its {len(asked)} items was drawn" if asked else "no item for it in what was given"


def shown(found: Sequence[Measured]) -> str:
    """The table, a row for each measure; of one benchmark alone, its parts below."""
    rows = [row for one in found for row in rows_of(one)]
    parts = [[measure_of(score), score.part, figure(score, found[0].suite), score.n, f"{score.coverage:.0%}"]
             for score in (found[0].scores if len(found) == 1 else []) if score.part]  # fmt: skip
    below = f"\n\n{table(['measure', 'part', *HEAD[2:5]], parts)}" if parts else ""
    return table(HEAD, rows) + below


def rows_of(one: Measured) -> list[list[object]]:
    whole = [score for score in one.scores if not score.part]
    time, said = f"{one.seconds:.1f}", "; ".join(one.notes)
    if not whole:
        return [[one.suite.name, "", "not measured", 0, "", time, said]]
    nothing = [[one.suite.name, name, "none drawn", 0, "", "", ""] for name in left_out(one.suite, one.scores)]
    return [
        [one.suite.name, measure_of(score), figure(score, one.suite), score.n,
         f"{score.coverage:.0%}", time if score is whole[0] else "", said if score is whole[0] else ""]
        for score in whole
    ] + nothing  # fmt: skip


def figure(score: Score, suite: Suite) -> str:
    """A share in percent, or a grade as it is given; undetermined where nothing is known."""
    if not score.n:
        return "undetermined"
    if suite.benchmark.measures[measure_of(score)].scale != 1:
        return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
    return rate(score.value, score.low, score.high, score.n)


def as_data(found: Sequence[Measured]) -> list[dict[str, Any]]:
    return [
        {"name": one.suite.name, "at": one.suite.benchmark.at, "items": len(one.suite.items), "drawn": one.drawn,
         "seconds": round(one.seconds, 3), "notes": one.notes,
         "scores": [
             {"measure": measure_of(score), **score.model_dump(exclude={"benchmark", "adapter"})}
             | ({} if score.n else dict.fromkeys(("value", "low", "high")))
             for score in one.scores
         ]}
        for one in found
    ]  # fmt: skip


def measure_of(score: Score) -> str:
    return score.benchmark.rpartition("/")[2]
