"""A run's history: its checkpoints, each with what comes next and how far the memory was filled."""

import functools
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from langgraph.runtime import Runtime

from graph.config import RecipeError
from graph.state import Context, State
from tools.copying import tops
from tools.disk import settle

STORES = ("memory.sqlite", "suites.sqlite", "anchors/*.sqlite")
"""Every memory in a run's folder."""
SHOWN = 13
"""Digits of a checkpoint's id, which is a time, that tell it from those a millisecond before and after."""


class Node(Protocol):
    def __call__(self, state: State, runtime: Runtime[Context]) -> State: ...


class Point(NamedTuple):
    """A checkpoint, at which a fork can begin."""

    number: int
    id: str
    next: str
    """The node that comes next; empty at the end."""
    at: str
    values: dict[str, Any]

    @property
    def filled(self) -> dict[str, dict[str, int]] | None:
        """How far each memory in the folder was filled; None for a run that did not write that down."""
        return self.values.get("filled")


def noted(node: Node) -> Node:
    """The node, which leaves in its checkpoint how far the memory was filled when it ended, and that on the disk."""

    @functools.wraps(node)
    def passed(state: State, runtime: Runtime[Context]) -> State:
        changed, run = node(state, runtime), Path(runtime.context["run"])
        settle(*(log for store in STORES for log in run.glob(f"{store}-wal")))
        return {**changed, "filled": filled(run)}

    return passed


def filled(run: Path) -> dict[str, dict[str, int]]:
    """How far each memory in a run's folder is filled now."""
    stores = [file for store in STORES for file in sorted(run.glob(store))]
    return {file.relative_to(run).as_posix(): tops(file) for file in stores}


def points(folder: Path) -> list[Point]:
    """The checkpoints of a run, oldest first; it is left as it is, and may be going on. Raises RecipeError."""
    from graph.run import THREAD, as_it_is

    with as_it_is(folder) as graph:
        if not (folder / "state.sqlite").is_file():
            raise RecipeError(f"{folder} has not begun; `breakfix resume {folder}` begins it")
        seen = [one for one in graph.get_state_history(THREAD) if one.next != ("__start__",)]
    return [
        Point(number, str(one.config["configurable"]["checkpoint_id"]), "".join(one.next), str(one.created_at),
              dict(one.values)) for number, one in enumerate(reversed(seen), 1)
    ]  # fmt: skip


def point(folder: Path, name: str) -> Point:
    """The checkpoint of a number, or whose id begins so. Raises RecipeError for none, and for several."""
    known = points(folder)
    matching = [one for one in known if str(one.number) == name] or [one for one in known if one.id.startswith(name)]
    if len(matching) != 1:
        raise RecipeError(f"--at {name!r} is {'several' if matching else 'none'} of the {len(known)} checkpoints of "
                          f"{folder}; `breakfix history {folder}` lists them")  # fmt: skip
    return matching[0]


def shown(one: Point) -> dict[str, Any]:
    """A checkpoint as a line of a table, or for programs."""
    held = (one.filled or {}).get("memory.sqlite", {})
    return {
        "number": one.number, "id": one.id, "next": one.next, "cycle": one.values.get("cycle"),
        "champion": one.values.get("champion"), "attempts": held.get("attempts", 0), "rows": held.get("examples", 0),
        "at": one.at,
    }  # fmt: skip
