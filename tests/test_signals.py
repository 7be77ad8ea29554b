"""A scheduler's SIGTERM ends a run within ten seconds, wherever it is, and leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import test_resume
from terminated import ANSWERS, LAST, ROOT, says, started, stops, terminated, trains

from graph import logs
from graph.signals import GRACE

RECIPE = test_resume.RECIPE.replace("items = 4", "items = 0").replace('lasting = ["tuned"]', "lasting = []")
GATED = 'gates = ["data"]\n[wait.data]\nminutes = 60\n' + RECIPE
SECONDS = 10.0


def dead() -> str:
    """A recipe whose measuring judge is at an endpoint where nobody listens."""
    return RECIPE.replace(
        'measuring_judge.model = "sandbox:oracle"',
        'measuring_judge = { model = "openai:nobody", base_url = "http://127.0.0.1:9/v1" }',
    )


@pytest.mark.parametrize("ignored", [False, True])
def test_a_process_that_has_put_all_down_leaves_at_once(ignored: bool) -> None:
    """Whatever Python would have had to let go of: here a thread that sleeps on. Also a job that a shell started in the
    background, which ignores SIGINT."""
    code = """
import sys, threading, time
from graph import cli
threading.Thread(target=time.sleep, args=(60,)).start()
cli.COMMANDS["resume"] = lambda asked: (print("in", flush=True), time.sleep(60))
sys.exit(cli.main(["resume", "x"]))
"""
    call = [*(["sh", "-c", "trap '' INT; exec \"$@\"", "sh"] if ignored else []), sys.executable, "-c", code]
    with subprocess.Popen(call, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 4
        assert time.monotonic() - began < GRACE


def test_sigterm_in_an_answer_that_takes_long_at_a_gate_in_a_stage_and_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(GATED)
    run = tmp_path / "runs" / "one"
    process = started(tmp_path, "run", "recipe.toml", "--run", "one", stuck=ANSWERS)
    lasted = [terminated(process, says(run, "begins", "baseline"))]
    lasted.append(terminated(started(tmp_path, "resume", str(run)), says(run, "waits", "data_gate")))
    lasted.append(terminated(started(tmp_path, "approve", str(run)), lambda: trains(run)))
    lasted.append(terminated(started(tmp_path, "resume", str(run), stuck=LAST), says(run, "begins", "report")))
    assert all(one.seconds < SECONDS and not one.left for one in lasted), lasted
    assert started(tmp_path, "resume", str(run)).wait() == 0
    assert [one["by"] for one in logs.lines(run) if one["what"] == "stopped"] == ["SIGTERM"] * 4
    assert list(stops(run)) == ["baseline", "data_gate", "train", "report"]


def test_sigterm_while_nobody_answers_at_an_endpoint(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(dead())
    run = tmp_path / "runs" / "one"
    process = started(tmp_path, "run", "recipe.toml", "--run", "one")
    ended = terminated(process, says(run, "endpoint does not answer", "baseline"))
    assert ended.seconds < SECONDS
    assert ended.left == []
