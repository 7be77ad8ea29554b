"""Real processes, killed with SIGKILL in every node and inside a training stage, end as an undisturbed run does."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Forked, server

from graph.build import ORDER
from graph.history import points

ROOT = Path(__file__).parent.parent
RECIPE = """
[target]
model = "sandbox:target"
max_tokens = 16
dials = { steps = 120 }
[agents]
attacker.model = "sandbox:attacker"
judge = { model = "sandbox:judge", dials = { error = 0.4, seed = 1 } }
measuring_judge.model = "sandbox:oracle"
writer.model = "sandbox:writer"
trainer.model = "sandbox:trainer"
[goals]
train = 16
held_out = 16
final = 8
[attack]
attempts = 24
waves = 3
strategies = ["direct", "plead", "insist", "fiction", "pair", "crescendo"]
held_out_strategies = ["fiction"]
[evals]
harm = 16
harm_seen_ways = 8
harm_adaptive = 4
over_refusal = 8
capability = 8
final = 8
robustness = { items = 4, prefill = [0, 1, 2], repeats = 1, tries = 2 }
lasting = ["tuned"]
[training]
batch = 4
[stop]
cycles = 1
"""
KILLS = [
    ("baseline", 1), ("baseline", 3), ("baseline", -1), ("curate", -1), ("attack", 1), ("attack", 4), ("attack", -1),
    ("judge", 1), ("judge", -1), ("diagnose", -1), ("decide", 1), ("write", 1), ("write", -1), ("data_gate", -1),
    ("plan", 1), ("train_gate", -1), ("train", 1), ("measure", 1), ("measure", -1), ("promote_gate", 1),
    ("promote", -1), ("stop_gate", -1), ("report", 1), ("report", -1),
]  # fmt: skip
"""A node, and after how many writes in it the process dies; -1 is when its work is done and not yet checkpointed."""


NOWHERE = ("nowhere", 0)
DIARY = "diary.txt"


def breakfix(folder: Path, *command: str, killed: tuple[str, int] = NOWHERE) -> int:
    """The exit status of one command, run in a folder and killed where `killed` says."""
    told = ["killed", DIARY, killed[0], str(killed[1]), *command]
    with (folder / "said.txt").open("wb") as said, Forked(told, stderr=said, cwd=folder) as process:
        status = process.wait()
    assert status in (0, -signal.SIGKILL), (folder / "said.txt").read_text()[-2000:]
    return status


def ids(run: Path) -> dict[str, list[str]]:
    """Every id in a run's memory, by table, and every turn."""
    memory = sqlite3.connect(run / "memory.sqlite")
    tables = ("goals", "attempts", "verdicts", "examples", "plans", "adapters", "scores")
    found = {table: sorted(id for (id,) in memory.execute(f"select id from {table}")) for table in tables}
    found["turns"] = sorted(text for (text,) in memory.execute("select attempt || number || text from turns"))
    memory.close()
    return found


def done_twice(folder: Path) -> list[str]:
    """The attempts, verdicts and stages that the diary has more than once."""
    counts = Counter((folder / DIARY).read_text().splitlines())
    assert len(counts) > 100
    return [what for what, times in counts.items() if times > 1]


@pytest.fixture(scope="module", autouse=True)
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with server(tmp_path_factory.mktemp("waiting")):
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "recipe.toml").write_text(RECIPE)
    assert breakfix(folder, "run", "recipe.toml", "--run", "one") == 0
    assert done_twice(folder) == []
    return folder / "runs" / "one"


def test_a_run_killed_in_every_node_ends_with_the_same_ids_and_nothing_finished_done_twice(
    undisturbed: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    command = ["run", "recipe.toml", "--run", "one"]
    died = set()
    for kill in KILLS:
        if breakfix(tmp_path, *command, killed=kill) != 0:
            died.add(kill[0])
        command = ["resume", "runs/one"]
    assert died == set(ORDER)
    assert breakfix(tmp_path, "resume", "runs/one") == 0
    assert ids(tmp_path / "runs" / "one") == ids(undisturbed)
    assert done_twice(tmp_path) == []


def test_a_run_killed_inside_a_training_stage_goes_on_from_its_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    run = subprocess.Popen(
        [sys.executable, "-m", "graph.cli", "run", "recipe.toml", "--run", "one"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list((tmp_path / "runs" / "one").glob("adapters/*/*/checkpoint-*")) and run.poll() is None:
        time.sleep(0.02)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    [checkpoint] = (tmp_path / "runs" / "one").glob("adapters/*/*/checkpoint-*")
    assert breakfix(tmp_path, "resume", "runs/one") == 0
    assert f"going on from {checkpoint.name}" in (checkpoint.parents[1] / "log.txt").read_text()
    assert ids(tmp_path / "runs" / "one") == ids(undisturbed)


def test_a_fork_has_the_adapters_that_were_trained_by_then_and_they_measure_the_same(undisturbed: Path) -> None:
    at = next(point.number for point in points(undisturbed) if point.next == "measure")
    folder = undisturbed.parent.parent
    assert breakfix(folder, "fork", "runs/one", "--at", str(at), "--name", "two") == 0
    assert breakfix(folder, "resume", "runs/two") == 0
    assert ids(folder / "runs" / "two") == ids(undisturbed)
