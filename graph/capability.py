"""Capability by lm-evaluation-harness within a run: the same items for every adapter, each answer kept in the folder.

What was answered lies in `lm_eval/ADAPTER/TIER/TASK/PART.jsonl`, and a file that is there is whole: a part of a task
that was finished is not asked again.
"""

import json
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evals import harness
from evals.benchmarks import Outcomes
from evals.harness import PREFIX, Result, Row
from evals.suites.results import Measured
from evals.suites.suite import Benchmark, Measure, Suite
from graph.config import Recipe, RecipeError
from graph.team import Team, Tell
from tools.contamination import Item
from tools.records import Score

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

FOLDER, QUICK, FULL = "lm_eval", "quick", "full"


def measure(crew: Team, adapter: str, node: str, cycle: int, full: bool = False) -> None:
    """Asks an adapter, or a model that is compared, the tasks of the recipe, and scores it on each.

    The quick tier is for every candidate; the full one, whole tasks, for the base and the champion. A model that is
    compared and cannot be asked a task is noted; the target has to be one that can.
    """
    part = FULL if full else ""
    for name in crew.recipe.evals.lm_eval.tasks:
        if crew.memory.ids(Score, "benchmark = ? and adapter = ? and part = ?", PREFIX + name, adapter, part):
            continue
        try:
            ask(crew, adapter, name, node, cycle, full)
        except harness.Unaskable as error:
            if crew.role(adapter) == "target":
                raise
            crew.memory.event(cycle, node, "not_measured", model=adapter, benchmark=PREFIX + name, why=str(error))
        else:
            crew.memory.add([score(PREFIX + name, adapter, part, read(place(crew, adapter, name, full)))])


def measure_full(crew: Team, adapter: str, node: str, cycle: int) -> None:
    """The whole of each task, where the recipe asks for it."""
    if crew.recipe.evals.lm_eval.full:
        measure(crew, adapter, node, cycle, full=True)


def ask(crew: Team, adapter: str, name: str, node: str, cycle: int, full: bool) -> None:
    """Asks a model the parts of a task that are not there yet."""
    recipe, role = crew.recipe, crew.role(adapter)
    settings, spec = recipe.evals.lm_eval, recipe.models[role]
    try:
        fill(
            place(crew, adapter, name, full), name, harness.trusted(settings.include),
            None if full else settings.limit, recipe.seed,
            partial(crew.target, adapter), partial(crew.watch, node), system=spec.system, at_once=spec.concurrency,
            weights=crew.weights(spec) or (recipe.base if role == "target" else None),
            account=crew.spent.setdefault(role, [0, 0, 0]),
        )  # fmt: skip
    finally:
        crew.put_down(node, cycle)


def fill(
    folder: Path, name: str, include: str, limit: int | None, seed: int, model: Callable[[], "BaseChatModel"],
    watch: Tell, **asked: Any,
) -> None:  # fmt: skip
    """Puts what a model makes of a task into a folder, a file for each part, but for what lies there."""
    parts = harness.tasks(name, include, seed)
    for part, numbers in harness.drawn(name, parts, limit, seed).items():
        file = folder / f"{quote(part, safe='')}.jsonl"
        if not file.exists():
            from evals.harnessed import answered

            def tell(done: int, total: int, part: str = part) -> None:
                watch(done, total, f"{PREFIX}{part}: requests")

            write(file, answered(model(), parts[part], numbers, seed, tell, **asked))


def evaluated(
    folder: Path, source: str, limit: int, seed: int, model: "BaseChatModel", adapter: str, watch: Tell, **asked: Any
) -> Measured:
    """What `breakfix eval` asks for as `lm_eval:TASK,TASK`, or of a folder of one's own tasks as `lm_eval:DIR/TASK`.

    Raises ValueError, one line, for a task that cannot be had or cannot be asked.
    """
    include, tasks = named(source)
    started, results = time.monotonic(), dict[str, Result]()
    for name in tasks:
        at = folder / f"{limit or 'all'}-{seed}" / quote(name, safe="")
        fill(at, name, include, limit or None, seed, lambda: model, watch, **asked)
        results[name] = read(at)
    scores = [score(PREFIX + name, adapter, "", result) for name, result in results.items()]
    measures = {name: Measure(lambda item, attempt, verdict: None) for name in tasks}
    suite = Suite(FOLDER, Benchmark(harness.HOME, {}, lambda where: [], measures), [])
    drawn = sum(len(result.rows) for result in results.values())
    said = [f"{name} by {result.rows[0].metric}" for name, result in results.items() if result.rows]
    return Measured(suite, drawn, scores, time.monotonic() - started, said)


def named(source: str) -> tuple[str, list[str]]:
    """The folder of one's own tasks and the tasks that a source names. Raises ValueError where there are none such."""
    include, _, names = source.removeprefix(f"{FOLDER}:").rpartition("/")
    tasks = [name for name in names.split(",") if name]
    if not tasks:
        raise ValueError(f"--suite {source}: name tasks of lm-evaluation-harness, as in lm_eval:gsm8k,arc_easy")
    if include and not Path(include).is_dir():
        raise ValueError(f"--suite {source}: no folder {include}; give the one with the YAML of your own tasks")
    for name in tasks:
        harness.known(name, include, f"--suite {source}")
    return include, tasks


def outcomes(crew: Team, adapter: str) -> dict[str, Outcomes]:
    """Whether an adapter was right on each item of the quick tier, by benchmark.

    A task that some adapter was partly right on cannot be compared in pairs, and is shown alone.
    """
    found: dict[str, Outcomes] = {}
    for name in crew.recipe.evals.lm_eval.tasks:
        everybody = [read(one / QUICK / quote(name, safe="")) for one in (crew.run / FOLDER).glob("*")]
        mine = read(place(crew, adapter, name, False))
        if mine.rows and all(result.paired for result in everybody):
            found[PREFIX + name] = dict(mine.outcomes)
    return found


def score(benchmark: str, adapter: str, part: str, result: Result) -> Score:
    return Score(
        benchmark=benchmark, adapter=adapter, part=part, **result.share._asdict(), n=len(result.known),
        coverage=result.coverage,
    )  # fmt: skip


def place(crew: Team, adapter: str, name: str, full: bool) -> Path:
    return crew.run / FOLDER / quote(adapter, safe="") / (FULL if full else QUICK) / quote(name, safe="")


def read(folder: Path) -> Result:
    """What became of the items of a task, as far as it was asked."""
    return Result([row for file in sorted(folder.glob("*.jsonl")) for row in rows(file)])


@cache
def rows(file: Path) -> list[Row]:
    """The rows of a file, which is whole where it is there."""
    try:
        return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").split("\n") if line]
    except (ValueError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"{file} holds no rows of lm-evaluation-harness; delete it, and they are asked again"
        ) from error


def write(file: Path, rows: list[Row]) -> None:
    """All of a file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    begun = file.with_suffix(".part")
    begun.write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows), encoding="utf-8")
    begun.replace(file)


def asked_in(recipe: Recipe) -> Iterator[Item]:
    """Every question of the recipe's tasks, none of which is to be trained on."""
    settings = recipe.evals.lm_eval
    for name in settings.tasks:
        for text in harness.questions(name, harness.trusted(settings.include), recipe.seed):
            yield Item(text, PREFIX + name, text)
