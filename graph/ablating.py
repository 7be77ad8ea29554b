"""An ablation: the runs of a plan, each in a process of its own, on a base that is measured once for all alike."""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from graph import forking, logs, placing
from graph.arms import Plan, planned
from graph.commands import FAILED, FINISHED, look, named, top
from graph.config import Recipe, RecipeError
from graph.history import points
from graph.placing import Place, Work
from graph.recipes import load
from graph.run import create, locked
from graph.team import Team
from tools.records import digest

BASE, BASELINE = "_base", "baseline"
"""What the runs that measure the base are called, as no arm can be, and the node after which they stop."""
EVERY = 30.0
"""Seconds after which it is said where the runs are."""


def ablate(asked: argparse.Namespace) -> int:
    """`breakfix ablate`: runs all that is not finished, and writes the report of all that is."""
    from graph.comparing import ablated
    from graph.terminal import printed

    plan = planned(asked.recipe, asked.other, asked.vary, asked.seeds, asked.settings)
    folder = Path("runs", named("--run", asked.run or f"ablate-{asked.recipe.stem}"))
    if (folder / "recipe.toml").is_file():
        raise RecipeError(f"{folder} is a run; give --run another name")
    place = placing.place_of(asked.on, asked.jobs)
    cards = {name: placing.cards(recipe) if asked.on else 0 for name, (_, recipe) in plan.runs.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        bases = grouped(plan)
        failed = run(plan, bases, folder, place, cards)
        done = [name for name in plan.runs if name not in failed]
        report = ablated(plan, folder, done, failed, len(set(bases.values())))
    printed(top(report))
    print(f"the whole of it: {folder}/report.md, as a page report.html, for programs report.json", file=sys.stderr)
    for name, words in failed.items():
        print(f"breakfix: {folder / name} did not finish: {words}; the same command tries it again", file=sys.stderr)
    return FAILED if failed else FINISHED


def run(plan: Plan, bases: Mapping[str, str], folder: Path, place: Callable[[], Place],
        cards: Mapping[str, int]) -> dict[str, str]:  # fmt: skip
    """Runs all that is not finished; returns why the runs that did not finish did not, by name. Raises RecipeError.

    `bases` says on whose measured base each begins, and `cards` how many GPUs it wants.
    """
    unchanged(plan, bases, folder)
    told(f"{len(plan.runs)} runs of {len(plan.arms)} arms; the base is measured {len(set(bases.values()))} times")
    if all((folder / name).exists() and finished(folder / name) for name in plan.runs):
        return {}
    where = place()
    for sign in (signal.SIGINT, signal.SIGTERM):  # after Ray, which takes these for itself
        signal.signal(sign, signal.default_int_handler)
    try:
        return both(plan, bases, folder, where, cards)
    finally:
        where.stop()


def both(plan: Plan, bases: Mapping[str, str], folder: Path, where: Place, cards: Mapping[str, int]) -> dict[str, str]:
    """First measures the bases, and then goes on from there with every run."""
    todo = dict[str, Work]()
    for name, base in bases.items():
        if not (folder / base).exists():
            create(plan.runs[name][1], folder / base)
        if base not in todo and not measured(folder / base):
            todo[base] = Work(folder / base, BASELINE, cards[name])
    lost = passed(todo, where, measured)
    begun = {name: recipe for name, (_, recipe) in plan.runs.items() if bases[name] not in lost}
    for name, recipe in begun.items():
        if not (folder / name).exists():
            parent = folder / bases[name]
            forking.forked(parent, points(parent)[-1], folder / name, recipe)
    work = {name: Work(folder / name, "", cards[name]) for name in begun}
    failed = passed({name: one for name, one in work.items() if not finished(one.folder)}, where, finished)
    return failed | {name: f"{base}: {lost[base]}" for name, base in bases.items() if base in lost}


def finished(folder: Path) -> bool:
    return look(folder).state == "finished"


def measured(folder: Path) -> bool:
    """Whether the base has been measured there."""
    now = look(folder)
    return bool(now.values) and now.node != BASELINE


def grouped(plan: Plan) -> dict[str, str]:
    """The run on whose measured base each run of the plan begins."""
    known, numbers = dict[str, str](), Counter[int]()
    found = {}
    for name, (_, recipe) in plan.runs.items():
        with tempfile.TemporaryDirectory() as scratch:
            crew = Team(Path(scratch), recipe)
            with closing(crew.memory):
                crew.memory.add(crew.goals)
                basis = digest(repr(sorted(alike(crew).items())))
        if basis not in known:
            numbers[recipe.seed] += 1
            again = f"-{numbers[recipe.seed]}" if numbers[recipe.seed] > 1 else ""
            known[basis] = f"{BASE}-{recipe.seed}{again}"
        found[name] = known[basis]
    return found


def alike(crew: Team) -> dict[str, Any]:
    """What the base is measured with: what a fork cannot change, and who plays adversaries that adapt."""
    agents, found = crew.recipe.agents, forking.basis(crew)
    if crew.recipe.evals.harm_adaptive and agents.attacker:
        found["adaptive"] = agents.attacker.identity(), next(iter(crew.labels_by))
    return {key: sorted(value) if isinstance(value, set) else value for key, value in found.items()}


def unchanged(plan: Plan, bases: Mapping[str, str], folder: Path) -> None:
    """Raises RecipeError where runs lie in the folder that are not those of the plan."""
    first = {base: name for name, base in reversed(list(bases.items()))}
    lying = {path.parent.name: path for path in sorted(folder.glob("*/recipe.toml"))}
    if strange := [name for name in lying if name not in plan.runs and name not in first]:
        raise RecipeError(f"{folder} holds the run {strange[0]}, which this ablation has not; give --run another name")
    for name, path in lying.items():
        _, recipe = plan.runs[first.get(name, name)]
        if there := differs(load(path), recipe):
            raise RecipeError(
                f"{path.parent} was begun with another {there}; ask as before, or give --run another name"
            )


def differs(one: Recipe, other: Recipe) -> str:
    """The first key in which two recipes differ; empty where none does."""
    return next((key for key in Recipe.model_fields if getattr(one, key) != getattr(other, key)), "")


def passed(todo: Mapping[str, Work], where: Place, done: Callable[[Path], bool]) -> dict[str, str]:
    """Goes on with runs and says how; returns the last words of those that are not done then, by name."""
    failed, began, left = dict[str, str](), time.monotonic(), {one.folder: name for name, one in todo.items()}
    for one in todo.values():
        where.start(one)
    while left:
        ended = where.ended(EVERY)
        for folder, words in ended.items():
            name = left.pop(folder)
            failed |= {} if done(folder) else {name: words}
            passed, took = len(todo) - len(left), time.monotonic() - began
            rest = f"; about {took / passed * len(left) / 60 + 0.5:.0f} min to go" if left else ""
            told(f"[{passed}/{len(todo)}] {name}: {failed.get(name, 'done')}{rest}")
        if not ended:
            going = ", ".join(f"{name} in {at}" for folder, name in left.items() if (at := node(folder)))
            told(going or f"{len(left)} to begin")
    return failed


def node(folder: Path) -> str:
    """The node that a run is in; empty before it goes on."""
    said = logs.lines(folder) if (folder / placing.WORDS).is_file() else []
    return str(said[-1].get("node", "")) if said else ""


def told(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
