"""How long a run has worked: by a clock that nobody sets, kept in its memory, without the time that it was off."""

import functools
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from graph.config import RecipeError

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from graph.history import Node
    from graph.state import Context, State
    from tools.memory import Memory

EVERY = 60.0
"""Seconds of a node's work between two notes of it: what a kill loses of the count at most."""
SPAN = re.compile(r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+)m)?")


def timed(name: str, node: "Node") -> "Node":
    """The node, its work counted and told of. Waiting for a person is none: a node ends at a gate."""
    from graph import logs
    from graph.team import team

    @functools.wraps(node)
    def passed(state: "State", runtime: "Runtime[Context]") -> "State":
        memory, cycle = team(runtime.context["run"]).memory, state.get("cycle", 1)
        with logs.within(name, cycle, memory), counted(memory, name, cycle):
            return node(state, runtime)

    return passed


@contextmanager
def counted(memory: "Memory", node: str, cycle: int) -> Iterator[None]:
    """Notes the seconds that pass within, as events `worked`: now and then, and at the end."""
    last, over = time.monotonic(), threading.Event()

    def note() -> None:
        nonlocal last
        now = time.monotonic()
        with suppress(sqlite3.OperationalError):  # on a full disk the node itself says so
            memory.event(cycle, node, "worked", seconds=round(now - last, 3))
            last = now

    def keep() -> None:
        while not over.wait(EVERY):
            note()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        note()


def worked(memory: "Memory") -> float:
    """The seconds that a run's nodes have worked, in whatever processes."""
    [found] = memory.query("select total(body ->> 'seconds') as seconds from events where kind = 'worked'")
    return float(found["seconds"])


def hours(text: str) -> float:
    """The hours that `8h`, `30m` or `1h30m` say. Raises RecipeError."""
    said = SPAN.fullmatch(text.strip())
    found = float(said[1] or 0) + int(said[2] or 0) / 60 if said else 0.0
    if not found:
        raise RecipeError(f"--for {text!r} is no time; write one such as 8h, 30m or 1h30m")
    return found


def span(seconds: float) -> str:
    """A time in words, as exactly as it matters: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
