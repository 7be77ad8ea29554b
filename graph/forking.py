"""A fork: a run that begins at a checkpoint of another, and goes another way or the same from there on."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evals.harness import PREFIX
from graph import capability, measuring
from graph.config import Recipe, RecipeError
from graph.history import Point, point
from graph.preflight import preflight
from graph.recipes import load
from graph.run import beginning
from graph.team import Team
from tools.copying import copied, copied_until
from tools.records import Adapter, Score, Split
from training.stages import WORK

SPLITS: tuple[Split, ...] = ("held_out", "final")
STAMP = re.compile(r'\{"at": "(\S{19})Z"')
"""The second that a line of the log is of."""


def fork(parent: Path, at: str, folder: Path, settings: Sequence[str]) -> Point:
    """Makes a run that holds what another one held at a checkpoint, and of what came after it nothing.

    The parent may be going on, and stays byte for byte as it is. Raises RecipeError.
    """
    start = point(parent, at)
    if start.filled is None:
        raise RecipeError(f"{parent} was begun before runs noted how far they had come; only a newer run can be forked")
    if settings and not start.next:
        raise RecipeError(f"--at {at} is the end of {parent}, and --set {settings[0]} would change nothing after it; "
                          "give an earlier checkpoint")  # fmt: skip
    recipe = load(parent / "recipe.toml", settings)
    preflight(recipe)
    forked(parent, start, folder, recipe, settings)
    return start


def forked(parent: Path, start: Point, folder: Path, recipe: Recipe, settings: Sequence[str] = ()) -> None:
    """Makes the run, with a recipe that differs from its parent's by `settings`, or otherwise. Raises RecipeError."""
    with beginning(recipe, folder, parent=parent.resolve().name, at=start.id, set=list(settings)) as new:
        for store, filled in (start.filled or {}).items():
            (new / store).parent.mkdir(exist_ok=True)
            copied_until(parent / store, new / store, filled)
        checkpoints(parent, new, start)
        crew = Team(new, recipe)
        with closing(crew.memory):
            fixed(Team(new, load(parent / "recipe.toml")), crew, settings)
            for path in files(crew):
                if (parent / path).is_dir():
                    ignored = shutil.ignore_patterns(WORK)
                    shutil.copytree(parent / path, new / path, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        log(parent, new, start)


def checkpoints(parent: Path, new: Path, start: Point) -> None:
    """Copies LangGraph's checkpoints up to the one to start at, which is then the last; nothing has come of it yet."""
    with closing(copied(parent / "state.sqlite", new / "state.sqlite")) as copy, copy:
        copy.execute("delete from checkpoints where checkpoint_id > ?", (start.id,))
        copy.execute("delete from writes where checkpoint_id >= ?", (start.id,))


def fixed(before: Team, after: Team, settings: Sequence[str]) -> None:
    """Raises RecipeError where a fork changes what the base of its parent has been measured with."""
    with closing(before.memory):
        then, now = basis(before), basis(after)
    for key, value in then.items():
        if now[key] != value:
            by = f"--set {' --set '.join(settings)}" if settings else "the recipe"
            raise RecipeError(
                f"{by} changes {key}, which is fixed when a run begins, as its base is "
                "measured with it; leave that, or begin another with `breakfix run`"
            )


def basis(crew: Team) -> dict[str, Any]:
    """What a run's measurements have in common: its goals and items, who is asked, and who judges."""
    recipe = crew.recipe
    found = {
        "seed": recipe.seed, "goals": recipe.goals, "recorded": recipe.recorded, "inherit": recipe.inherit,
        "target": recipe.target.identity(), "base": recipe.base, "agents.measuring_judge": crew.measures_by,
    }  # fmt: skip
    banks = [bank for split in SPLITS for bank in measuring.banks(crew, split).items()]
    items = {f"the items of {name}": {item.id for item in bank} for name, bank in banks if name != "regressions"}
    return found | {"evals.lm_eval": recipe.evals.lm_eval, "the benchmarks": items.keys(), **items}


def files(crew: Team) -> Iterator[Path]:
    """What lies in the folder of a run, beside its memories, of all that these know of."""
    for adapter in crew.memory.get(Adapter):
        yield Path(adapter.path)
    for score in crew.memory.get(Score, "benchmark like ?", f"{PREFIX}%"):
        name = score.benchmark.removeprefix(PREFIX)
        yield capability.place(crew, score.adapter, name, bool(score.part)).relative_to(crew.run)
    if crew.memory.events("lasting"):
        yield Path("lasting")


def log(parent: Path, new: Path, start: Point) -> None:
    """Copies the log up to a checkpoint, to the second."""
    file = parent / "log.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    past = [line for line in lines if (said := STAMP.match(line)) and said[1] <= start.at[: len(said[1])]]
    (new / "log.jsonl").write_text("".join(past), encoding="utf-8")
