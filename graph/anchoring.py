"""The paths in a recipe: relative ones are read from the recipe's own folder, whoever runs it from wherever."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Put = Callable[[str], str]
"""Puts a path in its place."""
Anchor = Callable[[Any, Put], Any]
"""A setting with its paths put in their place; one that is not of the kind it should be stays as it is."""


def anchored(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe with relative paths read from a folder. Raises ValueError, one line, for what can be none."""

    def put(value: str) -> str:
        return str((folder / value).resolve())

    for key, anchor in PLACES.items():
        *parents, last = key.split(".")
        holder: Any = table
        for parent in parents:
            holder = holder.get(parent) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and last in holder:
            try:
                holder[last] = anchor(holder[last], put)
            except (OSError, RuntimeError, ValueError) as error:  # a NUL, a loop of links
                raise ValueError(
                    f"{key} = {str(holder[last])[:80]!r} cannot be a path: {error}; give another"
                ) from error
    return table


def place(value: Any, put: Put) -> Any:
    named = isinstance(value, str) and value not in ("", "sandbox") and not value.startswith("hub:")
    return put(value) if named else value


def recording(value: Any, put: Put) -> Any:
    return value | {"path": place(value["path"], put)} if isinstance(value, dict) and "path" in value else value


def suite(value: Any, put: Put) -> Any:
    from evals import suites

    return suites.anchored(value, put) if isinstance(value, str) else value


def task(value: Any, put: Put) -> Any:
    """A task of one's own has a folder before it: `DIR/TASK`."""
    folder, slash, name = value.rpartition("/") if isinstance(value, str) else ("", "", "")
    return f"{put(folder)}/{name}" if slash else value


def goals(value: Any, put: Put) -> Any:
    from tools import sets

    return sets.anchored(value, put) if isinstance(value, str) and value != "sandbox" else value


def at(spec: Any, put: Put) -> Any:
    """The spec of a model, of a panel's members or of a translator, its folders put in their place."""
    if isinstance(spec, str):
        provider, _, name = spec.partition(":")
        folder = provider in ("hf", "vllm", "fitted") and name and not name.startswith("sandbox:")
        return f"{provider}:{put(name)}" if folder else spec
    if not isinstance(spec, dict):
        return spec
    inner = {key: at(spec[key], put) for key in ("model", "translator") if key in spec}
    return spec | inner | ({"members": each(at)(spec["members"], put)} if "members" in spec else {})


def each(anchor: Anchor) -> Anchor:
    """The same for every one of a list."""
    return lambda value, put: [anchor(one, put) for one in value] if isinstance(value, list) else anchor(value, put)


def by_name(anchor: Anchor) -> Anchor:
    """The same for every value of a table."""
    return lambda value, put: (
        {name: anchor(one, put) for name, one in value.items()} if isinstance(value, dict) else value
    )


PLACES: dict[str, Anchor] = {
    "policy": place, "base": place, "inherit": place, "target": at, "agents": by_name(at), "compare": each(at),
    "goals.source": each(goals), "recorded.lookalikes": place, "recorded.conversations": each(recording),
    "data.retain": each(place), "data.preferences": each(place), "curate.sources": each(place),
    "evals.anchors": by_name(place), "evals.suites": each(suite), "evals.lm_eval.include": place,
    "evals.lm_eval.tasks": each(task), "training.launch": place,
}  # fmt: skip
"""The settings of a recipe that hold paths."""
