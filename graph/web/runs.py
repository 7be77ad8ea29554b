"""The runs that a console shows, and where each stands: read without standing in its way."""

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graph import gates
from graph.commands import look
from graph.config import RecipeError
from graph.desk import champion
from graph.gates import Decision, Place
from graph.run import Standing, holder
from graph.team import Team, team
from tools.disk import logged
from tools.records import Score

LOG = "console.log"
"""What a run that a console goes on with has to say, in the run's folder."""
TAIL = 20_000
Stamp = list[tuple[int, int]]


class Where(NamedTuple):
    """Where a run is, for a page."""

    name: str
    state: str
    """`finished`, `waiting`, `decided` (a gate that nobody has passed since), `running` or `stopped`."""
    node: str
    cycle: int
    process: str
    gate: dict[str, Any]
    said: Decision | None
    """What was decided at the gate."""
    stopped: str

    @property
    def place(self) -> Place | None:
        return gates.place_of(self.gate) if self.gate else None


def found(places: Sequence[Path]) -> dict[str, Path]:
    """The runs among some folders and in them, by the names that they have in addresses."""
    runs: dict[str, Path] = {}
    for folder in dict.fromkeys(run for place in places for run in within(place)):
        name, number = folder.name, 1
        while name in runs:
            number += 1
            name = f"{folder.name}-{number}"
        runs[name] = folder
    return runs


def within(place: Path) -> Iterable[Path]:
    if (place / "recipe.toml").is_file():
        return [place]
    return [path.parent for path in sorted(place.glob("*/recipe.toml")) if not path.parent.name.startswith(".")]


class Standings:
    """Where runs stand, looked at again only when a run's checkpoints have changed."""

    def __init__(self) -> None:
        self.known: dict[Path, tuple[Stamp, Standing]] = {}
        self.lock = threading.Lock()

    def of(self, name: str, folder: Path) -> Where:
        with self.lock:
            now = self.standing(folder)
        process = running(folder)
        said = gates.decision(team(str(folder)).memory, gates.place_of(now.gate)) if now.gate else None
        state = "running" if process and (said or not now.gate) else "decided" if said else now.state
        values = now.values
        return Where(name, state, now.node, values.get("cycle", 1), process, now.gate, said, values.get("stopped", ""))

    def standing(self, folder: Path) -> Standing:
        now = stamp(folder)
        if folder not in self.known or self.known[folder][0] != now:
            self.known[folder] = now, look(folder)
        return self.known[folder][1]


def stamp(folder: Path) -> Stamp:
    """Another whenever a run's checkpoints are."""
    files = [folder / f"state.sqlite{end}" for end in ("", "-wal")]
    return [(one.stat().st_mtime_ns, one.stat().st_size) for one in files if one.exists()]


def running(folder: Path) -> str:
    """The process that runs a run; empty where none does.

    `holder` takes the run's lock to find out, and a process that starts at that moment would be turned away: so it is
    asked only where the process that last had the lock is alive.
    """
    lock = folder / "lock"
    process, _, host = lock.read_text().strip().partition(" ") if lock.is_file() else ("", "", "")
    gone = host in ("", platform.node()) and not (process.isdecimal() and alive(int(process)))
    return "" if gone else holder(folder)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def resume(folder: Path) -> None:
    """Goes on with a run in a process of its own, which outlives the console."""
    command = [sys.executable, "-P", "-m", "graph.cli", "resume", str(folder)]
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    threading.Thread(target=child.wait, daemon=True).start()


def harm(crew: Team) -> Score | None:
    """The champion's harm on held-out goals."""
    scores = crew.memory.get(Score, "adapter = ? and benchmark = 'harm' and part = ''", champion(crew))
    return scores[-1] if scores else None


def progress(crew: Team, where: Where) -> str:
    """How far the attack of a cycle is."""
    sql = "select count(*) as n from attempts where purpose = 'attack' and cycle = ?"
    [made] = crew.memory.query(sql, where.cycle)
    return f"{made['n']} of about {crew.recipe.attack.attempts} attacks of cycle {where.cycle} made"


def told(folder: Path, most: int = 12) -> list[dict[str, str]]:
    """The last things that a run's log says, the latest first."""
    lines = logged(tail(folder / "log.jsonl"))
    return [{name: str(one.get(name, "")) for name in ("at", "node", "what")} for one in lines[: -most - 1 : -1]]


def output(folder: Path) -> str:
    """What the last process that a console started had to say in the end."""
    return "\n".join(tail(folder / LOG)[-6:])


def tail(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read().decode(errors="replace").splitlines()


def named(places: Sequence[Path]) -> dict[str, Path]:
    """The same as `found`. Raises RecipeError where a folder is no run and holds none."""
    for place in places:
        if not list(within(place)):
            raise RecipeError(f"{place} is no run and holds none: no recipe.toml there; `ls runs` shows what there is")
    return found(places)
