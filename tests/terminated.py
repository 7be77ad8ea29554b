"""Runs that are sent SIGTERM in a node of one's choice: how long they take to end, and what they leave behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from graph import logs

ROOT = Path(__file__).parent.parent
STUCK = """
import operator, sys, time
from graph import finishing
from graph.cli import main
from tools import engine
place, _, name = sys.argv.pop(1).rpartition(".")
setattr(operator.attrgetter(place)(sys.modules[__name__]), name, lambda *_, **more: time.sleep(600))
sys.exit(main())
"""
"""A process in which something takes ten minutes, wherever that is done."""
ANSWERS, LAST = "engine.Engine.generate", "finishing.measure"
"""The target's next answers, in a thread that nobody can end; and what is measured before the report."""


def started(folder: Path, *command: str, stuck: str = "") -> subprocess.Popen[bytes]:
    """A process of ours; `stuck` is what takes ten minutes in it."""
    call = ["-c", STUCK, stuck] if stuck else ["-m", "graph.cli"]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, *call, *command], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said,
            stderr=said,
        )  # fmt: skip


class Ended(NamedTuple):
    """How a process ended that was sent SIGTERM."""

    seconds: float
    cpu: float
    """Seconds of a core that it took for that: what is left of a busy machine."""
    left: list[int]
    """The processes that it left running."""


def terminated(process: subprocess.Popen[bytes], when: Callable[[], bool]) -> Ended:
    """Waits for something, sends SIGTERM, and waits until the process is gone.

    Raises AssertionError where it ends otherwise than stopped and resumable.
    """
    while not when():
        assert process.poll() is None, "it ended before"
        time.sleep(0.02)
    one = psutil.Process(process.pid)
    children, before = one.children(recursive=True), one.cpu_times()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(process.pid, 0)
    lasted, process.returncode = time.monotonic() - began, os.waitstatus_to_exitcode(status)
    _, alive = psutil.wait_procs(children, timeout=3)
    assert process.returncode == 4, process.returncode
    cpu = used.ru_utime + used.ru_stime - before.user - before.system - before.children_user - before.children_system
    return Ended(lasted, cpu, [child.pid for child in alive])


def says(run: Path, what: str, node: str = "", after: int = 0) -> Callable[[], bool]:
    """Whether the log of a run has said something, in a node or any, in a line after so many."""

    def said() -> bool:
        lines = logs.lines(run)[after:]
        return any(one["what"] == what and node in ("", one.get("node")) for one in lines)

    return said


def trains(run: Path) -> bool:
    """Whether a stage of training has taken a step."""
    return any(run.glob("adapters/*/curve.jsonl"))


def stops(run: Path) -> Sequence[str]:
    """The nodes in which a run was stopped, in order."""
    return [one.get("node", "") for one in logs.lines(run) if one["what"] == "stopped"]
