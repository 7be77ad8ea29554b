"""What docs/night.md shows does what it says."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

NIGHT = (Path(__file__).parent.parent / "docs" / "night.md").read_text(encoding="utf-8")
BREAKFIX = """#!/bin/sh
echo "$*" >> said.txt
[ -n "$CODE" ] && exit $CODE
trap 'exit 4' TERM
sleep 20 & wait
"""


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", NIGHT, re.DOTALL)
    return str(found)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    for name, text in (("breakfix", BREAKFIX), ("scontrol", '#!/bin/sh\necho "scontrol $*" >> said.txt\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    (tmp_path / "job.sh").write_text(block("bash"))
    return tmp_path


def started(job: Path, code: str = "") -> subprocess.Popen[bytes]:
    env = os.environ | {"PATH": f"{job}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "CODE": code}
    return subprocess.Popen(["bash", "job.sh"], cwd=job, env=env)


def test_the_slurm_job_is_queued_again_after_sigterm_and_then_resumes(job: Path) -> None:
    process = started(job)
    while not (job / "said.txt").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 4
    (job / "runs" / "night").mkdir(parents=True)
    assert started(job, "0").wait(15) == 0
    first, requeued, then = (job / "said.txt").read_text().splitlines()
    assert first.startswith("run runs/phi3-mini.toml --run night")
    assert (requeued, then) == ("scontrol requeue 7", "resume runs/night")


@pytest.mark.parametrize("code", ["0", "1", "2", "3"])
def test_the_slurm_job_is_not_queued_again_where_it_is_over_or_a_person_is_needed(job: Path, code: str) -> None:
    assert started(job, code).wait(15) == int(code)
    assert "scontrol" not in (job / "said.txt").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    unit = tmp_path / "breakfix-night.service"
    unit.write_text(block("ini"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", unit], env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
    assert "breakfix resume" in unit.read_text()
