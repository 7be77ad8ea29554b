"""Whether what a run lies in is whole, and the last good state of it where it is not."""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from graph.config import RecipeError
from graph.history import STORES, Point, points
from tools import schema
from tools.copying import copied, copied_until, tops
from tools.disk import settle
from tools.memory import Memory, brought_up
from tools.records import Adapter
from training import stages
from training.checkpoints import Progress
from training.saving import whole

STATE, MEMORY, SPARE = "state.sqlite", "memory.sqlite", "state.sqlite.spare"
SAVED: dict[bool, tuple[str, ...]] = {True: ("checkpoints", "writes"), False: schema.GROWING}
"""The tables of the state, and of a memory."""


def mended(run: Path, watch: Callable[[str, int, int, str], None]) -> list[str]:
    """Has a run go on from its last good state where something in it is damaged, and says what was done.

    That is the last checkpoint of which every record is there: what came later is done again, under the same ids. What
    is damaged is kept beside, and an adapter is trained again from its rows. Raises RecipeError where nothing good is
    left.
    """
    broken = list(damaged(run))
    told = [f"{file.name} is damaged: {saved(file).name} is the file as it was" for file in broken]
    upgraded(run)
    if broken or not covered(run, latest(run)):
        told += back(run, broken, told)
    told += trained_again(run, watch)
    if told:
        with closing(Memory(run / MEMORY)) as memory:
            memory.event(latest(run).get("cycle", 0), "", "mended", what=told)
    for line in told:
        print(f"breakfix: {line}", file=sys.stderr)
    return told


def upgraded(run: Path) -> None:
    """Brings memories of an older version up to today's, where a command is about to write into them.

    Each as it was is kept beside. Raises `schema.Newer` for a newer one.
    """
    for file in filter(schema.older, stores(run)):
        kept = file.with_name(f"{file.name}.before-{schema.VERSION}")
        part = file.with_name(f"{file.name}.part")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part, uri=True)) as memory:
            brought_up(file, memory)
        part.chmod(0o600)
        settle(part)
        put_away(file, kept)
        part.replace(file)
        print(f"breakfix: {file} was of an older version, and is of today's; as it was it is {kept}", file=sys.stderr)


def stores(run: Path) -> list[Path]:
    return [file for pattern in STORES for file in sorted(run.glob(pattern))]


def damaged(run: Path) -> Iterator[Path]:
    """The SQLite files of a run that are not whole."""
    for file in (run / STATE, *stores(run)):
        if file.exists() and not sound(file):
            yield file


def sound(file: Path) -> bool:
    """Whether SQLite finds nothing wrong with a file."""
    try:
        with closing(sqlite3.connect(file, timeout=60)) as opened:
            return [row[0] for row in opened.execute("pragma quick_check")] == ["ok"]
    except sqlite3.OperationalError:  # the disk's fault, or whoever's has it open
        raise
    except sqlite3.DatabaseError:
        return False


def latest(run: Path) -> dict[str, Any]:
    """The values of a run's last checkpoint; none where it has not begun."""
    if not (run / STATE).is_file():
        return {}
    from langgraph.checkpoint.sqlite import SqliteSaver

    from graph.run import THREAD

    with SqliteSaver.from_conn_string(str(run / STATE)) as saver:
        last = next(iter(saver.list(THREAD, limit=1)), None)
    return dict(last.checkpoint["channel_values"]) if last else {}


def covered(run: Path, values: Mapping[str, Any], counted: bool = False) -> bool:
    """Whether a run's memories hold all that they did at a checkpoint; `counted`, one row for each number."""
    for store, filled in (values.get("filled") or {}).items():
        if not (run / store).is_file():
            return False
        last = tops(run / store)
        if any(last.get(table, 0) < top for table, top in filled.items()):
            return False
        if counted and gaps(run / store, filled):
            return False
    return True


def gaps(file: Path, filled: Mapping[str, int]) -> bool:
    with closing(sqlite3.connect(file, timeout=60)) as memory:
        return any(
            memory.execute(f"select count(*) from {table} where rowid <= ?", (top,)).fetchone()[0] < top
            for table, top in filled.items()
        )


def back(run: Path, broken: list[Path], told: list[str]) -> list[str]:
    """Takes a run back to its last checkpoint of which every record is there, and says how far that is."""
    known = points(run) if (run / STATE).is_file() else []
    if not known and (run / SPARE).is_file() and sound(run / SPARE):
        shutil.copy(run / SPARE, run / STATE)
        known = points(run)
    if not known and all(file.name == STATE for file in broken):
        return ["no checkpoint is left: the run begins anew, and does again nothing that its memory has"]
    worth = [one for one in known if one.filled != {} or len(known) == 1]  # the start alone is no state to go back to
    good = next((one for one in reversed(worth) if covered(run, one.values, bool(broken))), None)
    if good is None:
        lost = "; ".join(told) or f"records are missing in {MEMORY}"
        raise RecipeError(f"{run}: {lost}; no checkpoint is left whose records are all there: put the files back from "
                          f"a copy, or begin another run: `breakfix run {run / 'recipe.toml'} --run NAME`")  # fmt: skip
    for file in broken:
        if file.name != STATE:
            part = file.with_name(f"{file.name}.part")
            part.unlink(missing_ok=True)
            copied_until(file, part, (good.filled or {}).get(file.relative_to(run).as_posix(), {}))
            put_away(file, file.with_name(f"{file.name}.gone"))
            part.replace(file)
            file.with_name(f"{file.name}.gone").unlink()
    cut(run / STATE, good)
    where = f"before {good.next}" if good.next else "at its end"
    return [f"it goes on {where} in cycle {good.values.get('cycle', 1)}, whose records are all there"]


def spared(run: Path) -> None:
    """Copies the checkpoints of a run, for when they are lost."""
    part = run / f"{SPARE}.part"
    part.unlink(missing_ok=True)
    copied(run / STATE, part).close()
    settle(part)
    part.replace(run / SPARE)


def cut(state: Path, start: Point) -> None:
    """Makes a checkpoint the last one, of which nothing has come yet."""
    with closing(sqlite3.connect(state, timeout=60)) as opened, opened:
        opened.execute("delete from checkpoints where checkpoint_id > ?", (start.id,))
        opened.execute("delete from writes where checkpoint_id >= ?", (start.id,))


def saved(file: Path) -> Path:
    """Puts what can still be read of an SQLite file in its place, and returns where the file as it was is now."""
    names = (file.with_name(f"{file.name}.damaged-{number}") for number in range(1, 1000))
    kept = next(name for name in names if not name.exists())
    put_away(file, kept)
    if file.name == STATE:
        from langgraph.checkpoint.sqlite import SqliteSaver

        with SqliteSaver.from_conn_string(str(file)) as saver:
            saver.setup()
    else:
        Memory(file).close()
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(file)) as new, new:
        old.execute("pragma writable_schema = on")  # or SQLite reads nothing of a file that is shorter than it says
        for table in SAVED[file.name == STATE]:
            columns = ["rowid", *(row[1] for row in new.execute(f"pragma table_info({table})"))]
            all_of, places = ", ".join(columns), ", ".join("?" * len(columns))
            rows = readable(old, f"select {all_of} from {table} order by rowid")
            new.executemany(f"insert or ignore into {table} ({all_of}) values ({places})", rows)
    return kept


def put_away(file: Path, to: Path) -> None:
    """Renames an SQLite file, with its log."""
    for end in ("", "-wal"):
        with suppress(FileNotFoundError):
            file.with_name(f"{file.name}{end}").rename(to.with_name(f"{to.name}{end}"))
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)


def readable(opened: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """The rows before what is damaged, and those after it."""
    for order in ("", " desc"):
        try:
            yield from opened.execute(select + order)
        except sqlite3.DatabaseError:
            continue
        return


def trained_again(run: Path, watch: Callable[[str, int, int, str], None]) -> list[str]:
    """Trains each adapter again whose files are damaged, from the rows that lie beside it."""
    if not (run / MEMORY).is_file():
        return []
    with closing(Memory(run / MEMORY)) as memory:
        known = memory.get(Adapter)
    told = []
    for plan in dict.fromkeys(one.plan for one in known if not whole(run / one.path)):
        folder = run / "adapters" / plan

        def progress(seen: Progress, stage: str = plan) -> None:
            watch("train", seen.step, seen.steps, f"{stage} again, loss {seen.loss:.3f}")

        try:
            stages.again(folder, progress)
        except (OSError, ValueError) as error:
            raise RecipeError(f"the adapter in {folder} is damaged, and cannot be trained again as {error}; put the "
                              "folder back from a copy") from error  # fmt: skip
        told.append(f"the adapter in {folder} is damaged, and was trained again from its rows")
    return told
