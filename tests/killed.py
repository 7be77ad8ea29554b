"""Runs `breakfix` and kills it with SIGKILL: `python killed.py DIARY NODE WRITES COMMAND...`.

It dies when NODE has written WRITES times to the memory, or, with WRITES -1, as soon as NODE ends: its work is done and
the checkpoint that says so is not. With NODE `nowhere` it lives. The diary gets a line for every attempt and verdict
that was made, and for every stage that was run, so that what was done twice can be seen.
"""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from graph import nodes
from graph.cli import main
from tools.memory import Memory
from tools.records import Attempt, Record, StagePlan, Verdict
from training import stages


def watch(diary: Path) -> None:
    """Has every finished attempt, verdict and stage written down, by id."""
    add, supervise = Memory.add, stages.supervise

    def note(what: str) -> None:
        with diary.open("a", encoding="utf-8") as file:
            file.write(what + "\n")

    def added(self: Memory, records: Iterable[Record]) -> None:
        kept = list(records)
        add(self, kept)
        for record in kept:
            if isinstance(record, Attempt | Verdict):
                note(record.id)

    def supervised(plan: StagePlan, *more: Any) -> None:
        supervise(plan, *more)
        note(f"{plan.stage} {plan.id}")

    Memory.add, stages.supervise = added, supervised  # type: ignore[method-assign]


def arm(name: str, writes: int) -> None:
    """Wraps the node, and while it runs the memory's ways of being written to."""
    inside, left = False, writes
    node, add, event = nodes.NODES[name], Memory.add, Memory.event

    def armed(state: Any, runtime: Any) -> Any:
        nonlocal inside
        inside = True
        changed = node(state, runtime)
        os.kill(os.getpid(), signal.SIGKILL)
        return changed

    def counted(write: Any) -> Any:
        def wrapped(self: Memory, *args: Any, **more: Any) -> None:
            nonlocal left
            write(self, *args, **more)
            left -= inside
            if inside and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    nodes.NODES[name] = armed
    Memory.add, Memory.event = counted(add), counted(event)  # type: ignore[method-assign]


def run(arguments: list[str]) -> NoReturn:
    watch(Path(arguments[0]))
    if arguments[1] != "nowhere":
        arm(arguments[1], int(arguments[2]))
    sys.exit(main(arguments[3:]))


if __name__ == "__main__":
    run(sys.argv[1:])
