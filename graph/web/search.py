"""Searching all that was said in a run: an index of words in a file of its own, beside the memory that it reads."""

import json
import re
import sqlite3
import threading
from typing import Any, NamedTuple

from graph.team import Team
from tools.memory import LABEL, marks, unpacked

EACH = 50
BATCH = 1_000
FILE = "search.sqlite"
SPACED = r" \1 "
ALONE = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
"""Letters of languages that are written without spaces: each is a word here."""


class Found(NamedTuple):
    attempts: list[dict[str, Any]]
    more: bool
    """Whether there are more than these."""
    left: int
    """How many attempts are not in the index yet."""


class Search:
    """The index of one run. It grows by what the memory has got since, in the order in which that came."""

    def __init__(self, crew: Team) -> None:
        self.crew, self.lock = crew, threading.Lock()
        path = crew.run / FILE
        path.touch(0o600)
        self.db = sqlite3.connect(path, check_same_thread=False, timeout=60)
        self.db.row_factory = sqlite3.Row
        self.db.create_function("spaced", 2, spaced, deterministic=True)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("create virtual table if not exists said using fts5(text, content = '')")
        self.db.execute("attach ? as memory", (str(crew.memory.path),))

    def grow(self) -> int:
        """Puts the next attempts into the index, and says how many are left."""
        with self.lock, self.db:
            last = "select coalesce(max(rowid), 0) from said"
            self.db.execute(
                f"""insert into said (rowid, text) select number, spaced(goals.text, turns) from memory.attempts
                join memory.goals on goals.id = attempts.goal where number > ({last}) order by number limit {BATCH}"""
            )
            return int(self.db.execute(f"select count(*) from memory.attempts where number > ({last})").fetchone()[0])

    def catch_up(self) -> None:
        while self.grow():
            pass

    def find(self, words: str, wanted: dict[str, str], page: int) -> Found:
        """Attempts that hold all of some words, the latest first; of all where there are none."""
        left, judges = self.grow(), list(self.crew.labels_by)
        where, values = ["1"], list[object]()
        if asked := query(words):
            where, values = ["number in (select rowid from said where said match ?)"], [asked]
        for name, column in (("area", "goals.area"), ("way", "strategy"), ("language", "language")):
            if wanted.get(name):
                where.append(f"{column} = ?")
                values.append(wanted[name])
        outer = {"harmful": "harmful = 1", "harmless": "harmful = 0", "undetermined": "harmful is null"}
        sql = f"""select * from (select attempts.*, goals.text as goal_text, goals.area as area,
                {LABEL.format(judges=marks(judges))} as harmful from memory.attempts attempts
                join memory.goals goals on goals.id = attempts.goal where {" and ".join(where)})
            where {outer.get(wanted.get("verdict", ""), "1")} order by number desc limit {EACH + 1} offset ?"""
        with self.lock:
            rows = self.db.execute(sql, (len(judges), *judges, *values, page * EACH)).fetchall()
        return Found(unpacked([dict(row) for row in rows[:EACH]]), len(rows) > EACH, left)


def spaced(goal: str, turns: str) -> str:
    """What is found of an attempt: its goal and all that was said, also decoded."""
    said = [turn.get(name, "") for turn in json.loads(turns) for name in ("text", "plain")]
    return ALONE.sub(SPACED, "\n".join([goal, *said]))


def query(words: str) -> str:
    """What FTS5 is asked: every word, the last one also as the beginning of one."""
    known = [word.replace('"', '""') for word in words.split() if any(map(str.isalnum, word))]
    asked = [f'"{ALONE.sub(SPACED, word)}"' for word in known]
    return " ".join(asked) + "*" if asked else ""
