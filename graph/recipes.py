"""Recipes as text: read from TOML, overridden key by key, and written back; and the models that commands are given."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.judge import JudgeModel
from graph.anchoring import anchored, at
from graph.config import Recipe, RecipeError, playable
from graph.mistakes import explained

DEEPEST = 20
"""Tables in tables; the deepest setting lies in six."""


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file, with `KEY=VALUE` overrides. Raises RecipeError, one line.

    Relative paths in it are read from the recipe's own folder; whether something lies there is for `preflight`.
    """
    table = read(path)
    for override in overrides:
        put(table, *setting(override))
    return parse(laid(table, path), str(path))


def laid(table: dict[str, Any], file: Path) -> dict[str, Any]:
    """The settings with relative paths read from the folder of the file that says them. Raises RecipeError."""
    try:
        return anchored(table, file.parent)
    except ValueError as error:
        raise RecipeError(f"{file}: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """What a file says in TOML. Raises RecipeError, one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # what is not UTF-8, or a path with a null byte
        reason = getattr(error, "strerror", None) or ("no path" if "\0" in str(path) else "not text")
        raise RecipeError(f"cannot read the recipe {path}: {reason}; give the path of a .toml file") from error
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of too many digits among them
        raise RecipeError(f"{path} is not TOML: {error}; write it as on https://toml.io") from error
    if deep(table):
        raise RecipeError(f"{path} has a key in more than {DEEPEST} tables, where no setting lies; take it out")
    return table


def deep(value: Any, left: int = DEEPEST) -> bool:
    """Whether a value is nested deeper than any setting lies, which what goes through recipes need not withstand."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(left == 0 or deep(one, left - 1) for one in inner)


def parse(table: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explained(error, Recipe)}") from error


def setting(override: str) -> tuple[str, Any]:
    """The dotted key of a `KEY=VALUE`, and the value: read as TOML, or else a bare string."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override!r} is not KEY=VALUE, such as --set agents.judge.model=openai:gpt-4o")
    return key, value_of(value)


def put(table: dict[str, Any], key: str, value: Any) -> None:
    """Sets one dotted key of a recipe."""
    *parents, last = key.split(".")
    if len(parents) > DEEPEST:
        raise RecipeError(f"--set {key[:80]}... lies deeper than any setting")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {key}={value}: {parent!r} holds a value, not a table of settings")
    table[last] = value


def value_of(text: str) -> Any:
    """What a text says in TOML, or else the text as it stands."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return text if deep(value) else value


def spec_of(place: str, text: str) -> Any:
    """A model or a judge as a command is given it: a name, or a table. Raises RecipeError for half a table."""
    value = value_of(text)
    if isinstance(value, str) and text.lstrip().startswith(("{", "[")):
        raise RecipeError(f"{place} {text!r} is not TOML; write a table, such as '{{ model = \"openai:NAME\" }}'")
    return value


def judge_named(text: str, recipe: Recipe | None = None) -> JudgeModel:
    """The judge that a command is given: a role of the recipe, a model, or settings in TOML. Raises RecipeError.

    Relative paths are read from the working directory.
    """
    if recipe and text in recipe.judges:
        return recipe.judges[text]
    try:
        judge = JudgeModel.model_validate(at(spec_of("--judge", text), lambda name: str(Path(name).resolve())))
        for place, model in judge.asked("--judge"):
            playable(place, model, "judge")
    except ValidationError as error:
        raise RecipeError(f"--judge {text}: {explained(error, JudgeModel)}") from error
    except ValueError as error:
        raise RecipeError(str(error)) from error
    return judge


def as_toml(recipe: Recipe) -> str:
    """The recipe as resolved, in TOML that `load` reads back to the same."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
