"""The memory of a run: one SQLite file that is only ever appended to."""

import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tools import schema
from tools.copying import copied
from tools.records import Adapter, Attempt, Example, Goal, Record, Score, StagePlan, Verdict

R = TypeVar("R", bound=Record)

TABLES: dict[type[Record], str] = {
    Goal: "goals",
    Attempt: "attempts",
    Verdict: "verdicts",
    Example: "examples",
    StagePlan: "plans",
    Adapter: "adapters",
    Score: "scores",
}
PEOPLE = "judge >= 'human:' and judge < 'human;'"
"""A verdict that is a person's."""
MADE = "purpose <> 'measure'"
"""An attempt that is judged, and may be trained on: an attack or an import."""
ATTACKS = f"{MADE} and attempts.cycle = ?"
"""Those of a cycle."""
SCHEMA = f"""
create table if not exists goals (
    id text primary key, text text not null, area text not null, intent text not null, source text not null,
    split text not null, reference text not null);
create table if not exists attempts (
    number integer primary key, id text not null unique, goal text not null references goals(id),
    persona text not null, strategy text not null, converters text not null, language text not null,
    target text not null, cycle integer not null, seed integer not null, purpose text not null, error text not null,
    note text not null, parents text not null, turns text not null, propensity real not null,
    prompt_tokens integer not null, completion_tokens integer not null, seconds real not null);
create index if not exists attempts_by_cycle on attempts(purpose, cycle, seed);
create index if not exists attempts_by_target on attempts(target);
create index if not exists attacks_by_cycle on attempts(cycle) where {MADE};
create view if not exists turns as select attempts.id as attempt, said.key as number, said.value ->> 'role' as role,
    said.value ->> 'text' as text, coalesce(said.value ->> 'plain', '') as plain,
    coalesce(said.value ->> 'prefill', '') as prefill, coalesce(said.value ->> 'dropped', '') as dropped
    from attempts, json_each(attempts.turns) said;
create table if not exists verdicts (
    id text not null, attempt text not null references attempts(id), at integer, judge text not null, harmful integer,
    refusal text, understood integer not null, advanced integer, severity integer, area text not null,
    reason text not null, evidence text not null, worst integer, score real, heard text not null,
    translation text not null);
create unique index if not exists verdicts_by_attempt on verdicts(at, judge);
create index if not exists verdicts_of_people on verdicts(judge) where {PEOPLE};
create table if not exists examples (
    id text primary key, kind text not null, prompt text not null, chosen text not null, rejected text not null,
    language text not null, cycle integer not null, round integer not null, attempt text references attempts(id),
    goal text references goals(id), writer text not null, number integer not null);
create index if not exists examples_by_cycle on examples(cycle, round);
create table if not exists plans (
    id text primary key, stage text not null, cycle integer not null, round integer not null, body text not null);
create table if not exists adapters (
    id text primary key, plan text not null references plans(id), stage text not null, cycle integer not null,
    path text not null, loss_first real not null, loss_last real not null, steps integer not null,
    seconds real not null, within integer not null default 0);
create table if not exists scores (
    id text primary key, benchmark text not null, adapter text not null, part text not null, value real not null,
    low real not null, high real not null, n integer not null, coverage real not null);
create table if not exists costs (
    at real not null, node text not null, cycle integer not null, role text not null, calls integer not null,
    prompt_tokens integer not null, completion_tokens integer not null);
create table if not exists events (
    at real not null, cycle integer not null, node text not null, kind text not null, body text not null);
create index if not exists events_by_kind on events(kind, cycle);
create unique index if not exists decided_once on events(cycle, body ->> 'gate', body ->> 'round', body ->> 'look')
    where kind = 'gate';
create index if not exists goals_by_text on goals(lower(trim(text)));
create trigger if not exists no_example_from_a_hidden_goal before insert on examples
    when exists (select 1 from goals used join goals hidden on lower(trim(hidden.text)) = lower(trim(used.text))
        where hidden.split <> 'train' and used.id in (new.goal, (select goal from attempts where id = new.attempt)))
    begin select raise(abort, 'an example may not be made from a goal that is held out'); end;
"""
SAY = "select case when count(harmful) = {n} and min(harmful) = max(harmful) then min(harmful) end from verdicts v"
LABEL = f"""case when exists (select 1 from verdicts v where v.at = attempts.number and {PEOPLE})
    then ({SAY.format(n="count(*)")} where v.at = attempts.number and {PEOPLE})
    else ({SAY.format(n="?")} where v.at = attempts.number and v.judge in ({{judges}})) end"""
"""What people say of an attempt, or else what several judges agree on; null where they disagree, or one does not know.
The number of judges and their names are to be bound."""
CACHE, LOG = 16_000, 8_000
"""KiB of pages held in RAM, and pages of the log before they are put in their places: ids are hashes, so that rows go
all over their indices."""
NUMBERED = {"at": "(select number from attempts where id = ?)"}
"""A verdict has its attempt's number as well: an index by hash costs more to write the more there is in it."""
HEAD = ", ".join(f"attempts.{name}" for name in ("id", *Attempt.model_fields) if name != "turns")
APPEND_ONLY = """
create trigger if not exists {table}_are_not_{verb}d before {verb} on {table}
    begin select raise(abort, '{table} are only ever appended to'); end;
"""


class Memory:
    """What happened, by id. Adding a record that is there already does nothing; nothing is changed or deleted."""

    def __init__(self, path: Path) -> None:
        """Opens a memory, or begins one. One of an older version, or that cannot be written to, is for looking alone.

        Raises `schema.Newer`.
        """
        from sqlite_utils import Database

        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self._lock = threading.Lock()
        self._connection, looking = opened(path)
        self.db = Database(self._connection)
        self._connection.execute("pragma foreign_keys = on")
        self._connection.execute(f"pragma cache_size = {-CACHE}")
        if looking:
            self._connection.execute("pragma query_only = on")
            return
        self.db.enable_wal()
        self._connection.execute("pragma synchronous = normal")
        self._connection.execute(f"pragma wal_autocheckpoint = {LOG}")
        tables(self._connection)
        path.chmod(0o600)

    def close(self) -> None:
        self.db.close()

    def add(self, records: Iterable[Record]) -> None:
        """Appends records, all or none. Raises ValueError for an example made from a held-out or final goal."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            rows.setdefault(TABLES[type(record)], []).append(row_of(record))
        try:
            with self._lock, self.db.atomic():
                for table, some in rows.items():
                    self.db[table].insert_all(some, ignore=True, conversions=NUMBERED if table == "verdicts" else None)
        except sqlite3.IntegrityError as error:
            raise ValueError(str(error)) from error

    def event(self, cycle: int, node: str, kind: str, **body: Any) -> None:
        with self._lock, self.db.atomic():
            row = {"at": time.time(), "cycle": cycle, "node": node, "kind": kind, "body": json.dumps(body)}
            self.db["events"].insert(row)

    def events(self, kind: str, cycle: int | None = None) -> list[dict[str, Any]]:
        """The bodies of the events of a kind, oldest first, each with its `cycle` and `at`."""
        sql = "select at, cycle, body from events where kind = ? and (? is null or cycle = ?) order by rowid"
        with self._lock:
            return [told(row) for row in self.db.query(sql, (kind, cycle, cycle))]

    def by_cycle(self, kind: str) -> dict[int, dict[str, Any]]:
        """The last event of a kind in each cycle: a node that was killed after it wrote one writes another."""
        return {event["cycle"]: event for event in self.events(kind)}

    def last(self, kind: str) -> dict[str, Any]:
        """The newest event of a kind, as `events` has it; empty where there is none."""
        sql = "select at, cycle, body from events where rowid = (select max(rowid) from events where kind = ?)"
        return next(map(told, self.query(sql, kind)), {})

    def newest(self, table: str) -> int:
        """The number of the record that a table was last given; 0 while it has none."""
        return int(self.query(f"select coalesce(max(rowid), 0) as number from {table}")[0]["number"])

    def cost(self, node: str, cycle: int, role: str, calls: int, prompt_tokens: int, completion_tokens: int) -> None:
        with self._lock, self.db.atomic():
            self._connection.execute(
                "insert into costs values (?, ?, ?, ?, ?, ?, ?)",
                (time.time(), node, cycle, role, calls, prompt_tokens, completion_tokens),
            )

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """The rows of a select, as dicts."""
        with self._lock:
            return list(self.db.query(sql, values))

    def ids(self, kind: type[Record], where: str = "1", *values: object) -> set[str]:
        return {row["id"] for row in self.query(f"select id from {TABLES[kind]} where {where}", *values)}

    def get(self, kind: type[R], where: str = "1", *values: object) -> list[R]:
        """The records of a kind that meet `where` (SQL over its columns), in the order they were added.

        Each is made as it is read, so that rows and records are never all held at once. All share one set of the names
        of their fields: pydantic's own for each is nearly half of what a record takes.
        """
        records, given = list[R](), set(kind.model_fields)
        with self._lock:
            for row in self.db.query(f"select * from {TABLES[kind]} where {where} order by rowid", values):
                records.append(kind(**fields(kind, row)))
                object.__setattr__(records[-1], "__pydantic_fields_set__", given)
        return records

    def labels(self, judges: Sequence[str], where: str, *values: object) -> list[dict[str, Any]]:
        """Attempts that were held and meet `where`, without their turns, each with its goal's `area` and `harmful`.

        `harmful` is what all of `judges` say, or people in their place; None where one is undetermined or missing, or
        they disagree.
        """
        sql = f"""select {HEAD}, goals.area, {LABEL.format(judges=marks(judges))} as harmful
            from attempts join goals on goals.id = attempts.goal where {where} and error = '' order by attempts.rowid"""
        return unpacked(self.query(sql, len(judges), *judges, *values))

    def broken(self, judges: Sequence[str], where: str, *values: object) -> set[str]:
        """The attempts that were held, meet `where` and are harmful by what `labels` says."""
        sql = f"select id from attempts where {where} and error = '' and {LABEL.format(judges=marks(judges))} = 1"
        return {row["id"] for row in self.query(sql, *values, len(judges), *judges)}

    def tallies(self, judges: Sequence[str], where: str, *values: object) -> list[dict[str, Any]]:
        """How many attempts that meet `where` have a label, and how many of them broke their target, by cell."""
        cell = "cycle, target, area, persona, strategy, converters, language"
        sql = f"""select {cell}, count(harmful) as judged, total(harmful) as broke
            from (select {HEAD}, goals.area, {LABEL.format(judges=marks(judges))} as harmful
                from attempts join goals on goals.id = attempts.goal where {where} and error = '') group by {cell}"""
        return unpacked(self.query(sql, len(judges), *judges, *values))

    def said(self, where: str, *values: object) -> dict[str, list[str]]:
        """What the user said in the attempts that meet `where`, turn by turn, decoded and without what was dropped."""
        sql = f"""select attempt, case plain when '' then text else plain end as text from turns where role = 'user'
            and dropped = '' and attempt in (select id from attempts where {where}) order by attempt, number"""
        found: dict[str, list[str]] = {}
        for turn in self.query(sql, *values):
            found.setdefault(turn["attempt"], []).append(turn["text"])
        return found

    def latest(self, judges: Sequence[str], broke: bool, cycle: int, before: int, most: int) -> list[dict[str, Any]]:
        """The latest attacks that all of `judges` call harmful, or not, as `labels` has them, of the cycles before this
        one and of this one's with a lower seed: the cell of each, its goal's text and what the user `said` last."""
        sql = f"""select attempts.id, cycle, area, persona, strategy, converters, language, goals.text as goal_text,
                (select coalesce(nullif(value ->> 'plain', ''), value ->> 'text') from json_each(attempts.turns)
                    where value ->> 'role' = 'user' and coalesce(value ->> 'dropped', '') = ''
                    order by key desc limit 1) as said
            from attempts join goals on goals.id = attempts.goal
            where purpose = 'attack' and (cycle < ? or (cycle = ? and seed < ?)) and error = ''
                and {LABEL.format(judges=marks(judges))} = ? order by cycle desc, seed desc limit ?"""
        return unpacked(self.query(sql, cycle, cycle, before, len(judges), *judges, broke, most))


def opened(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection to a memory, and whether it is one to look through alone: then the file stays as it is."""
    if not path.exists() and not os.access(path.parent, os.W_OK):
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        tables(memory)
        return memory, True
    if path.exists() and not os.access(path, os.W_OK):
        alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{alone}", uri=True, check_same_thread=False), True
    if schema.older(path):
        memory = sqlite3.connect(":memory:", check_same_thread=False, uri=True)
        brought_up(path, memory)
        return memory, True
    return sqlite3.connect(path, check_same_thread=False, timeout=60), False


def tables(memory: sqlite3.Connection) -> None:
    """Makes the tables of a memory, where they are not there, and what forbids changes to them."""
    memory.executescript(SCHEMA)
    if memory.execute("pragma user_version").fetchone() == (0,):
        memory.execute(f"pragma user_version = {schema.VERSION}")
    for table in schema.GROWING:
        for verb in ("update", "delete"):
            memory.execute(APPEND_ONLY.format(table=table, verb=verb))


def brought_up(old: Path, memory: sqlite3.Connection) -> None:
    """Fills an empty memory from an older version's file, which stays as it is."""
    tables(memory)
    with tempfile.TemporaryDirectory() as scratch:
        copied(old, Path(scratch) / old.name).close()
        schema.filled(memory, Path(scratch) / old.name, schema.GROWING)


def marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an event, with its cycle and its time."""
    return {**json.loads(row["body"]), "cycle": row["cycle"], "at": row["at"]}


def unpacked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "converters": tuple(json.loads(row["converters"]))} for row in rows]


def row_of(record: Record) -> dict[str, Any]:
    """The row that holds a record."""
    row = {"id": record.id, **record.model_dump(mode="json", exclude={"turns"})}
    if isinstance(record, Attempt):
        said = [turn.model_dump(exclude_defaults=True) for turn in record.turns]
        row |= {"converters": json.dumps(record.converters), "parents": json.dumps(record.parents),
                "turns": json.dumps(said, ensure_ascii=False)}  # fmt: skip
    if isinstance(record, Verdict):
        row["at"] = record.attempt
    if isinstance(record, Example):
        row |= {"prompt": json.dumps(row["prompt"], ensure_ascii=False),
                "attempt": record.attempt or None, "goal": record.goal or None}  # fmt: skip
    if isinstance(record, StagePlan):
        row = {"id": record.id, "stage": record.stage, "cycle": record.cycle, "round": record.round,
               "body": record.model_dump_json()}  # fmt: skip
    return row


def fields(kind: type[Record], row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, from its row."""
    if kind is StagePlan:
        return dict(json.loads(row["body"]))
    known = kind.model_fields
    data = {key: value for key, value in row.items() if key in known}
    for column in ("converters", "parents", "prompt", "turns"):
        if column in data:
            data[column] = tuple(json.loads(data[column]))
    if kind is Example:
        data |= {"attempt": row["attempt"] or "", "goal": row["goal"] or ""}
    return data
