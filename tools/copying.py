"""Copies of SQLite files: of one that may be in use, and of a memory as it was."""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tools.schema import GROWING

TRIES = 50
CACHE, PASSING = (f"pragma cache_size = {-kib}" for kib in (2000, 256))
"""SQLite's own, and what is enough where each page is looked at once."""


def copied(file: Path, to: Path | str) -> sqlite3.Connection:
    """A copy of an SQLite file as it is now; the file, and what SQLite keeps beside it, stay byte for byte as they are.

    Where no log lies beside it nobody has it open, and SQLite is told that nobody will, or it would make one; if
    somebody did all the same, the copy is made again. Else the log is read without a lock being written down
    (`readonly_shm`), which fails for the moment in which its owner begins it anew.
    """
    copy = sqlite3.connect(to)
    copy.execute(PASSING)
    for left in reversed(range(TRIES)):
        before, alone = file.stat().st_mtime_ns, not file.with_name(f"{file.name}-wal").exists()
        uri = f"{file.resolve().as_uri()}?mode=ro&{'immutable' if alone else 'readonly_shm'}=1"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as original:
                original.execute(PASSING)
                original.backup(copy)
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(0.02)
            continue
        if not alone or before == file.stat().st_mtime_ns:
            break
    copy.execute(CACHE)
    return copy


def tops(file: Path) -> dict[str, int]:
    """How far the tables of a memory are filled: the number of the last row of each. One that is being made may have
    none."""
    with closing(sqlite3.connect(file, timeout=60)) as memory:
        there = {name for (name,) in memory.execute("select name from sqlite_master where type = 'table'")}
        growing = [table for table in GROWING if table in there]
        last = {table: memory.execute(f"select max(rowid) from {table}").fetchone()[0] for table in growing}
    return {table: number for table, number in last.items() if number}


def copied_until(file: Path, to: Path, filled: Mapping[str, int]) -> None:
    """A copy of a memory without the rows that came after it was filled that far.

    What forbids the deleting in it is made again when it is opened as a memory.
    """
    with closing(copied(file, to)) as copy, copy:
        for table in GROWING:
            copy.execute(f"drop trigger if exists {table}_are_not_deleted")
            copy.execute(f"delete from {table} where rowid > ?", (filled.get(table, 0),))
