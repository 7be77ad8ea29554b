"""The arms of an ablation: what is varied, as a grid or by a file, as runs that are all valid before one begins."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.report.decisions import flat
from graph.config import Recipe, RecipeError
from graph.mistakes import explained
from graph.preflight import preflight
from graph.recipes import laid, parse, put, read, setting, value_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,59}")
"""What an arm may be called: it is a folder, and is typed in a shell."""
LONG = 24
"""Most letters of a value in the name of an arm."""
MOST = 1000
"""Runs of an ablation: each is trained, and all are planned before the first begins."""
OPENS, CLOSES = "[{(", "]})"


class Experiment(BaseModel):
    """A file that asks a question: a recipe, what all runs differ in from it, and the arms that differ in more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    question: str = ""
    about: str = ""
    """What is simulated, and what a reader has to know."""
    recipe: str
    """Path of the recipe, from the file's own folder."""
    seeds: int = Field(default=3, gt=0)
    set: dict[str, Any] = {}
    """Part of a recipe, which is laid over it."""
    vary: dict[str, list[Any]] = {}
    """Dotted keys with their values, as `--vary`."""
    arms: dict[str, dict[str, Any]] = {}
    """Parts of a recipe, by the name of the arm; where keys are varied too, each arm is run with each value."""


@dataclass(frozen=True)
class Arm:
    """One way to run the recipe."""

    name: str
    part: Mapping[str, Any]
    """Part of a recipe, which is laid over it."""
    values: Mapping[str, Any]
    """What is put at dotted keys after that: of the keys that are varied."""


@dataclass(frozen=True)
class Plan:
    """An ablation, whole."""

    experiment: Experiment
    arms: tuple[Arm, ...]
    runs: Mapping[str, tuple[Arm, Recipe]]
    """Every run by its name, seed by seed."""


def planned(
    file: Path, recipe: Path | None, vary: Sequence[str], seeds: int | None, settings: Sequence[str]
) -> Plan:  # fmt: skip
    """The plan of a recipe or an experiment file. Raises RecipeError for the first thing wrong in any of its arms."""
    said = experiment(file)
    keys = {key: list(values) for key, values in said.vary.items()}
    for one in vary:
        key, values = varied(one)
        if key in keys:
            raise RecipeError(f"--vary {key} is given twice; give all its values at once: --vary {key}=A,B,C")
        keys[key] = values
    source = recipe or file.parent / said.recipe
    table, number = read(source), said.seeds if seeds is None else seeds
    if number < 1:
        raise RecipeError(f"--seeds {number}: give 1 or more")
    common = merged(laid(table, source), laid(deepcopy(said.set), file))
    for override in settings:
        put(common, *setting(override))
    common = laid(common, source)
    many = max(1, len(said.arms)) * math.prod(map(len, keys.values()))
    if many * number > MOST:
        raise RecipeError(f"{file}: {many:,} arms x {number:,} seeds are over {MOST:,} runs; give fewer of either")
    if many < 2:
        raise RecipeError(f"{file} has one arm, which is compared with nothing; give --vary KEY=A,B or [arms.NAME]")
    arms = tuple(product(said, file, keys))
    runs = {}
    for seed, arm in itertools.product(range(number), arms):
        name, found = made(arm, common, seed, source)
        if name in runs:
            raise RecipeError(f"{file}: two runs would be called {name!r}; give one of the arms another name or value")
        runs[name] = arm, found
    return Plan(said, arms, runs)


def experiment(file: Path) -> Experiment:
    """The experiment that a file is; of a recipe one without arms."""
    table = read(file)
    if "target" in table:
        return Experiment(title=f"Ablation of {file.name}", recipe=file.name)
    try:
        return Experiment.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{file}: {explained(error, Experiment)}") from error


def product(said: Experiment, file: Path, keys: Mapping[str, list[Any]]) -> Iterator[Arm]:
    """Every arm: those of the file, each with every combination of the values that are varied."""
    short, alike = shortened(list(keys)), dict[str, int]()
    for title, part in (said.arms or {"": {}}).items():
        own = laid(deepcopy(part), file)
        for values in itertools.product(*keys.values()):
            named = [f"{short[key]}={worded(value)}" for key, value in zip(keys, values, strict=True)]
            name = ",".join(filter(None, [title, *named])).replace(",", "_")
            if not NAME.fullmatch(name):
                raise RecipeError(f"the arm {name!r} is named as no folder can be in a shell; give up to 60 letters, "
                                  "digits, dots, dashes and underscores")  # fmt: skip
            alike[name] = alike.get(name, 0) + 1
            if alike[name] > 1:
                name += f"-{dict(enumerate(ascii_lowercase, 1)).get(alike[name], alike[name])}"
            yield Arm(name, own, dict(zip(keys, values, strict=True)))


def made(arm: Arm, common: Mapping[str, Any], seed: int, source: Path) -> tuple[str, Recipe]:
    """The recipe of an arm with a seed, which is counted from the recipe's own, and what the run is called."""
    table = merged(deepcopy(common), deepcopy(arm.part))
    for key, value in arm.values.items():
        put(table, key, deepcopy(value))
    try:
        recipe = parse(laid(table, source), str(source))
        turned(arm, recipe)
        if not seed:
            preflight(recipe)
    except RecipeError as error:
        raise RecipeError(f"the arm {arm.name}: {error}") from error
    if recipe.gates:
        raise RecipeError(f"gates = {list(recipe.gates)}: nobody is at the gates of an ablation; --set 'gates=[]'")
    recipe = recipe.model_copy(update={"seed": recipe.seed + seed})
    return f"{arm.name}-{recipe.seed}", recipe


def turned(arm: Arm, recipe: Recipe) -> None:
    """Raises RecipeError where an arm differs in dials that nobody turns, and so in nothing."""
    keys = [key for part in (arm.part, arm.values) for key, _ in flat("", part)]
    for role, spec in (recipe.models | recipe.judges).items():
        place = "target" if role == "target" else f"agents.{role}"
        if spec.provider != "sandbox" and any(key.startswith(f"{place}.dials") for key in keys):
            raise RecipeError(f"{place}.dials are for the sandbox's models, and {spec.model} has none; give other arms")


def varied(text: str) -> tuple[str, list[Any]]:
    """The key of a `--vary` and its values, each read as `--set` reads one. Raises RecipeError."""
    key, equals, values = text.partition("=")
    found = [value_of(one.strip()) for one in split(values)] if equals and key else []
    if not found or "" in found:
        raise RecipeError(f"--vary {text!r} is not KEY=A,B; write one such as --vary data.chosen=writer,target")
    return key, found


def split(text: str) -> Iterator[str]:
    """The parts of a text between the commas that are in no brackets and no quotes."""
    depth, quote, part = 0, "", ""
    for letter in text:
        if letter == "," and not depth and not quote:
            yield part
            part = ""
            continue
        if letter in "\"'":
            quote = "" if letter == quote else quote or letter
        elif not quote:
            depth += (letter in OPENS) - (letter in CLOSES)
        part += letter
    yield part


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """What each key is called in the names of arms: as many of its last parts as tell it from the others."""
    ends = {key: [".".join(key.split(".")[-n:]) for n in range(1, key.count(".") + 2)] for key in keys}
    return {
        key: next((end for end in some if not any(end in ends[other] for other in keys if other != key)), key)
        for key, some in ends.items()
    }


def worded(value: Any) -> str:
    """A value as it stands in the name of an arm."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:LONG].rstrip("-.") or "none"


def merged(table: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A table with part of one laid over it: tables are merged, whatever else there is is replaced."""
    both = {
        key: merged(table[key], value) if isinstance(value, dict) and isinstance(table.get(key), dict) else value
        for key, value in part.items()
    }
    return {**table, **both}
