"""A finished run of the whole loop, with a target and a trainer that behave, forked at every checkpoint."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_loop

from evals.harness import PREFIX
from graph import build, candidates
from graph.build import ORDER
from graph.cli import main
from graph.forking import fork
from graph.history import Point, filled, points
from graph.recipes import load
from graph.run import THREAD, Standing, advance, create, opened, standing
from graph.state import START
from graph.team import Team, team
from tools.memory import TABLES
from tools.records import BASE, Adapter, Score
from tools.sandbox.anchors import labelled

ROOT = Path(__file__).parent.parent
SETTINGS = (
    'attack={attempts=12, waves=2, strategies=["direct", "plead", "fiction"], held_out_strategies=["fiction"]}',
    "evals={harm=8, harm_seen_ways=4, harm_adaptive=0, over_refusal=8, capability=8, final=4, robustness={items=0}, "
    "lasting=[], anchors={harmful='labels.jsonl'}, suites=['sandbox'], suite_items=4}",
    "stop={cycles=1, hours=0.5}",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs: `parent` is finished, and no process has it open."""
    folder = tmp_path_factory.mktemp("forks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Team, "target", lambda self, adapter: test_loop.Town(adapter=adapter))
        patch.setattr(Team, "base", folder)
        patch.setattr(candidates.stages, "run_stage", test_loop.trained)
        (folder / "recipe.toml").write_text(test_loop.RECIPE)
        (folder / "labels.jsonl").write_text("".join(f"{one.model_dump_json()}\n" for one in labelled("harmful", 6)))
        create(load(folder / "recipe.toml", SETTINGS), folder / "parent")
        assert advance(folder / "parent").state == "finished"
        rest(folder / "parent")
        yield folder


def rest(run: Path) -> None:
    """Lets go of a run's memory, as a process does that ends."""
    team(str(run)).memory.close()
    team.cache_clear()


def hashes(run: Path) -> dict[str, tuple[str, int]]:
    """Every file in a folder, with what it holds and when it was last written to."""
    return {
        str(file.relative_to(run)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in run.rglob("*") if file.is_file()
    }  # fmt: skip


def ids(run: Path) -> dict[tuple[str, str], list[str]]:
    """Every id in every memory of a run, by table."""
    found = {}
    for file in (*run.glob("*.sqlite"), *run.glob("anchors/*.sqlite")):
        if file.name != "state.sqlite":
            memory = sqlite3.connect(file)
            found |= {
                (file.name, table): sorted(one for (one,) in memory.execute(f"select id from {table}"))
                for table in TABLES.values()
            }
            memory.close()
    return found


def came_of(run: Path, now: Standing) -> dict[str, Any]:
    """All that a run came to but times, what it cost, and how far its memory is filled: work is told of minute by
    minute."""
    scores = {score.id: score for score in team(str(run)).memory.get(Score)}
    return {"state": {**now.values, "filled": None}, "scores": scores, "ids": ids(run)}


def test_a_fork_at_each_node_ends_as_its_parent_did_which_stays_byte_for_byte_as_it_was(runs: Path) -> None:
    parent, before = runs / "parent", hashes(runs / "parent")
    with opened(Path(shutil.copytree(parent, runs / "same"))) as graph:
        expected = came_of(runs / "same", standing(graph))
    assert expected["state"]["champion"] != BASE
    assert {file for file, _ in expected["ids"]} >= {"memory.sqlite", "suites.sqlite"}
    seen = points(parent)
    assert {one.next for one in seen} == {*ORDER, ""}
    for one in seen:
        new = runs / f"fork-{one.number}"
        fork(parent, str(one.number), new, [])
        holds_nothing_later(new, one)
        now = advance(new)
        assert now.state == "finished"
        assert came_of(new, now) == expected
    assert hashes(parent) == before


def holds_nothing_later(new: Path, one: Point) -> None:
    """Its memories are filled as they were then, and so is its folder."""
    assert {store: tables for store, tables in filled(new).items() if tables} == (one.filled or {})
    assert [(point.number, point.id) for point in points(new)][-1] == (one.number, one.id)
    made = {adapter.path for adapter in team(str(new)).memory.get(Adapter)}
    assert {path.relative_to(new).as_posix() for path in new.glob("none/*")} == made
    assert len(made) == (2 if "measure" in {point.next for point in points(new)} else 0)


def test_a_fork_whose_recipe_is_changed_goes_another_way_from_there_on(runs: Path, capsys: Any) -> None:
    parent = runs / "parent"
    (before,) = [one for one in points(parent) if one.next == "promote_gate"]
    command = ["fork", str(parent), "--at", before.id[:13], "--name", "stricter", "--set", "gate.alpha=1e-9"]
    assert main(command) == 0
    new = runs / "stricter"
    assert f"begins where {parent} was before promote_gate, cycle 1; `breakfix resume {new}`" in capsys.readouterr().out
    manifest = json.loads((new / "manifest.json").read_text())
    assert (manifest["parent"], manifest["at"], manifest["set"]) == ("parent", before.id, ["gate.alpha=1e-9"])
    assert load(new / "recipe.toml").gate.alpha == 1e-9
    now = advance(new)
    assert (now.state, now.values["champion"]) == ("finished", BASE)
    crew = team(str(new))
    assert [event["chosen"] for event in crew.memory.events("choice")] == [BASE]
    assert len(crew.memory.events("final_opened")) == 1
    assert main(["report", str(new), str(shutil.copytree(parent, runs / "beside"))]) == 0
    assert "stricter" in (new / "compare.md").read_text()


def test_a_day_between_a_run_and_its_fork_is_not_taken_from_its_hours_nor_what_the_parent_did_later(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_400)
    parent = Path(shutil.copytree(runs / "parent", runs / "tired"))
    team(str(parent)).memory.event(1, "report", "worked", seconds=86_400)
    before = next(one for one in points(parent) if one.next == "decide")
    fork(parent, str(before.number), runs / "later", [])
    assert advance(runs / "later", until="decide").node == "write"


def test_a_gate_that_was_passed_after_the_checkpoint_is_asked_again(runs: Path) -> None:
    create(load(runs / "recipe.toml", [*SETTINGS, "gates=['data']"]), runs / "gated")
    assert advance(runs / "gated").gate["gate"] == "data"
    waiting = points(runs / "gated")[-1]
    advance(runs / "gated", {"approved": False, "why": "dull", "who": "me"})
    fork(runs / "gated", str(waiting.number), runs / "again", [])
    now = advance(runs / "again")
    assert (now.state, now.gate["gate"], now.gate["round"]) == ("waiting", "data", 0)
    assert advance(runs / "again", {"approved": True, "why": "", "who": "me"}).state == "finished"


HOLDER = """
import sys, time
from pathlib import Path
from graph.run import locked, opened
from tools.memory import Memory
run = Path(sys.argv[1])
with locked(run), opened(run) as graph:
    memory, number = Memory(run / "memory.sqlite"), 0
    while True:
        memory.event(9, "attack", "later", number=number)
        graph.update_state({"configurable": {"thread_id": "run"}}, {"broke": number}, as_node="report")
        number += 1
        print(number, flush=True)
"""


def test_a_run_that_another_process_goes_on_with_is_listed_and_forked_all_the_same(runs: Path) -> None:
    run = Path(shutil.copytree(runs / "parent", runs / "running"))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout is not None
            for number in range(4):
                holder.stdout.readline()
                seen = points(run)
                assert len(seen) > 20 + number
                fork(run, "12", runs / f"meanwhile-{number}", [])
                holds_nothing_later(runs / f"meanwhile-{number}", seen[11])
            assert holder.poll() is None
        finally:
            holder.kill()
    left = hashes(run)
    assert {"memory.sqlite-wal", "state.sqlite-wal"} <= left.keys()
    assert points(run)[-1].values["broke"] > 0
    fork(run, "20", runs / "of-the-killed", [])
    assert hashes(run) == left


def test_what_harness_and_lasting_left_goes_along_if_it_had_happened(runs: Path) -> None:
    run = runs / "partly"
    create(load(runs / "recipe.toml", SETTINGS), run)
    advance(run, until="baseline")
    known = Score(benchmark=f"{PREFIX}arc", adapter=BASE, value=1, low=0, high=1, n=1, coverage=1)
    team(str(run)).memory.add([known, known.model_copy(update={"part": "full"})])
    team(str(run)).memory.event(1, "report", "lasting", measured=[], why="")
    for place in ("lm_eval/base/quick/arc", "lm_eval/base/full/arc", "lm_eval/other/quick/arc", "lasting/x+merged"):
        (run / place).mkdir(parents=True)
        (run / place / "file").write_text(place)
    advance(run, until="curate")
    seconds = [one.at[:19] for one in points(run)]
    lines = [json.dumps({"at": f"{at}Z", "node": "curate"}) for at in (seconds[0], seconds[-1], "2999-01-01T00:00:00")]
    (run / "log.jsonl").write_text("\n".join([*lines, '{"at": "half']))
    fork(run, "2", runs / "without", [])
    fork(run, "3", runs / "with", [])
    found = {file.parent.relative_to(runs / "with").as_posix() for file in (runs / "with").rglob("file")}
    assert found == {"lm_eval/base/quick/arc", "lm_eval/base/full/arc", "lasting/x+merged"}
    assert not list((runs / "without").rglob("file"))
    assert (runs / "with" / "log.jsonl").read_text().splitlines() == lines[:2]


@pytest.mark.parametrize(("more", "named"), [
    (["--set", "seed=5"], "changes seed"), (["--set", "goals.train=9"], "changes goals"),
    (["--set", "evals.harm=9"], "changes the items of harm"), (["--set", "target.system=Be good"], "changes target"),
    (["--set", "agents.measuring_judge.dials={error=0.5}"], "changes agents.measuring_judge"),
    (["--set", "gate.alfa=1"], "gate.alfa"), (["--at", "99"], "--at '99' is none of the 21"),
    (["--at", "1f"], "--at '1f' is "), (["--name", "a/b"], "--name 'a/b' is no name"),
    (["--name", "parent"], "is there already"), (["--at", "21", "--set", "stop.cycles=2"], "is the end of"),
])  # fmt: skip
def test_what_cannot_be_forked_is_said_in_a_line_and_leaves_nothing_behind(
    more: list[str], named: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, parent = set(runs.iterdir()), str(runs / "parent")
    assert main(["fork", parent, "--at", "8", "--name", "new", *more]) == 2
    line = capsys.readouterr().err.strip()
    assert named in line
    assert "\n" not in line
    assert set(runs.iterdir()) == before


def test_a_run_from_before_it_was_noted_how_far_it_had_come_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "old"
    create(load(runs / "recipe.toml", SETTINGS), run)
    monkeypatch.setattr(build, "noted", lambda node: node)
    with opened(run) as graph:
        graph.invoke(START, THREAD, context={"run": str(run)}, interrupt_after=["baseline"])
    assert main(["fork", str(run), "--at", "2", "--name", "new"]) == 2
    assert "only a newer run can be forked" in capsys.readouterr().err
    assert main(["history", str(run)]) == 0


def test_the_history_is_told_without_waiting_for_torch(runs: Path) -> None:
    probe = "import sys; from graph.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", probe, "history", runs / "parent"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "promote_gate" in told


def test_the_history_is_a_line_for_each_checkpoint_or_data(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(runs / "parent"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["number"] for one in found] == list(range(1, 22))
    assert [one["next"] for one in found[:4]] == ["baseline", "curate", "attack", "judge"]
    assert found[0]["attempts"] == 0 < found[1]["attempts"] < found[-1]["attempts"]
    assert (found[0]["champion"], found[-1]["cycle"]) == (BASE, 2)
    assert main(["history", str(runs / "parent")]) == 0
    *lines, hint = capsys.readouterr().out.splitlines()
    assert len(lines) == 22
    assert all(one["id"][:13] in line for one, line in zip(found, lines[1:], strict=True))
    assert len({one["id"][:13] for one in found}) == 21
    assert "the end" in lines[-1]
    assert "breakfix fork" in hint
