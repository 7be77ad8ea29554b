"""Starting a run, going on with it, and stopping so that it can be gone on with."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from graph.config import Recipe, RecipeError
from graph.recipes import as_toml

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import StateSnapshot

THREAD: "RunnableConfig" = {"configurable": {"thread_id": "run"}, "recursion_limit": 100_000}
VERSIONED = ("torch", "transformers", "trl", "peft", "datasets", "langgraph", "langchain-core", "vllm", "breakfix")
LAYOUT = 1
"""Of a run's folder: another where what lies in it means something else."""
CACHE = 256
"""KiB of checkpoints' pages held in memory: they are written, and hardly read."""
LOOKS = 5
"""Times that a lock is looked at before it is taken for held."""
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false", "LANGGRAPH_STRICT_MSGPACK": "true",
    "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0",
}  # fmt: skip
"""Others' telemetry off, and OpenMP threads that wait without spinning; what the user set already stays."""


@dataclass(frozen=True)
class Standing:
    """Where a run is: `finished`, `waiting` at a gate, or `stopped` on the way."""

    state: str
    node: str
    values: dict[str, Any]
    gate: dict[str, Any]
    """What a gate shows; empty when the run waits at none."""


def create(recipe: Recipe, folder: Path) -> None:
    """Makes a run folder that only its owner can read. Raises RecipeError when it is there already."""
    with beginning(recipe, folder):
        pass


@contextmanager
def beginning(recipe: Recipe, folder: Path, **more: Any) -> Iterator[Path]:
    """The folder of a new run, still elsewhere, to put more into: it is there whole or not at all.

    `more` is for its manifest. Raises RecipeError when it is there already.
    """
    if folder.exists():
        raise RecipeError(
            f"{folder} is there already; `breakfix resume {folder}` goes on with it, another name makes another"
        )
    text = as_toml(recipe)
    manifest = {
        "layout": LAYOUT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": recipe.seed,
        "recipe": hashlib.sha256(text.encode()).hexdigest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": {name: found for name in VERSIONED if (found := installed(name))},
        "revision": revision(),
        **more,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        (made / "recipe.toml").write_text(text, encoding="utf-8")
        (made / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        yield made
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made)
        raise


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def revision() -> str:
    """The git revision of this code; empty outside a checkout."""
    here = Path(__file__).parent
    found = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the run for this process alone, until it ends, however it ends: the kernel lets go of what a dead one had.

    Raises RecipeError when another one has it.
    """
    with (folder / "lock").open("a+") as lock:
        for left in reversed(range(LOOKS)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise RecipeError(
                        f"{folder} is being run by process {who(lock)}; wait for it, or stop it"
                    ) from None
                time.sleep(0.05)  # somebody may only be looking
            except OSError as error:
                raise RecipeError(
                    f"{folder} lies where no file can be locked ({error.strerror}); keep runs on another disk"
                ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()} {platform.node()}")
        lock.flush()
        yield


def who(lock: IO[str]) -> str:
    """The process that is written in a lock; and its host, where that is another."""
    lock.seek(0)
    process, _, host = lock.read().strip().partition(" ")
    return process if host in ("", platform.node()) else f"{process} on {host}"


def holder(folder: Path) -> str:
    """The process that runs a run now; empty when none does."""
    if not (folder / "lock").is_file():
        return ""
    with (folder / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            return who(lock)


@contextmanager
def opened(folder: Path) -> "Iterator[CompiledStateGraph[Any, Any, Any, Any]]":
    """The graph of a run, on its own checkpoints."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from graph.build import build

    check(folder)
    with SqliteSaver.from_conn_string(str(folder / "state.sqlite")) as saver:
        saver.conn.execute(f"pragma cache_size = {-CACHE}")
        yield build(saver)


@contextmanager
def as_it_is(folder: Path) -> "Iterator[CompiledStateGraph[Any, Any, Any, Any]]":
    """The graph of a run on a copy of its checkpoints, to look at."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from graph.build import build
    from tools.copying import copied

    check(folder)
    file = folder / "state.sqlite"
    with closing(copied(file, ":memory:") if file.is_file() else sqlite3.connect(":memory:")) as copy:
        yield build(SqliteSaver(copy))


def check(folder: Path) -> None:
    """Raises RecipeError for a folder that holds no run, or a newer breakfix's."""
    if not (folder / "recipe.toml").is_file():
        raise RecipeError(f"{folder} is no run: no recipe.toml there; `ls runs` shows what there is")
    found = manifest(folder).get("layout", 0)
    if isinstance(found, int) and found > LAYOUT:
        raise RecipeError(f"{folder} is of layout {found}, and this breakfix knows {LAYOUT}: use the one that made it, "
                          "or a newer one")  # fmt: skip


def manifest(folder: Path) -> dict[str, Any]:
    """What a run was made by; empty where that is not known, for the file is lost or damaged."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def standing(graph: "CompiledStateGraph[Any, Any, Any, Any]") -> Standing:
    """Where the run is, from its last checkpoint.

    A node whose result was written, and the checkpoint after it was not, is no longer among those that come `next`.
    """
    snapshot: StateSnapshot = graph.get_state(THREAD)
    shown = next((dict(found.value) for task in snapshot.tasks for found in task.interrupts), {})
    node = next((task.name for task in snapshot.tasks), "")
    begun = bool(snapshot.values)
    state = "waiting" if shown else "stopped" if node or not begun else "finished"
    return Standing(state, node or ("" if begun else "baseline"), dict(snapshot.values), shown)


def advance(folder: Path, answer: dict[str, Any] | None = None, until: str = "") -> Standing:
    """Goes on with a run until it ends, waits at a gate, or has passed the node `until`, which may be `*` for any.

    `answer` is what a gate is told; where somebody has decided already, theirs counts. At a gate with a time limit the
    run stays until then. Ctrl-C leaves a run that can be gone on with.
    """
    from graph import logs, notifying, report
    from graph.mishaps import minded
    from graph.team import team

    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    with locked(folder), logs.kept(folder), notifying.failures(folder), minded(folder), opened(folder) as graph:
        now = standing(graph)
        while now.state == "stopped" or (now.state == "waiting" and (answer or decided(folder, now, until))):
            pass_on(graph, folder, now, answer, until)
            now, answer = standing(graph), None
            if now.state == "waiting":
                report.write(team(str(folder)))
            if until:
                break
        else:
            notifying.about(team(str(folder)), now)
        return now


def decided(folder: Path, now: Standing, until: str) -> bool:
    """Whether somebody has decided at the gate where a run waits, or does while it stays there."""
    from graph import gates, notifying
    from graph.team import team

    crew, place = team(str(folder)), gates.place_of(now.gate)
    there = gates.decision(crew.memory, place) is not None
    if there or until:
        return there
    notifying.about(crew, now)
    return gates.stay(crew, place)


def pass_on(
    graph: "CompiledStateGraph[Any, Any, Any, Any]", folder: Path, now: Standing, answer: dict[str, Any] | None,
    until: str,
) -> None:  # fmt: skip
    """Runs the nodes that come next, as far as the end, a gate or the node `until`."""
    from langgraph.types import Command

    from graph.history import filled
    from graph.remaining import left
    from graph.soundness import spared
    from graph.state import START
    from graph.team import team

    begin: Any = Command(resume=answer or "decided") if now.state == "waiting" else None
    if not now.values:
        begin = START | {"filled": filled(folder)}
    crew = team(str(folder))
    rule = crew.recipe.stop
    steps = graph.stream(
        begin, THREAD, context={"run": str(folder)}, stream_mode="tasks", durability="sync",
        interrupt_after="*" if until == "*" else [until] if until else None,
    )  # fmt: skip
    for step in steps:
        if isinstance(step, dict) and "input" in step:
            if step["name"] == "attack":
                spared(folder)
            name, cycle = step["name"], step["input"].get("cycle", 1)
            crew.watch(name, 0, 0, left(crew.memory, name, cycle, rule.cycles, rule.hours))
