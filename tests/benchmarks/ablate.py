"""An ablation killed twice and resumed, and the same one on Ray: every run's ids and scores, and how often the base was
measured. Run again, it goes on where it was stopped.

python -m tests.benchmarks.ablate [SEEDS]

Two judges by two writers on a tiny recipe. The first time all of its processes are killed while a run is trained; the
second time, the process of one run; then it goes on to the end. Then it runs on a local Ray with two workers.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from training.saving import DONE

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "tests" / "benchmarks" / "ablate.toml"
VARY = ["--vary", "agents.judge.dials.error=0.02,0.3", "--vary", "agents.writer.dials.error=0,0.5"]
TABLES = ("goals", "attempts", "verdicts", "examples", "plans", "adapters", "scores")
Numbers = dict[str, dict[str, list[str]]]


def begun(name: str, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "graph.cli", "ablate", str(RECIPE), *VARY, "--run", name, *more]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True)


def until(found: Callable[[], object], child: "subprocess.Popen[bytes]") -> bool:
    """Waits for something to be there; False where the process ended before that."""
    while not found():
        if child.poll() is not None:
            return False
        time.sleep(0.2)
    return True


def training(folder: Path) -> list[Path]:
    """The runs of which a stage is being trained."""
    return [spec.parent.parent.parent for spec in folder.glob("*/adapters/*/spec.json")
            if not (spec.parent / DONE).exists()]  # fmt: skip


def killed(name: str, *more: str) -> list[str]:
    """Runs an ablation to its end, killing all of it once and one run of it once; says what was killed."""
    folder, told, seen = Path("runs", name), list[str](), set[Path]()

    def new() -> list[Path]:
        return [run for run in training(folder) if run not in seen]

    child = begun(name, *more)
    if until(new, child):
        seen.update(new())
        os.killpg(child.pid, signal.SIGKILL)
        told.append(f"all processes, while {', '.join(run.name for run in seen)} was trained")
    child.wait()
    child = begun(name, *more)
    if until(new, child):
        run = new()[0]
        os.kill(int((run / "lock").read_text().split()[0]), signal.SIGKILL)
        told.append(f"the process of {run.name}, while it was trained: the ablation ended with {child.wait()}")
    child.wait()
    assert begun(name, *more).wait() == 0
    return told


def numbers(name: str) -> Numbers:
    """Every id and score of every run of an ablation, its measured bases left out."""
    found: Numbers = {}
    for file in sorted(Path("runs", name).glob("[!_]*/memory.sqlite")):
        memory = sqlite3.connect(file)
        some = {table: sorted(one for (one,) in memory.execute(f"select id from {table}")) for table in TABLES}
        sql = "select benchmark || ' ' || adapter || ' ' || part || ' ' || value || ' ' || n from scores"
        found[file.parent.name] = some | {"values": sorted(one for (one,) in memory.execute(sql))}
        memory.close()
    return found


def bases(name: str) -> dict[str, int]:
    """How often measuring the base began in all runs of a seed: a fork has its parent's beginning."""
    began: dict[str, set[float]] = {}
    for file in sorted(Path("runs", name).glob("*/memory.sqlite")):
        memory = sqlite3.connect(file)
        seed = file.parent.name.rpartition("-")[2]
        began.setdefault(seed, set()).update(
            at for (at,) in memory.execute("select at from events where node = 'baseline' and kind = 'began'")
        )
        memory.close()
    return {seed: len(times) for seed, times in began.items()}


def main(seeds: int) -> None:
    more = ("--seeds", str(seeds), "--jobs", "2")
    print(f"killed: {'; '.join(killed('ablate-here', *more)) or 'it was at its end before'}")
    one = numbers("ablate-here")
    print(f"here: {len(one)} runs; the base was measured, by seed: {bases('ablate-here')}", flush=True)
    assert begun("ablate-ray", *more, "--on", "ray").wait() == 0
    other = numbers("ablate-ray")
    print(f"on Ray: {len(other)} runs; the base was measured, by seed: {bases('ablate-ray')}")
    differ = [run for run in one | other if one.get(run) != other.get(run)]
    counts = {table: sum(len(some[table]) for some in one.values()) for table in (*TABLES, "values")}
    print(f"runs that differ in any id or score: {differ or 'none'}; compared were {counts}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
