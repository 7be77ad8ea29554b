"""A file of SQLite is copied without a trace, whether nobody has it open, somebody died with it, or somebody writes."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tools.copying import copied, copied_until, tops
from tools.memory import Memory
from tools.records import Goal

WRITER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("pragma wal_autocheckpoint = 20")
for number in range(1_000_000):
    file.execute("insert into said values (?, randomblob(2000))", (number,))
    file.commit()
    print(number, flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "one.sqlite")) as made:
        made.execute("pragma journal_mode = wal")
        made.execute("create table said (number, text)")
        made.execute("insert into said values (-1, 'first')")
        made.commit()
    return tmp_path / "one.sqlite"


def traces(file: Path) -> dict[str, tuple[bytes, int]]:
    return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in file.parent.iterdir()}


def numbers(file: Path) -> list[int]:
    with closing(copied(file, ":memory:")) as copy:
        assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
        return [number for (number,) in copy.execute("select number from said order by rowid")]


def test_of_a_file_that_nobody_has_open_nothing_is_left_beside_it(file: Path) -> None:
    before = traces(file)
    assert numbers(file) == [-1]
    assert traces(file) == before
    assert set(before) == {file.name}


def test_a_memory_that_is_being_made_is_not_filled_yet(file: Path) -> None:
    assert tops(file) == {}


def test_what_a_killed_process_left_in_its_log_is_read_and_stays_there(file: Path, tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    with closing(sqlite3.connect(file)) as killed:
        killed.execute("insert into said values (0, 'in the log')")
        killed.commit()
        for one in file.parent.glob(f"{file.name}*"):
            (tmp_path / "killed" / one.name).write_bytes(one.read_bytes())
    left = tmp_path / "killed" / file.name
    before = traces(left)
    assert numbers(left) == [-1, 0]
    assert traces(left) == before
    assert len(before) == 3


def test_a_file_that_another_process_writes_to_is_copied_whole_and_the_other_does_not_notice(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            last = -1
            for _ in range(400):
                written = int(writer.stdout.readline())
                seen = numbers(file)
                assert seen == list(range(-1, len(seen) - 1))
                assert seen[-1] >= max(written, last)
                last = seen[-1]
            assert writer.poll() is None
        finally:
            writer.kill()


def test_a_memory_is_copied_as_it_was_and_still_only_appended_to(tmp_path: Path) -> None:
    def goal(number: int) -> Goal:
        return Goal(text=f"goal {number}", area="violence", intent="harmful", source="mine", split="train")

    memory = Memory(tmp_path / "memory.sqlite")
    memory.add(map(goal, range(3)))
    memory.event(1, "attack", "one")
    was = tops(memory.path)
    memory.add(map(goal, range(1, 6)))
    memory.event(1, "attack", "two")
    copied_until(memory.path, tmp_path / "copy.sqlite", was)
    copy = Memory(tmp_path / "copy.sqlite")
    assert copy.ids(Goal) == {goal(number).id for number in range(3)}
    assert (len(copy.events("one")), copy.events("two")) == (1, [])
    assert tops(copy.path) == was == {"goals": 3, "events": 1}
    with pytest.raises(sqlite3.IntegrityError, match="only ever appended to"):
        copy.db.execute("delete from goals")
    assert len(memory.ids(Goal)) == 6
    memory.close()
    copy.close()
