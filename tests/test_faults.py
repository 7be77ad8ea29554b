"""What fails at night is one line that says what mends it, and the run can be gone on with."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_loop import RECIPE

from graph import faults
from graph.recipes import load
from graph.run import create, locked
from graph.team import team
from tools import disk
from tools.memory import Memory

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    create(load(tmp_path / "recipe.toml"), tmp_path / "one")
    return tmp_path / "one"


def test_a_full_disk_is_one_line_with_the_folder_and_the_mend(run: Path) -> None:
    said = faults.line(OSError(errno.ENOSPC, "No space left on device"), run, True)
    assert said.startswith(f"the disk of {run} is full (")
    assert said.endswith(f"MB free); make room there, and `breakfix resume {run}` goes on where it was")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(12, "Cannot allocate memory")]
)
def test_a_process_without_memory_is_one_line_and_can_be_gone_on_with(run: Path, error: Exception) -> None:
    said = faults.line(error, run, True)
    assert said.startswith("there is too little memory for this process")
    assert said.endswith(f"`breakfix resume {run}` goes on where it was")


def test_sqlites_words_for_a_full_disk_are_known(run: Path) -> None:
    memory = team(str(run)).memory
    memory.db.execute("pragma max_page_count = 1")
    with pytest.raises(Exception, match="full") as told:
        memory.event(1, "n", "k", text="x" * 1_000_000)
    assert disk.trouble(told.value, run) == "full"
    memory.close()


def test_a_read_only_disk_is_known_whoever_met_it(run: Path) -> None:
    met = RuntimeError("could not save")
    met.__cause__ = OSError(30, "Read-only file system")
    assert disk.trouble(met, run) == "read-only"
    assert disk.trouble(ValueError("no such key"), run) == ""


def test_a_failure_is_told_where_the_folder_that_one_works_in_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "too little memory" in faults.line(MemoryError(), Path("runs/one"), True)
    assert "the disk of runs/one is full" in faults.line(OSError(errno.ENOSPC, "full"), Path("runs/one"), True)


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.json"

    def cut() -> Iterator[str]:
        yield "two"
        raise RecursionError

    disk.put(file, ["on", b"e"])
    with pytest.raises(RecursionError):
        disk.put(file, cut())
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


SMALL = """
set -e
mount -t tmpfs -o size=2m tmpfs "$1"
cp -r "$2" "$1/one"
cd "$1"
dd if=/dev/zero of=filler bs=4k status=none || true
set +e
python -m graph.cli resume one; echo "exit $?"
rm filler
mount -o remount,ro "$1"
python -m graph.cli resume one; echo "exit $?"
python -m graph.cli status one; echo "exit $?"
cd /; umount "$1"
"""


def mountable() -> bool:
    asked = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and not subprocess.run(asked, capture_output=True, check=False).returncode


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.skipif(not mountable(), reason="no disk can be mounted here: where users may have namespaces, one can")
def test_a_disk_that_is_full_and_one_that_is_read_only_stop_a_run_that_can_be_looked_at_all_the_same(
    run: Path, tmp_path: Path, begun: bool
) -> None:
    (tmp_path / "disk").mkdir()
    if begun:
        Memory(run / "memory.sqlite").close()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SMALL, "sh", str(tmp_path / "disk"), str(run)], text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("exit")] == ["exit 4", "exit 4", "exit 4"], done.stdout
    [full] = [line for line in lines if "is full" in line]
    assert "make room there, and `breakfix resume one` goes on where it was" in full
    [closed] = [line for line in lines if "read-only" in line]
    assert "have it mounted for writing, and `breakfix resume one` goes on where it was" in closed
    assert "one: stopped before baseline, cycle 1, champion base" in lines
    assert "Traceback" not in done.stdout


HOLDER = "import sys, time; from pathlib import Path; from graph.run import locked\n" \
         "with locked(Path(sys.argv[1])): print('mine', flush=True); time.sleep(600)"  # fmt: skip


def test_the_lock_of_a_killed_process_is_taken_over_and_that_of_a_living_one_is_not(run: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(Exception, match=f"is being run by process {other.pid}; wait for it"), locked(run):
            pass
        other.kill()
        other.wait()
    assert str(other.pid) in (run / "lock").read_text()
    with locked(run):
        assert str(os.getpid()) in (run / "lock").read_text()


def test_who_has_a_run_on_another_machine_is_named_with_it(run: Path) -> None:
    from graph.run import holder

    with locked(run):
        assert holder(run) == str(os.getpid())
        (run / "lock").write_text("12 elsewhere")
        assert holder(run) == "12 on elsewhere"
    assert holder(run) == ""
    shutil.rmtree(run)
