"""Memories of every version: the tables as they are now, filled from those of an older one; a newer one is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

VERSION = 1
"""Of the tables of a memory, in SQLite's `user_version`. Those from before there was a number have 0."""
GROWING = ("goals", "attempts", "verdicts", "examples", "plans", "adapters", "scores", "costs", "events")
"""The tables of a memory. Their rows are numbered as they come and none is ever taken away."""
EMPTY = {
    ("attempts", "number"): "rowid", ("attempts", "note"): "''", ("attempts", "parents"): "'[]'",
    ("attempts", "propensity"): "0.0",
    ("verdicts", "at"): "(select number from main.attempts where id = own.attempt)",
    ("verdicts", "evidence"): "''", ("verdicts", "heard"): "''", ("verdicts", "translation"): "''",
    ("adapters", "within"): "0",
}  # fmt: skip
"""What is in a column that an older memory has not; in any other there is nothing."""


class Newer(ValueError):
    """A memory of a version that is not known here."""


def of(memory: sqlite3.Connection, file: Path) -> int:
    """The version of a memory's tables; of one that has none yet, today's. Raises Newer."""
    [number] = memory.execute("pragma user_version").fetchone()
    if number > VERSION:
        raise Newer(f"{file} is of version {number}, and this breakfix knows {VERSION}: use the one that made it, or a "
                    "newer one")  # fmt: skip
    names = {name for (name,) in memory.execute("select name from sqlite_master where type = 'table'")}
    begun = number == 0 and "adapters" in names
    return 0 if begun and ("adapters", "within") not in columns(memory, "adapters") else VERSION


def columns(memory: sqlite3.Connection, table: str, schema: str = "main") -> set[tuple[str, str]]:
    return {(table, row[1]) for row in memory.execute(f"pragma {schema}.table_info({table})")}


def filled(new: sqlite3.Connection, old: Path, tables: tuple[str, ...]) -> None:
    """Fills empty tables from those of an older memory; the rows keep their numbers."""
    new.execute("attach ? as old", (f"{old.resolve().as_uri()}?immutable=1",))
    there = {name for (name,) in new.execute("select name from old.sqlite_master where type = 'table'")}
    for table in tables:
        if table not in there:
            continue
        had = columns(new, table, "old")
        names = sorted(name for _, name in columns(new, table))
        empty = EMPTY | {("attempts", "turns"): turns(sorted(name for _, name in columns(new, "turns", "old")))}
        took = [f"own.{name}" if (table, name) in had else empty.get((table, name), "null") for name in names]
        new.execute(f"insert into {table} (rowid, {', '.join(names)}) select own.rowid, {', '.join(took)} "
                    f"from old.{table} own order by own.rowid")  # fmt: skip
    new.commit()
    new.execute("detach old")


def turns(had: list[str]) -> str:
    """A conversation's turns as one text, where they had a table of their own."""
    said = ", ".join(f"'{name}', {name}" for name in had if name not in ("attempt", "number"))
    return f"""(select json_group_array(json_object({said})) from (
        select * from old.turns where attempt = own.id order by number))"""


def older(file: Path) -> bool:
    """Whether a memory is of an older version. Raises Newer."""
    if not file.is_file():
        return False
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as memory:
        return of(memory, file) < VERSION
