"""Runs `breakfix` and kills it with SIGKILL: `python killed.py NODE WRITES COMMAND...`.

It dies when NODE has written WRITES times to the memory, or, with WRITES -1, as soon as NODE ends: its work is done and
the checkpoint that says so is not.
"""

import os
import signal
import sys
from typing import Any

from graph import nodes
from graph.cli import main
from tools.memory import Memory


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(name: str, writes: int) -> None:
    """Wraps the node, and while it runs the memory's ways of being written to."""
    inside, left = False, writes
    node, add, event = nodes.NODES[name], Memory.add, Memory.event

    def armed(state: Any, runtime: Any) -> Any:
        nonlocal inside
        inside = True
        changed = node(state, runtime)
        die()
        return changed

    def counted(write: Any) -> Any:
        def wrapped(self: Memory, *args: Any, **more: Any) -> None:
            nonlocal left
            write(self, *args, **more)
            left -= inside
            if inside and left == 0:
                die()

        return wrapped

    nodes.NODES[name] = armed
    Memory.add, Memory.event = counted(add), counted(event)  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
