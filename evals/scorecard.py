"""A scorecard: what is known of a judge from answers that people have labelled, and how it is shown."""

from pydantic import BaseModel

from evals.report.markdown import rate, table
from tools.labels import Task
from tools.statistics import INFORMATIVE, Interval, informative

EXCERPT = 200
"""Characters of a harmful text that are shown."""
WIDTH = 40
"""Characters that a share of 1 takes in the reliability plot."""
PART = ("n", "coverage", "accuracy", "sensitivity", "specificity")
QUESTIONS: dict[Task, str] = {"harmful": "is it harmful?", "refusal": "is it a refusal, partial or full?"}


class Metric(BaseModel, frozen=True, extra="forbid"):
    """A value with its 95 % interval; all three are None where there was nothing to measure it on."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> Interval | None:
        if self.value is None or self.low is None or self.high is None:
            return None
        return Interval(self.value, self.low, self.high)


class Counts(BaseModel, frozen=True, extra="forbid"):
    tp: int
    fn: int
    tn: int
    fp: int


class Part(BaseModel, frozen=True, extra="forbid"):
    """How a judge does on some of the rows. Undetermined ones count against coverage alone."""

    n: int
    coverage: Metric
    accuracy: Metric
    sensitivity: Metric
    specificity: Metric


class Bin(BaseModel, frozen=True, extra="forbid"):
    """The rows with a score from `low` up to `high`, and the share of them that people call harmful."""

    low: float
    high: float
    n: int
    score: float
    positive: Metric


class Miss(BaseModel, frozen=True, extra="forbid"):
    """A row on which the judge and the label differ."""

    index: int
    """The row's number among the labels, from 0."""
    goal: str
    response: str
    label: bool
    said: bool
    score: float | None
    reason: str


class Scorecard(Part, frozen=True, extra="forbid"):
    """What is known of a judge from answers that people have labelled."""

    task: Task
    judge: str
    labels: str
    """Names the set of labels, in whatever order."""
    f1: Metric
    kappa: Metric
    alpha: Metric | None
    """Krippendorff's of severity; None where the rows or the judge have none."""
    confusion: Counts
    by_language: dict[str, Part]
    by_area: dict[str, Part]
    by_model: dict[str, Part]
    reliability: tuple[Bin, ...]
    worst: tuple[Miss, ...]


def caution(card: Scorecard) -> str:
    """Why the judge's rates are not to be corrected by this scorecard; empty where they may be."""
    se, sp = card.sensitivity.interval, card.specificity.interval
    if se is None or sp is None:
        missing = "positive" if se is None else "negative"
        return f"The labels have no {missing} answer that the judge decided on: label some."
    if not informative(se, sp):
        return (
            f"Sensitivity and specificity exceed chance by {se.value + sp.value - 1:.2f}, below {INFORMATIVE}: "
            "the judge says too little for its rates to be corrected. Label answers of this run by hand."
        )
    return ""


def shown(card: Scorecard) -> str:
    """The scorecard as Markdown, for the terminal and the report."""
    counts = card.confusion
    decided = counts.tp + counts.fn + counts.tn + counts.fp
    what = f"{card.n} labelled answers (`{card.labels}`), {decided} of them decided"
    intro = f"Judge `{card.judge}` on {what}: {QUESTIONS[card.task]}"
    rows = [
        [name, share_of(getattr(card, name))] for name in ("coverage", "accuracy", "f1", "sensitivity", "specificity")
    ]
    rows += [["kappa", number(card.kappa)], *([["alpha, severity", number(card.alpha)]] if card.alpha else [])]
    said = [["labelled yes", counts.tp, counts.fn], ["labelled no", counts.fp, counts.tn]]
    parts = [
        intro,
        table(["", "value [95 %]"], rows),
        table(["", "judge says yes", "judge says no"], said),
        caution(card),
    ]
    for name, some in {"language": card.by_language, "area": card.by_area, "model": card.by_model}.items():
        if len(some) > 1:
            parts.append(table([name, *PART], [[key, *cells(one)] for key, one in some.items()]))
    if card.reliability:
        parts.append("Share labelled harmful (`o`, its interval `-`) at each score of the judge (`|`):")
        parts.append("\n".join(["```", *(bar(one) for one in card.reliability), "```"]))
    if card.worst:
        head = ["row", "goal", "answer", "label", "judge", "score", "reason"]
        parts.append("The worst disagreements:\n\n" + table(head, [missed(miss) for miss in card.worst]))
    return "\n\n".join(text for text in parts if text)


def missed(miss: Miss) -> list[object]:
    said = ["yes" if yes else "no" for yes in (miss.label, miss.said)]
    score = "" if miss.score is None else f"{miss.score:.2f}"
    return [miss.index, excerpt(miss.goal), miss.response, *said, score, excerpt(miss.reason)]


def cells(one: Part) -> list[object]:
    return [one.n, *(share_of(getattr(one, name)) for name in PART[1:])]


def share_of(one: Metric) -> str:
    found = one.interval
    return rate(*found, 1) if found else "not measured"


def number(one: Metric) -> str:
    found = one.interval
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]" if found else "not measured"


def bar(one: Bin) -> str:
    """A line of the plot. What is well calibrated has `o` near `|`."""
    found = one.positive.interval
    line = [" "] * (WIDTH + 1)
    if found:
        low, high = (round(end * WIDTH) for end in (found.low, found.high))
        line[low : high + 1] = "-" * (high + 1 - low)
        line[round(one.score * WIDTH)] = "|"
        line[round(found.value * WIDTH)] = "o"
    return f"{one.low:.1f}-{one.high:.1f} [{''.join(line)}] {share_of(one.positive)} of {one.n}"


def excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "…"
