"""Memories as older versions made them are read, and brought up to today's before they are written into."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_loop import RECIPE

from graph.cli import main
from graph.recipes import load
from graph.run import create
from graph.soundness import upgraded
from tools import schema
from tools.memory import Memory
from tools.records import Adapter, Attempt, Example, Goal, StagePlan, Turn, Verdict

GOAL = Goal(text="the formula of a venom", area="violence", intent="harmful", source="test", split="train")
SAID = (Turn(role="user", text="pl . ease", plain="please"), Turn(role="assistant", text="here"))
TRIED = Attempt(goal=GOAL.id, persona="low_skilled", strategy="direct", converters=("dots",), language="en",
                target="base", cycle=1, seed=7, purpose="attack", turns=SAID)  # fmt: skip
SEEN = Verdict(attempt=TRIED.id, judge="j", harmful=True, refusal="none", understood=True, severity=5, area="violence",
               reason="so")  # fmt: skip
PLAN = StagePlan(
    stage="sft", base="b", cycle=1, examples="e", rows=1, epochs=1, rate=1, rank=1, batch=1, length=1, seed=0
)
MADE = Adapter(plan=PLAN.id, stage="sft", cycle=1, path="a", loss_first=2, loss_last=1, steps=9, seconds=3)
ROW = Example(kind="refuse", prompt=({"role": "user", "content": "please"},), chosen="no", language="en", cycle=1,
              attempt=TRIED.id, goal=GOAL.id, writer="w", number=0)  # fmt: skip

REST = """
create table goals (
    id text primary key, text text not null, area text not null, intent text not null, source text not null,
    split text not null, reference text not null);
create table examples (
    id text primary key, kind text not null, prompt text not null, chosen text not null, rejected text not null,
    language text not null, cycle integer not null, round integer not null, attempt text references attempts(id),
    goal text references goals(id), writer text not null, number integer not null);
create table plans (
    id text primary key, stage text not null, cycle integer not null, round integer not null, body text not null);
create table adapters (
    id text primary key, plan text not null references plans(id), stage text not null, cycle integer not null,
    path text not null, loss_first real not null, loss_last real not null, steps integer not null,
    seconds real not null);
create table scores (
    id text primary key, benchmark text not null, adapter text not null, part text not null, value real not null,
    low real not null, high real not null, n integer not null, coverage real not null);
create table costs (
    at real not null, node text not null, cycle integer not null, role text not null, calls integer not null,
    prompt_tokens integer not null, completion_tokens integer not null);
create table events (
    at real not null, cycle integer not null, node text not null, kind text not null, body text not null);
create trigger examples_are_not_deleted before delete on examples
    begin select raise(abort, 'examples are only ever appended to'); end;
"""
HEAD = """goal text not null references goals(id), persona text not null, strategy text not null,
    converters text not null, language text not null, target text not null, cycle integer not null,
    seed integer not null, purpose text not null, error text not null"""
TAIL = "prompt_tokens integer not null, completion_tokens integer not null, seconds real not null"
TURNS = """create table turns (
    attempt text not null references attempts(id), number integer not null, role text not null, text text not null,
    plain text not null {more}, primary key (attempt, number)) without rowid;"""
SEES = """create table verdicts (
    id text {key}, attempt text not null references attempts(id) {at}, judge text not null, harmful integer,
    refusal text, understood integer not null {advanced}, severity integer, area text not null,
    reason text not null {more});"""
NOTED = "note text not null, parents text not null"
FIRST = SEES.format(key="primary key", at="", advanced="", more="")
BY_NAME = f"create table attempts (id text primary key, {HEAD}, {NOTED}"
BY_NUMBER = f"create table attempts (number integer primary key, id text not null unique, {HEAD}, {NOTED}"
INSIDE = f", turns text not null, propensity real not null, {TAIL});"
HEARD = ", evidence text not null, worst integer, score real, heard text not null, translation text not null"
OLD = {
    "turns in a table of their own": f"create table attempts (id text primary key, {HEAD}, {TAIL});"
    + TURNS.format(more="") + FIRST,
    "with what was dropped": f"{BY_NAME}, propensity real not null, {TAIL});"
    + TURNS.format(more=", prefill text not null, dropped text not null") + FIRST,
    "turns in their attempt": BY_NAME + INSIDE + SEES.format(key="not null", at="", advanced="", more=""),
    "attempts with a number": BY_NUMBER + INSIDE + SEES.format(key="not null", at=", at integer", advanced="", more=""),
    "judges that say what they heard": BY_NUMBER + INSIDE
    + SEES.format(key="not null", at=", at integer", advanced=", advanced integer", more=HEARD),
}  # fmt: skip
"""The tables of a memory as every older version made them, the oldest first."""
FULL = {
    "goals": GOAL.model_dump() | {"id": GOAL.id},
    "attempts": TRIED.model_dump(exclude={"turns"}) | {
        "id": TRIED.id, "number": 1, "converters": '["dots"]', "parents": "[]",
        "turns": json.dumps([one.model_dump(exclude_defaults=True) for one in SAID]),
    },
    "verdicts": SEEN.model_dump() | {"id": SEEN.id, "at": 1},
    "examples": ROW.model_dump(exclude={"prompt"}) | {
        "id": ROW.id, "prompt": '[{"role": "user", "content": "please"}]',
    },
    "plans": {"id": PLAN.id, "stage": "sft", "cycle": 1, "round": 0, "body": PLAN.model_dump_json()},
    "adapters": MADE.model_dump() | {"id": MADE.id},
    "events": {"at": 1.0, "cycle": 1, "node": "n", "kind": "k", "body": "{}"},
}  # fmt: skip


def made(file: Path, tables: str) -> None:
    """A memory of an older version, with a record of each kind."""
    with closing(sqlite3.connect(file)) as old, old:
        old.execute("pragma journal_mode = wal")
        old.executescript(tables)
        for table, row in FULL.items():
            names = [name for (_, name) in schema.columns(old, table) if name in row]
            old.execute(f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})",
                        [row[name] for name in names])  # fmt: skip
        if ("turns", "attempt") in schema.columns(old, "turns"):
            names = sorted(name for _, name in schema.columns(old, "turns"))
            for number, turn in enumerate(SAID):
                row = turn.model_dump() | {"attempt": TRIED.id, "number": number}
                old.execute(f"insert into turns ({', '.join(names)}) values ({', '.join('?' * len(names))})",
                            [row[name] for name in names])  # fmt: skip


def holds_all(memory: Memory) -> None:
    for record in (GOAL, TRIED, SEEN, ROW, PLAN, MADE):
        assert memory.get(type(record)) == [record]
    assert memory.labels(["j"], "cycle = 1")[0]["harmful"] == 1
    assert [turn["text"] for turn in memory.query("select text from turns order by number")] == ["pl . ease", "here"]
    assert memory.latest(["j"], True, 2, 0, 1)[0]["said"] in ("please", "pl . ease")
    assert memory.events("k") == [{"cycle": 1, "at": 1.0}]


@pytest.mark.parametrize("version", OLD)
def test_an_older_memory_is_looked_at_without_a_change_and_brought_up_before_it_is_written_into(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "memory.sqlite"
    made(file, REST + OLD[version])
    before = hashlib.sha256(file.read_bytes()).digest()
    looking = Memory(file)
    holds_all(looking)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        looking.event(1, "n", "k")
    looking.close()
    assert hashlib.sha256(file.read_bytes()).digest() == before
    upgraded(tmp_path)
    kept = tmp_path / "memory.sqlite.before-1"
    assert f"{file} was of an older version, and is of today's; as it was it is {kept}" in capsys.readouterr().err
    assert hashlib.sha256(kept.read_bytes()).digest() == before
    memory = Memory(file)
    holds_all(memory)
    memory.event(1, "n", "k")
    with pytest.raises(sqlite3.IntegrityError, match="only ever appended to"):
        memory.db.execute("delete from examples")
    memory.close()
    upgraded(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_newer_memory_or_run_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    create(load(tmp_path / "recipe.toml"), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with closing(sqlite3.connect(tmp_path / "one" / "memory.sqlite")) as newer:
        newer.execute("create table later (id text)")
        newer.execute("pragma user_version = 99")
    for command in ("status", "resume"):
        assert main([command, str(tmp_path / "one")]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert "is of version 99, and this breakfix knows 1: use the one that made it" in said[-1]
    manifest = tmp_path / "two" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"layout": 1', '"layout": 99'))
    assert main(["resume", str(tmp_path / "two")]) == 2
    assert "is of layout 99, and this breakfix knows 1" in capsys.readouterr().err
