"""Runs that are sent SIGTERM in a node of one's choice: how long they take to end, and what they leave behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from graph import logs

ROOT = Path(__file__).parent.parent
STUCK = """
import sys, time
from graph.cli import main
from tools import engine
engine.Engine.generate = lambda *_, **more: time.sleep(600)
sys.exit(main())
"""
"""A target whose next answers take ten minutes, in a thread that nobody can end."""


def started(folder: Path, *command: str, stuck: bool = False) -> subprocess.Popen[bytes]:
    call = ["-c", STUCK] if stuck else ["-m", "graph.cli"]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, *call, *command], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said,
            stderr=said,
        )  # fmt: skip


def terminated(process: subprocess.Popen[bytes], when: Callable[[], bool]) -> tuple[float, list[int]]:
    """Waits for something, sends SIGTERM, and returns the seconds until the process is gone and what it left running.

    Raises AssertionError where it ends otherwise than stopped and resumable.
    """
    while not when():
        assert process.poll() is None, "it ended before"
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    lasted = time.monotonic() - began
    _, alive = psutil.wait_procs(children, timeout=3)
    assert code == 4, code
    return lasted, [one.pid for one in alive]


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
