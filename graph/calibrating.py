"""How far judges can be believed: measured on answers that people have labelled, before a run and within it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, get_args

from agents import fitted
from agents.judge import JudgeModel, identity, judge_of
from evals import injections
from evals.benchmarks import against
from evals.calibration import drifted, named, scorecard
from evals.injections import Flips, Payload
from evals.report import judges
from evals.scorecard import Scorecard, caution
from graph import measuring
from graph.config import Recipe, RecipeError
from graph.labelling import DRAWN, agreed, as_labels, drawn
from graph.preflight import fits, reachable, readable
from graph.recipes import judge_named
from graph.serving import model_of
from graph.sources import labelled
from graph.team import Sitting, Team, Tell, Watch, team
from tools.labels import Label, Task, read
from tools.memory import Memory, marks
from tools.policy import Policy
from tools.policy import load as load_policy
from tools.records import Attempt, Seen, Verdict
from tools.statistics import Interval, powered

T = TypeVar("T")
TRIED = 400
"""How many injections of each family a judge is tried with."""
ANCHORS = "anchors"
"""The folder of a run that holds what its judges said of the labelled answers."""
FEW = 10
"""Labels, of one benchmark's answers or of each class, from which on they say something of it."""


def anchors(recipe: Recipe) -> dict[Task, list[Label]]:
    """The labelled answers that a run's judges are measured on, by what the labels say."""
    return {task: labelled(source, task) for task, source in recipe.evals.anchors.items()}


def looked(labels: Sequence[Label], judge: str, sitting: Sitting, store: Path, number: int, watch: Tell) -> list[Seen]:
    """What a judge sees in labelled answers, in their order, when it looks for the `number`th time, from 0.

    What lies in the store already is not asked again.
    """
    memory = Memory(store)
    try:
        asked = [label.conversation(number, row) for row, label in enumerate(labels)]
        memory.add(record for goal, attempt in asked for record in (goal, attempt))
        measuring.verdicts(memory, "cycle = ?", [number], {judge: sitting}, watch)
        found = {verdict.attempt: verdict for verdict in memory.get(Verdict, "judge = ?", judge)}
        return [found[attempt.id] for _, attempt in asked]
    finally:
        memory.close()


def look(crew: Team, node: str, cycle: int) -> None:
    """Has every judge of a run look at the anchors again, and keeps its scorecard and what is shown to have moved."""
    done = {(event["by"], event["cycle"], event["judge"], event["task"]) for event in crew.memory.events("scorecard")}
    for task, labels in anchors(crew.recipe).items():
        for role, spec in crew.recipe.judges.items():
            judge = identity(spec, crew.policy)
            if (node, cycle, judge, task) not in done:
                done.add((node, cycle, judge, task))
                keep(crew, task, labels, judge, crew.judge(spec, role), node, cycle)


def keep(
    crew: Team, task: Task, labels: Sequence[Label], judge: str, sitting: Sitting, node: str, cycle: int
) -> tuple[Scorecard, list[Seen]]:
    """Measures a judge by labelled answers; the run keeps its scorecard, with what moved since it first looked."""
    events = crew.memory.events("scorecard")
    earlier = sum((event["judge"], event["labels"]) == (judge, named(labels)) for event in events)
    store, watch = crew.run / ANCHORS / f"{task}-{named(labels)}.sqlite", partial(crew.watch, node)
    try:
        seen = looked(labels, judge, sitting, store, earlier, watch)
        first = looked(labels, judge, sitting, store, 0, watch)
    finally:
        crew.put_down(node, cycle)
    card = scorecard(labels, seen, task, judge)
    crew.memory.event(cycle, node, "scorecard", by=node, task=task, judge=judge, labels=card.labels,
                      card=card.model_dump(mode="json"), moved=drifted(labels, first, seen, task))  # fmt: skip
    return card, seen


def calibrated(
    file: Path, judge: str, task: Task, crew: Team | None, inject: str | None, watch: Watch
) -> tuple[Scorecard, list[Flips]]:
    """The scorecard of the judge that `judge` names by a file of labels or a run's, kept in the run if there is one.

    With `inject`, a file of injections or empty for our own, also how often they turn its verdicts. Raises RecipeError.
    """
    labels, payloads = given(lambda: labels_of(file, task)), tuple[Payload, ...]()
    if inject is not None:
        payloads = given(lambda: injections.from_file(Path(inject))) if inject else injections.payloads()
    spec, policy, name = chosen(judge, crew, labels)
    if spec.kind == "fitted" and (own := fitted.load(Path(spec.name)).task) != task:
        raise RecipeError(f"--judge {judge} was fitted to say whether an answer is {own}; give --task {own}")
    sitting = crew.judge(spec, "judge") if crew else (judge_of(spec, policy, model_of), spec.concurrency)
    with TemporaryDirectory() as folder:
        if crew:
            card, seen = keep(crew, task, labels, name, sitting, "calibrate", last_cycle(crew))
        else:
            seen = looked(labels, name, sitting, Path(folder, "labels"), 0, partial(watch, "calibrate"))
            card = scorecard(labels, seen, task, name)
        tried = list(injections.injected(labels, payloads, TRIED))
        said = [one.label for one in tried]
        after = looked(said, name, sitting, Path(folder, "tried"), 0, partial(watch, "inject")) if tried else []
    return card, injections.flips(seen, tried, after, task) if tried else []


def labels_of(source: Path, task: Task) -> list[Label]:
    """The labels of a file, or those that people have given to the conversations of a run. Raises ValueError."""
    if not (source / "memory.sqlite").is_file():
        return read(source)
    crew = team(str(source))
    said = agreed(crew, task)
    found = [label for _, label in as_labels(crew, said)]
    if not found:
        raise ValueError(f"{source} has no labels yet; `breakfix label {source}` gives it some")
    return found


def rejudged(crew: Team, spec: JudgeModel, name: str) -> str:
    """Has another judge look at all that was said, and tells how it agrees with those that did before."""
    no_plain = "goal in (select id from goals where intent <> 'plain')"
    measuring.judge(crew, no_plain, [], {name: crew.judge(spec, "judge")}, "rejudge", last_cycle(crew))
    return judges.compared(crew.memory, name)


def chosen(judge: str, crew: Team | None, labels: Sequence[Label]) -> tuple[JudgeModel, Policy, str]:
    """The judge that a command names, the policy it judges by, and its identity. Raises RecipeError."""
    spec, policy = judge_named(judge, crew.recipe if crew else None), crew.policy if crew else load_policy(None)

    def ready() -> str:
        for place, model in spec.asked("--judge"):
            reachable(place, model)
            if model.provider in ("hf", "vllm"):
                readable(f"{place} = {model.model!r}", Path(model.name), False)
            fits(place, model, [label.goal for label in labels])
        return identity(spec, policy)

    return spec, policy, given(ready)


def given(ask: Callable[[], T]) -> T:
    """What a user's files and settings give; what is wrong with them is their mistake, in one line."""
    try:
        return ask()
    except (ValueError, OSError) as error:
        raise RecipeError(str(error).splitlines()[0]) from error


def last_cycle(crew: Team) -> int:
    return max((event["cycle"] for event in crew.memory.events("vulnerabilities")), default=0)


def known(crew: Team, judge: str, task: Task) -> tuple[Scorecard | None, str]:
    """The scorecard of a judge and what it is by: people's labels of this run if they suffice, else its last one."""
    labels, seen = drawn(crew, judge, task)
    card = scorecard(labels, seen, task, judge) if labels else None
    counts = card.confusion if card else None
    if card and counts and min(counts.tp + counts.fn, counts.tn + counts.fp) >= FEW and not caution(card):
        return card, "people's labels of this run"
    cards = [
        event["card"] for event in crew.memory.events("scorecard") if (event["judge"], event["task"]) == (judge, task)
    ]
    if cards:
        return Scorecard.model_validate(cards[-1]), "labelled answers"
    return card, "people's labels of this run"


def powered_rates(crew: Team) -> dict[tuple[str, str], Interval]:
    """By benchmark and adapter, the rate by people's labels of some of its answers and the judge's verdicts on all."""
    found: dict[tuple[str, str], Interval] = {}
    banks = measuring.banks(crew)
    for task in get_args(Task):
        said = agreed(crew, task, DRAWN)
        targets = {
            one.target for one in crew.memory.get(Attempt, f"purpose = 'measure' and id in ({marks(said)})", *said)
        }
        for adapter in sorted(targets):
            outcomes = measuring.card(crew, adapter)
            for name, bank in banks.items():
                if name.startswith("capability") or (name == "over_refusal") != (task == "refusal"):
                    continue
                verdicts = {against(item, adapter).id: outcomes[name][item.goal, item.id] for item in bank}
                labelled = [(verdicts[one], said[one]) for one in said if one in verdicts]
                rate = powered(list(verdicts.values()), labelled) if len(labelled) >= FEW else None
                if rate:
                    found[name, adapter] = rate
    return found
