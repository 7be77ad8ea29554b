"""A line to whoever waits for a run: when it ends, waits at a gate or fails. It quotes nobody."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from graph import budgets, logs
from graph.team import Team, team

if TYPE_CHECKING:
    from graph.run import Standing

VARIABLE = "BREAKFIX_NOTIFY"
"""Environment variable: an address, or a command that gets the line as its last argument. A recipe names no program."""
LIMIT = 10.0
"""Seconds that it may take."""


def about(crew: Team, now: "Standing") -> None:
    """Tells of a run that has ended or waits at a gate; of each end and each stop at a gate once."""
    cycle = now.values.get("cycle", 1)
    if now.state == "finished":
        told(crew, "finished", f"finished in cycle {cycle}: {why(now.values.get('stopped', ''))}", cycle)
    elif now.state == "waiting":
        gate = now.gate
        how = f"waiting {gate['gate']} {gate['cycle']} {gate['round']} {gate.get('look', 0)}"
        told(crew, how, f"waits for you at the {gate['gate']} gate of cycle {gate['cycle']}", cycle)


@contextmanager
def failures(folder: Path) -> Iterator[None]:
    """Tells of a run that fails, and lets the error go up."""
    try:
        yield
    except Exception as error:
        if at(crew := team(str(folder))):
            line = f"failed: {type(error).__name__}; `breakfix why` says more, `breakfix resume` goes on"
            sent(crew, "failed", line, 0)
        raise


def why(stopped: str) -> str:
    """Why a run ended, without what a person wrote there."""
    return stopped if stopped.startswith(budgets.OVER) else re.split(r": | by ", stopped)[0]


def told(crew: Team, how: str, line: str, cycle: int) -> None:
    before = [event["how"] for event in crew.memory.events("notified")]
    if at(crew) and how not in before and sent(crew, how.partition(" ")[0], line, cycle):
        crew.memory.event(cycle, "notify", "notified", how=how)


def at(crew: Team) -> str:
    """Whom to tell: the environment's word counts, then the recipe's."""
    return os.environ.get(VARIABLE, "").strip() or crew.recipe.notify


def sent(crew: Team, state: str, line: str, cycle: int) -> bool:
    """Whether the line was taken within the time limit. Where it was not, that is a warning, and the run's end is as it
    was."""
    where, faults = at(crew), list[str]()
    text = f"breakfix {crew.run.name} {line}"
    body = {"text": text, "run": crew.run.name, "state": state, "cycle": cycle}
    thread = threading.Thread(target=lambda: faults.append(fault(where, text, body)), daemon=True)
    thread.start()
    thread.join(LIMIT)
    wrong = faults[0] if faults else f"no answer in {LIMIT:g} s"
    to = {"state": state, "to": urlsplit(where).hostname if address(where) else "a command"}
    if wrong:
        logs.LOG.warning("not notified", extra={"told": {**to, "why": wrong}})
        print(f"breakfix: nobody was notified: {wrong}", file=sys.stderr)
    else:
        logs.LOG.info("notified", extra={"told": to})
    return not wrong


def fault(where: str, text: str, body: dict[str, object]) -> str:
    """What went wrong when the line was sent, without the address; empty where nothing did."""
    try:
        if not address(where):
            done = subprocess.run([*shlex.split(where), text], timeout=LIMIT, capture_output=True, check=False)
            return f"the command ended with code {done.returncode}" if done.returncode else ""
        told = urllib.request.Request(  # noqa: S310
            where, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "breakfix"}
        )
        with urllib.request.urlopen(told, timeout=LIMIT):  # noqa: S310  # nosec B310
            return ""
    except urllib.error.HTTPError as error:
        return f"the address answers with status {error.code}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}, {getattr(error, 'strerror', None) or 'it cannot be reached'}"


def address(where: str) -> bool:
    return where.startswith(("http://", "https://"))
