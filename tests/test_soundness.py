"""Files that are damaged: a run goes on from its last good state, and ends with the records of one whose were not."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from test_loop import RECIPE

from graph import nodes
from graph.cli import main
from graph.commands import look
from graph.config import RecipeError
from graph.recipes import load
from graph.run import advance, create
from graph.state import START
from graph.team import team
from tools.memory import Memory
from tools.records import Goal


def node(name: str) -> Any:
    """Adds goals that fill pages, and goes through two cycles."""

    def passed(state: Any, runtime: Any) -> Any:
        cycle = state["cycle"]
        memory = team(runtime.context["run"]).memory
        texts = [f"{name} {cycle} {number} {'word ' * 80}" for number in range(10)]
        memory.add(Goal(text=text, area="a", intent="harmful", source="s", split="train") for text in texts)
        if name == "decide":
            return {"stopped": "enough" if cycle == 2 else ""}
        return {"baseline": START, "promote": {"cycle": cycle + 1}}.get(name, {})

    return passed


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run that stopped before its second cycle's `decide`."""
    for name in nodes.NODES:
        monkeypatch.setitem(nodes.NODES, name, node(name))
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    folder = tmp_path / "one"
    create(load(tmp_path / "recipe.toml"), folder)
    for until in ("promote", "diagnose"):
        advance(folder, until=until)
    forgotten(folder)
    yield folder
    forgotten(folder)


def forgotten(folder: Path) -> None:
    """Closes what this process has open of a run, as its end would."""
    with suppress(sqlite3.DatabaseError):
        team(str(folder)).memory.close()
    team.cache_clear()


def ended(folder: Path) -> list[str]:
    assert advance(folder).state == "finished"
    found = sorted(team(str(folder)).memory.ids(Goal))
    forgotten(folder)
    return found


@pytest.fixture
def undisturbed(run: Path, tmp_path: Path) -> list[str]:
    shutil.copytree(run, tmp_path / "other")
    return ended(tmp_path / "other")


def spoilt(file: Path, start: float, end: float = 1.0) -> None:
    """Overwrites a part of a file."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(int(size * start) // 4096 * 4096)
        opened.write(random.Random(0).randbytes(int(size * (end - start)) // 4096 * 4096))


@pytest.mark.parametrize("name", ["memory.sqlite", "state.sqlite"])
@pytest.mark.parametrize("harm", ["its end overwritten", "its middle overwritten", "cut short"])
def test_a_damaged_file_costs_no_record_and_is_kept(run: Path, undisturbed: list[str], name: str, harm: str) -> None:
    file = run / name
    if harm == "cut short":
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size * 3 // 4)
    else:
        spoilt(file, *((0.75, 1.0) if "end" in harm else (0.6, 0.7)))
    assert ended(run) == undisturbed
    with Memory(run / "memory.sqlite").db.conn as opened:
        assert opened.execute("pragma quick_check").fetchone() == ("ok",)
    [told] = Memory(run / "memory.sqlite").events("mended")
    assert f"{name} is damaged: {name}.damaged-1 is the file as it was" in told["what"]
    assert (run / f"{name}.damaged-1").exists()


@pytest.mark.parametrize(("spare", "said"), [(True, "it goes on before attack in cycle 2"), (False, "begins anew")])
def test_a_run_whose_checkpoints_are_all_lost_goes_on_from_a_copy_or_begins_anew_with_what_its_memory_has(
    run: Path, undisturbed: list[str], capsys: pytest.CaptureFixture[str], spare: bool, said: str
) -> None:
    (run / "state.sqlite").write_bytes(b"nothing" * 4000)
    if not spare:
        (run / "state.sqlite.spare").unlink()
    assert ended(run) == undisturbed
    assert said in capsys.readouterr().err


def test_records_that_the_last_checkpoint_knows_and_the_memory_lost_are_made_again(
    run: Path, undisturbed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "memory.sqlite", run.parent / "before.sqlite")
    advance(run, until="decide")
    forgotten(run)
    shutil.copy(run.parent / "before.sqlite", run / "memory.sqlite")
    assert ended(run) == undisturbed
    assert "it goes on before decide in cycle 2, whose records are all there" in capsys.readouterr().err


def test_where_nothing_good_is_left_one_line_names_the_file_and_the_mend(run: Path) -> None:
    spoilt(run / "memory.sqlite", 0)
    with pytest.raises(
        RecipeError, match=r"memory\.sqlite is damaged.*put the files back from a copy, or begin"
    ) as told:
        advance(run)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("number", range(1, 4))
def test_a_checkpoint_that_finds_no_room_is_made_when_there_is_some_again(
    run: Path, undisturbed: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    put, left = SqliteSaver.put, number

    def full(self: SqliteSaver, *more: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise OSError(28, "No space left on device")
        return put(self, *more)

    monkeypatch.setattr(SqliteSaver, "put", full)
    with pytest.raises(OSError, match="No space"):
        advance(run)
    assert look(run).state == "stopped"
    assert ended(run) == undisturbed


def test_whoever_looks_at_a_damaged_run_is_told_what_goes_on_with_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt(run / "memory.sqlite", 0)
    assert main(["status", str(run)]) == 4
    said = capsys.readouterr().err
    assert f"is damaged (file is not a database); `breakfix resume {run}` goes on from the last good state" in said
    assert "Traceback" not in said
