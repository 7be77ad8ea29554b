"""Where the runs of an ablation are run: here, as processes, or wherever Ray puts them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from graph.config import Recipe, RecipeError
from graph.run import QUIET
from training.loading import launched

WORDS = "ablate.log"
"""What the process of a run says, in the run's folder."""
RETRIES = 3
"""How often Ray goes on with a run that was killed."""
THREADS = "OMP_NUM_THREADS"
"""Ray sets it for its workers; sums that are made by another number of threads differ in the last digit."""


class Work(NamedTuple):
    """A run that is to be gone on with: until a node is passed, or to its end."""

    folder: Path
    until: str
    cards: int
    """GPUs that it wants."""


class Killed(RuntimeError):
    """The process of a run was killed: the run can be gone on with."""


class Place(Protocol):
    """Where runs are run."""

    def start(self, work: Work) -> None: ...

    def ended(self, seconds: float) -> Mapping[Path, str]:
        """The runs that ended since the last time, with their last words; waits as long for one."""

    def stop(self) -> None:
        """Ends what runs, so that it can be gone on with."""


class Here:
    """On this machine, some at once."""

    def __init__(self, jobs: int) -> None:
        self.pool, self.pending = ThreadPoolExecutor(jobs), dict[Future[str], Path]()
        self.children, self.over = set["subprocess.Popen[bytes]"](), threading.Event()

    def start(self, work: Work) -> None:
        self.pending[self.pool.submit(self.one, work)] = work.folder

    def one(self, work: Work) -> str:
        if self.over.is_set():
            return "stopped"
        try:
            return go(work.folder, work.until, dict(os.environ), self.children)
        except Killed as error:
            return str(error)

    def ended(self, seconds: float) -> dict[Path, str]:
        done, _ = wait(self.pending, seconds, FIRST_COMPLETED)
        return {self.pending.pop(one): one.result() for one in done}

    def stop(self) -> None:
        self.over.set()
        for child in tuple(self.children):
            child.terminate()
        self.pool.shutdown(cancel_futures=True)


class OnRay:
    """On a cluster of Ray's, or on one that it makes here with so many workers: it places, and goes on with what was
    killed. The runs' folder has to be on a disk that all its machines see, at the same path."""

    def __init__(self, address: str, jobs: int) -> None:
        os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
        import ray

        self.ray, self.pending = ray, dict[Any, Path]()
        here = {} if address else {"num_cpus": jobs, "include_dashboard": False}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="error", **here)
        except (ValueError, RuntimeError, OSError) as error:
            why = next(iter(str(error).splitlines()), "no cluster")
            raise RecipeError(f"--on ray:{address}: {why}; give HOST:PORT of a cluster's head, or none") from error
        self.task = ray.remote(on_worker)
        self.has_cards = bool(ray.cluster_resources().get("GPU"))

    def start(self, work: Work) -> None:
        task = self.task.options(num_cpus=1, num_gpus=work.cards if self.has_cards else 0, max_retries=RETRIES,
                                 retry_exceptions=[Killed])  # fmt: skip
        self.pending[task.remote(str(work.folder.resolve()), work.until, os.environ.get(THREADS, ""))] = work.folder

    def ended(self, seconds: float) -> dict[Path, str]:
        done, _ = self.ray.wait(list(self.pending), timeout=seconds)
        return {self.pending.pop(one): self.words(one) for one in done}

    def words(self, task: Any) -> str:
        try:
            return str(self.ray.get(task))
        except Exception as error:
            cause = getattr(error, "cause", None) or error
            return (str(cause).strip().splitlines() or [type(error).__name__])[-1]

    def stop(self) -> None:
        for one in self.pending:
            self.ray.cancel(one)
        if self.pending:
            self.ray.wait(list(self.pending), num_returns=len(self.pending), timeout=20)
        self.ray.shutdown()


def on_worker(folder: str, until: str, threads: str) -> str:
    """What Ray runs on one of its machines."""
    env = {name: value for name, value in os.environ.items() if name != THREADS}
    return go(Path(folder), until, env | ({THREADS: threads} if threads else {}), set())


def go(folder: Path, until: str, env: dict[str, str], children: "set[subprocess.Popen[bytes]]") -> str:
    """Goes on with a run in a process of its own, which ends when this one does; returns its last words.

    Raises Killed.
    """
    command = ["step", str(folder), "--until", until] if until else ["resume", str(folder)]
    with (folder / WORDS).open("ab") as log:
        before = log.tell()
        child = subprocess.Popen([sys.executable, "-P", "-m", "graph.arm", *command], stdin=subprocess.PIPE, stdout=log,
                                 stderr=log, env=env)  # fmt: skip
        children.add(child)
        try:
            child.wait()
        finally:
            child.terminate()
            child.wait()
            children.discard(child)
    said = (folder / WORDS).read_bytes()[before:].decode(errors="replace").split("\n")
    if child.returncode < 0:
        raise Killed(f"killed by signal {-child.returncode}")
    return next((line.strip()[:300] for line in reversed(said) if line.strip()), "it said nothing")


def cards(recipe: Recipe) -> int:
    """The GPUs that a run wants: as many as its target is served on, or accelerate trains on; none in the sandbox.

    Raises RecipeError for cards that are named, as Ray says which a run gets.
    """
    vllm = recipe.target.vllm
    for key, named in (("training.devices", recipe.training.devices), ("target.vllm.devices", vllm.devices)):
        if named:
            raise RecipeError(f"{key} = {named!r} names cards, and Ray says which a run gets; leave it out")
    if recipe.target.provider == "sandbox":
        return 0
    trained = launched(recipe.training.launch).num_processes if recipe.training.launch else 1
    return max(int(trained), vllm.tensor_parallel * vllm.data_parallel)


def place_of(on: str, jobs: int) -> Callable[[], Place]:
    """What makes the place that `--on` names; nothing is here. Raises RecipeError."""
    name, _, address = on.partition(":")
    if jobs < 1:
        raise RecipeError(f"--jobs {jobs}: give 1 or more")
    if not on:
        return lambda: Here(jobs)
    if name != "ray":
        raise RecipeError(f"--on {on!r} is no place; give ray, or ray:ADDRESS of a cluster")
    if find_spec("ray") is None:
        raise RecipeError("--on ray wants Ray, which is not installed: pip install 'breakfix[ray]'")
    return lambda: OnRay(address, jobs)
