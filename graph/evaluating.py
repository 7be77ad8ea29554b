"""Public benchmarks asked of a model: of a run's adapters, or of any model by `breakfix eval`."""

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from agents import attacker
from agents.judge import Judge, JudgeModel, judge_of
from evals.suites import gathered
from evals.suites.grounding import PROMPT, grader
from evals.suites.results import Measured, notes
from evals.suites.suite import Grader, Item, Suite, scores
from graph import capability
from graph.anchoring import at
from graph.calibrating import chosen, given
from graph.config import Recipe, RecipeError, playable
from graph.desk import champion
from graph.measuring import verdicts
from graph.mistakes import explained
from graph.preflight import led, lying, reachable, readable
from graph.recipes import spec_of
from graph.serving import model_of, vllm_of, weights
from graph.team import Sitting, Team, Tell, Watch, team
from tools import contamination
from tools.adapters import rank
from tools.campaign import campaign
from tools.llm import Model
from tools.memory import Memory
from tools.records import BASE, Adapter, Attempt, Score, Verdict, digest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

STORE = "suites.sqlite"
"""The file of a run that holds the benchmarks' conversations, apart from what the run attacks and trains on."""


class Bench(NamedTuple):
    """Who looks at the answers to benchmarks."""

    judges: Mapping[Grader, Mapping[str, Sitting]]
    rubric: bool
    """Whether the judge grades answers by a rubric."""


class Asked(NamedTuple):
    """A model that is measured, and who plays against it where a conversation has to be led."""

    target: str
    """Names it by all that its answers depend on."""
    model: "BaseChatModel"
    cap: int
    """How many conversations at once."""
    system: str = ""
    attacker: "BaseChatModel | None" = None
    judge: Judge | None = None
    """Tells the attacker how it goes."""


def measure_suites(crew: Team, adapter: str, node: str, cycle: int) -> list[Score]:
    """The scores of an adapter, or whatever else `Team.target` knows, on the recipe's benchmarks; the run keeps them.

    What lies in the run's store of benchmarks is not asked again.
    """
    recipe = crew.recipe
    suites = gathered(recipe.evals.suites)
    if not suites:
        return []
    own = recipe.agents.attacker
    leads = crew.attacker if own and own.provider != "sandbox" else None
    feedback = next((verdict_of for verdict_of, _ in crew.labelling.values()), None)
    asked = Asked(adapter, crew.target(adapter), recipe.target.concurrency, recipe.target.system, leads,
                  feedback)  # fmt: skip
    spec = recipe.agents.measuring_judge
    bench = bench_of(spec, crew.measures_by, crew.measuring, lambda one: crew.model("measuring_judge", one))
    store, found = Memory(crew.run / STORE), list[Score]()
    try:
        for suite in suites:
            drawn = suite.drawn(recipe.evals.suite_items, recipe.seed)
            found += measured(store, suite, drawn, asked, adapter, bench, partial(crew.watch, node)).scores
    finally:
        store.close()
        crew.put_down(node, cycle)
    crew.memory.add(found)
    return found


def asked_in(recipe: Recipe) -> Iterator[contamination.Item]:
    """What the recipe's benchmarks ask, which no training row may hold. The sandbox's goals are worded alike."""
    for suite in gathered(recipe.evals.suites):
        goals = {item.goal.text for item in suite.items}
        for text in goals:
            yield contamination.Item(text, suite.source, text, "alike" if suite.name == "sandbox" else "asked")
        for item in suite.items:
            yield from (
                contamination.Item(text, suite.source, item.goal.text, "said")
                for text in item.said
                if text not in goals
            )


def bench_of(
    spec: JudgeModel, name: str, judges: Mapping[str, Sitting], make: Callable[[Model], "BaseChatModel"]
) -> Bench:
    """The judge of harm, and the same model as one of grounding where it is an LLM."""
    rubric = spec.kind == "rubric"
    holds = {digest(name, PROMPT): (grader(make(spec), digest(name, PROMPT)), spec.concurrency)} if rubric else {}
    return Bench({"policy": judges, "grounding": holds, "": {}}, rubric)


def measured(
    store: Memory, suite: Suite, items: Sequence[Item], asked: Asked, adapter: str, bench: Bench,
    watch: Tell,
) -> Measured:  # fmt: skip
    """A model's scores on the items that were drawn; conversations and verdicts in the store are not made again."""
    started, target = time.monotonic(), asked.target
    planned = {item.planned(target).id: item for item in items}
    held = {name: item for name, item in planned.items() if item.said or asked.attacker}
    about, of = "target = ? and goal in (select id from goals where source = ?)", (target, suite.source)
    judges = bench.judges[suite.benchmark.grader]
    try:
        if suite.benchmark.measures:
            converse(store, suite.name, held, asked, watch)
            verdicts(store, about, of, judges, lambda done, total, _: watch(done, total, f"{suite.name} judged"))
    finally:
        store.event(0, "suites", "suite", name=suite.name, target=target, seconds=time.monotonic() - started)
    attempts = {one.id: one for one in store.get(Attempt, about, *of) if one.id in held}
    given_by = f"attempt in (select id from attempts where {about}) and judge = ?"
    said = {one.attempt: one for judge in judges for one in store.get(Verdict, given_by, *of, judge)}
    found = scores(suite, items, attempts, said, target, adapter, bench.rubric)
    spent = sum(one["seconds"] for one in store.events("suite") if (one["name"], one["target"]) == (suite.name, target))
    unasked = bool(suite.benchmark.measures) and not held
    return Measured(suite, len(items), found, spent, notes(suite, found, unasked))


def converse(store: Memory, name: str, items: Mapping[str, Item], asked: Asked, watch: Tell) -> None:
    """Holds the conversations that the store does not have."""
    store.add({item.goal.id: item.goal for item in items.values()}.values())
    there = store.ids(Attempt, "target = ?", asked.target)
    todo = [item for planned, item in items.items() if planned not in there]
    finished = len(items) - len(todo)

    def keep(batch: Sequence[Attempt]) -> None:
        nonlocal finished
        store.add(batch)
        finished += len(batch)
        watch(finished, len(items), name)

    watch(finished, len(items), name)
    campaign(todo, holding(asked), keep, asked.cap)


def holding(asked: Asked) -> Callable[[Item], Awaitable[Attempt]]:
    async def hold(item: Item) -> Attempt:
        planned, system = item.planned(asked.target), item.system or asked.system
        if item.said or asked.attacker is None:
            return await attacker.replay(planned, item.turns, asked.model, system)
        return await attacker.converse(planned, item.goal, asked.attacker, asked.model, system, asked.judge)

    return hold


def evaluated(
    model: str, adapter: Path | None, sources: Sequence[str], judge: str, leader: str, limit: int, seed: int,
    folder: Path | None, watch: Watch,
) -> tuple[Path, str, list[Measured]]:  # fmt: skip
    """What `breakfix eval` asks for: the folder with the conversations, the judge's identity, and what came of each
    benchmark. Raises RecipeError."""
    from graph.run import locked

    harnessed = [source for source in sources if source.startswith(f"{capability.FOLDER}:")]
    own = [source for source in sources if source not in harnessed]
    suites = given(lambda: lying("--suite", own))
    given(lambda: led("--suite", own, suites, bool(leader), "give --attacker a model to lead them"))
    for source in harnessed:
        given(partial(capability.named, source))
    name, bench = judging(judge)
    spec = model_named("MODEL", model, "target")
    adapter, label = made(adapter) if adapter else (None, BASE)
    asked = measurable(spec, adapter, label, leader, suites)
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(spec.name).name)
    folder = folder or Path("runs", f"eval-{short}-{asked.target[:6]}")
    if (folder / "recipe.toml").exists():
        raise RecipeError(f"--out {folder} is a run, whose memory is its own; give another folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder):
        store = Memory(folder / "memory.sqlite")
        try:
            found = [
                measured(store, suite, suite.drawn(limit, seed), asked, label, bench, partial(watch, "eval"))
                for suite in suites
            ]
        finally:
            store.close()
        found += [
            given(partial(
                capability.evaluated, folder / capability.FOLDER / asked.target, source, limit, seed, asked.model,
                label, partial(watch, "eval"), system=asked.system, at_once=asked.cap,
            )) for source in harnessed
        ]  # fmt: skip
    return folder, name, found


def made(adapter: Path) -> tuple[Path, str]:
    """The folder of an adapter and its name: of the folder itself, of a run's champion as `RUN`, or of another as
    `RUN:ID` or `RUN/adapters/ID`, by the first digits of its id. Raises RecipeError."""
    if (adapter / "adapter_config.json").is_file():
        given(lambda: rank(adapter))
        return adapter, adapter.name
    run, _, name = str(adapter).partition(":")
    if not name and adapter.parent.name == "adapters":
        run, name = str(adapter.parent.parent), adapter.name
    if not (Path(run) / "recipe.toml").is_file():
        raise RecipeError(f"--adapter {adapter}: no adapter_config.json there; give the folder of an adapter, or a run")
    crew = team(run)
    known = sorted(crew.memory.ids(Adapter))
    matching = [one for one in known if one.startswith(name)] if name else [champion(crew)]
    if matching == [BASE]:
        raise RecipeError(f"--adapter {adapter}: the champion of that run is its base; leave --adapter out")
    if len(matching) != 1:
        raise RecipeError(f"--adapter {adapter} is none, or several, of {', '.join(known) or 'no adapters'}; give one")
    return crew.folder(matching[0]), matching[0]


def judging(judge: str) -> tuple[str, Bench]:
    """The identity of the judge that a command names, and who looks at the answers then. Raises RecipeError."""
    spec, policy, name = chosen(judge, None, ())
    for place, one in spec.asked("--judge"):
        if one.provider == "sandbox":
            raise RecipeError(f"{place} = {one.model!r} knows the sandbox's own goals alone; give another judge")
    sitting = judge_of(spec, policy, model_of), spec.concurrency
    return name, bench_of(spec, name, {name: sitting}, model_of)


def measurable(spec: Model, adapter: Path | None, label: str, leader: str, suites: Sequence[Suite]) -> Asked:
    """The model that a command names, with its adapter, and who leads conversations. Raises RecipeError."""
    leading = model_named("--attacker", leader, "attacker") if leader else None
    if leading and leading.provider == "sandbox":
        raise RecipeError(f"--attacker {leader!r} knows the sandbox's own goals alone; give another model")
    leads = model_of(leading) if leading else None
    texts = [text for suite in suites for item in suite.items for text in item.said]
    base = given(lambda: weights(spec, lambda: texts, lambda done, total: None))
    if base:
        given(lambda: readable(f"MODEL = {spec.model!r}", base, bool(suites)))
    if adapter and not list(adapter.glob("*.safetensors")):
        raise RecipeError(f"--adapter {adapter}: no *.safetensors there; give the folder of an adapter, or a run")
    target = digest(spec.identity(), stamps(base), stamps(adapter))
    return Asked(target, serving(spec, base, adapter, label), spec.concurrency, spec.system, leads)


def model_named(place: str, text: str, role: str) -> Model:
    """The model that a command is given, as a spec or settings in TOML. Raises RecipeError."""
    value = spec_of(place, text)
    table = at({"model": value} if isinstance(value, str) else value, lambda name: str(Path(name).resolve()))
    try:
        spec = Model.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{place} {text}: {explained(error, Model)}") from error

    def had() -> Model:
        playable(place, spec, role)
        if spec.provider != "sandbox":
            reachable(place, spec)
        return spec

    return given(had)


def stamps(folder: Path | None) -> list[tuple[str, int, int]]:
    """What tells weights from others that lay in the same place."""
    files = sorted(folder.glob("*.safetensors")) if folder else []
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def serving(spec: Model, base: Path | None, adapter: Path | None, name: str) -> "BaseChatModel":
    """The model with the adapter on. Raises RecipeError for an adapter that it cannot have."""
    if base is None:
        if adapter:
            raise RecipeError(f"--adapter {adapter} is for a model served here (hf:PATH), which {spec.model!r} is not")
        return model_of(spec)
    if adapter and not (adapter / "adapter_config.json").is_file():  # all of its weights were trained
        base, adapter = adapter, None
    if spec.provider == "vllm":
        return given(lambda: vllm_of(spec, base, name, adapter))
    from tools.engine import Engine, Local

    engine = Engine(base, spec.concurrency, spec.max_tokens, spec.temperature)
    if adapter:
        given(lambda: engine.load(name, adapter))
    return Local(engine=engine, adapter=name if adapter else BASE)
