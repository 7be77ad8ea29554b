"""Real ablations of two runs: killed and resumed, refused where they are changed, and the same on Ray."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_resume import RECIPE

from graph.cli import main
from graph.commands import FAILED, FINISHED, MISTAKE, RESUMABLE
from graph.config import RecipeError
from graph.placing import cards
from graph.recipes import load
from training.saving import DONE

ROOT = Path(__file__).parent.parent
VARY = ["--vary", "agents.judge.dials.error=0.4,0.45", "--seeds", "1"]
NAMES = ("error=0.4-0", "error=0.45-0")
SMALL = (
    "evals={harm=8, harm_seen_ways=0, harm_adaptive=0, over_refusal=4, capability=4, final=0, robustness={items=0}, "
    "lasting=[]}"
)


def started(folder: Path, *more: str) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-P",
        "-m",
        "graph.cli",
        "ablate",
        "recipe.toml",
        *VARY,
        "--set",
        SMALL,
        "--run",
        "one",
        *more,
    ]
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


def ended(folder: Path, *more: str) -> tuple[int, str]:
    child = started(folder, *more)
    _, said = child.communicate()
    return child.returncode, said


def wait(found: Callable[[], object], child: "subprocess.Popen[str]") -> None:
    while not found():
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)


def began(run: Path) -> list[float]:
    """When measuring the base of a run began: again after a kill."""
    memory = sqlite3.connect(run / "memory.sqlite")
    found = memory.execute("select at from events where node = 'baseline' and kind = 'began' order by at").fetchall()
    memory.close()
    return [at for (at,) in found]


def results(folder: Path) -> dict[str, list[tuple[str, str, float]]]:
    found = {}
    for name in NAMES:
        memory = sqlite3.connect(folder / "runs" / "one" / name / "memory.sqlite")
        found[name] = memory.execute("select benchmark, adapter, value from scores order by id").fetchall()
        memory.close()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ablation that was stopped, of which a run was killed, and that went on to its end."""
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "recipe.toml").write_text(RECIPE)
    runs = folder / "runs" / "one"
    first, second = (runs / name for name in NAMES)

    child = started(folder)
    wait((runs / "_base-0" / "memory.sqlite").exists, child)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()

    child = started(folder)
    wait(lambda: [*first.glob("adapters/*/spec.json")], child)
    os.kill(int((first / "lock").read_text().split()[0]), signal.SIGKILL)
    _, said = child.communicate()
    assert child.returncode == FAILED
    assert f"{NAMES[0]} did not finish: killed by signal 9; the same command tries it again" in said
    assert "1 of 2 runs are not finished" in (runs / "report.md").read_text()
    done = [*second.glob(f"adapters/*/{DONE}")]
    times = [file.stat().st_mtime_ns for file in done]

    code, said = ended(folder)
    assert code == FINISHED, said
    assert done
    assert [file.stat().st_mtime_ns for file in done] == times
    assert f"{NAMES[1]}: done" not in said
    return folder


def test_an_ablation_killed_as_a_whole_and_in_one_run_goes_on_to_one_report_on_a_base_measured_once(
    finished: Path,
) -> None:
    runs = finished / "runs" / "one"
    assert began(runs / NAMES[0]) == began(runs / NAMES[1]) == began(runs / "_base-0") != []
    report = (runs / "report.md").read_text()
    assert "2 of 2 runs are finished" in report
    assert "The base was measured 1 times for 2 runs" in report
    assert (runs / "report.html").is_file()


def test_a_plan_that_was_changed_is_refused_under_the_same_name_and_one_that_grew_is_not(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    command = ["ablate", "recipe.toml", *VARY, "--run", "one"]
    assert main([*command, "--set", SMALL, "--set", "attack.attempts=9"]) == MISTAKE
    assert "was begun with another attack; ask as before" in capsys.readouterr().err
    assert main(["ablate", "recipe.toml", "--vary", "training.rank=8,16", "--run", "one", "--set", SMALL]) == MISTAKE
    assert "holds the run error=0.4-0, which this ablation has not" in capsys.readouterr().err
    assert main([*command, "--set", SMALL]) == FINISHED


def test_one_that_is_stopped_by_a_signal_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    child = started(tmp_path)
    wait((tmp_path / "runs" / "one" / "_base-0" / "log.jsonl").exists, child)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate()
    assert child.returncode == RESUMABLE
    assert "the same command goes on" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--on", "mars"], "'mars' is no place"),
        (["--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--seeds", "0"], "--seeds 0: give 1 or more"),
        (["--run", "a/b"], "is no name"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", "recipe.toml", "--vary", "training.rank=8,16", *more]) == MISTAKE
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_cards_that_a_run_wants_are_counted_from_its_recipe_and_may_not_be_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "four.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 4\n")
    assert cards(load(tmp_path / "recipe.toml")) == 0
    served = ["target.model=hf:some", "target.dials={}"]
    assert cards(load(tmp_path / "recipe.toml", served)) == 1
    assert cards(load(tmp_path / "recipe.toml", [*served, "training.launch=four.yaml"])) == 4
    assert cards(load(tmp_path / "recipe.toml", [*served, "target.vllm={tensor_parallel=2, data_parallel=3}"])) == 6
    with pytest.raises(RecipeError, match="names cards, and Ray says which"):
        cards(load(tmp_path / "recipe.toml", [*served, "training.devices=0,1"]))


def test_on_a_local_ray_an_ablation_comes_to_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'breakfix[ray]'")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    code, said = ended(tmp_path, "--on", "ray", "--jobs", "2")
    assert code == FINISHED, said
    assert results(tmp_path) == results(finished)
