"""A long run: many cycles with tiny campaigns, and what each takes: memory, open files, checkpoints, time.

The machine's own speed changes by more than a run's length makes of it. So the last fifty cycles are made in turn with
those of a run that has just begun, in a process of its own, and compared pair by pair.

nice -n 19 python -m tests.benchmarks.long [CYCLES]

The sandbox's loop, whose stop never finds enough; SFT and DPO are real, of a few rows. CPU time is that of this process
without its stages, so that it can be measured beside other work, also node by node. What has been measured is kept in
runs/long/, and the same command goes on; where it was interrupted among the pairs there are none. Prints Markdown for
docs/measurements.md: means of ten cycles at the beginning, after fifty and at the end, and the slopes of the fifty, of
the rest and of all with their 95 % intervals; then the pairs; then what is held at most while all cycles are looked
through.
"""

import ctypes
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from ctypes.util import find_library
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from graph.history import Node
    from graph.state import Context, State

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]
from forked import forks, server  # noqa: E402

KEPT = Path("runs/long")
WARM, FIFTY = 5, 50
"""Cycles until all that is loaded once has been, and those after them that have slopes of their own."""
WHAT = {
    "rss": "resident memory, MB", "small": "in use by Python's small objects, MB", "pages": "in use by SQLite, MB",
    "malloc": "else in use by malloc, MB", "spare": "free, kept by Python, MB", "free": "free, kept by malloc, MB",
    "files": "open files", "state": "state.sqlite grows by, KB", "memory": "memory.sqlite grows by, KB",
    "seconds": "time of a cycle, s", "cpu": "CPU time without stages, s",
}  # fmt: skip
RECIPE = """
[target]
model = "sandbox:target"
max_tokens = 6
dials = {{ steps = 120 }}
[agents]
attacker.model = "sandbox:attacker"
judge = {{ model = "sandbox:judge", dials = {{ error = 0.4, seed = 1 }} }}
measuring_judge.model = "sandbox:oracle"
writer.model = "sandbox:writer"
trainer.model = "sandbox:trainer"
[goals]
train = 8
held_out = 8
final = 4
[attack]
attempts = 6
waves = 1
strategies = ["direct", "plead", "fiction"]
held_out_strategies = ["fiction"]
[evals]
harm = 2
harm_seen_ways = 2
harm_adaptive = 0
over_refusal = 2
capability = 2
final = 2
regressions = 4
[training]
batch = 4
threads = 1
most_rows = 12
dpo = {{ most_pairs = 4 }}
[stop]
cycles = {cycles}
target = 1e-9
delta = 1e-9
"""


def size(file: Path) -> float:
    """What an SQLite file holds, its log counted in, in KB."""
    with closing(sqlite3.connect(file)) as opened:
        pages, of = (opened.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return float(pages * of / 1024)


class Books(ctypes.Structure):
    """What malloc says of itself: glibc's `struct mallinfo2`, in bytes where it is no number of things."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "mapped", "usmblks",
                                                     "fsmblks", "used", "free", "keepcost")]  # fmt: skip


def held() -> dict[str, float]:
    """What is in use and what is free by the books of those that give memory out, in MB; NaN where they have none."""
    small, arenas = python()
    known = {"small": small, "spare": arenas - small}
    if not (asked := askable()):
        return known | dict.fromkeys(("pages", "malloc", "free"), math.nan)
    pages, books = asked[0]() / 1e6, asked[1]()
    return known | {"pages": pages, "malloc": (books.used + books.mapped) / 1e6 - pages, "free": books.free / 1e6}


@cache
def askable() -> tuple[Callable[[], int], Callable[[], Books]] | None:
    """What SQLite has in use, and malloc's books, where they say."""
    try:
        sqlite, malloc = ctypes.CDLL(find_library("sqlite3")).sqlite3_memory_used, ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    sqlite.restype, malloc.restype = ctypes.c_int64, Books
    return sqlite, malloc


def python() -> list[float]:
    """What Python's small objects take, and what it holds for them, in MB: it tells that to standard error alone."""
    with tempfile.TemporaryFile("w+") as told:
        shown = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(shown, 2)
            os.close(shown)
        told.seek(0)
        said = told.read().replace(",", "")
    found = (re.search(rf"{what}\s*=\s*(\d+)", said) for what in ("bytes in allocated blocks", "bytes/arena"))
    return [int(one[1]) / 1e6 if one else math.nan for one in found]


class Meter:
    """Told of progress; notes what there is whenever a cycle begins."""

    def __init__(self, run: Path, kept: Path, turn: Callable[[int], None]) -> None:
        self.run, self.file, self.turn, self.process = run, kept / "cycles.jsonl", turn, psutil.Process()
        self.last, self.began, self.nodes = time.process_time(), time.monotonic(), dict[str, float]()

    def timed(self, name: str, node: "Node") -> "Node":
        """The node, the CPU time that it takes counted."""

        def passed(state: "State", runtime: "Runtime[Context]") -> "State":
            began = time.process_time()
            try:
                return node(state, runtime)
            finally:
                self.nodes[name] = self.nodes.get(name, 0) + time.process_time() - began

        return passed

    def watch(self, node: str, done: int, total: int, note: str) -> None:
        if node != "attack" or total:
            return
        now, clock, number = time.process_time(), time.monotonic(), 1 + len(cycles(self.file.parent))
        seen = {"cycle": number, "process": os.getpid(), "rss": self.process.memory_info().rss / 1e6,
                **held(), "files": self.process.num_fds(), "state": size(self.run / "state.sqlite"),
                "memory": size(self.run / "memory.sqlite"), "cpu": now - self.last,
                "seconds": clock - self.began, "nodes": self.nodes}  # fmt: skip
        with self.file.open("a") as out:
            out.write(json.dumps(seen) + "\n")
        print(json.dumps(seen), file=sys.stderr, flush=True)
        self.turn(number)
        self.last, self.began, self.nodes = time.process_time(), time.monotonic(), {}


def cycles(kept: Path) -> list[dict[str, Any]]:
    file = kept / "cycles.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def beside(kept: Path, number: int, more: int) -> Iterator[Callable[[int], None]]:
    """What is called after each cycle: after that of this number and later ones, the young run makes one of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.long", "young", str(WARM + more), str(kept / "young")]
    ends, started = subprocess.PIPE, list[subprocess.Popen[str]]()

    def turn(made: int) -> None:
        if made < number:
            return
        if started:
            print(file=started[0].stdin, flush=True)
        else:
            started.append(subprocess.Popen(command, cwd=ROOT, stdin=ends, stdout=ends, text=True))
        if not started[0].stdout.readline():
            raise RuntimeError("the young run ended")

    try:
        yield turn
    finally:
        for one in started:
            one.kill()
            one.communicate()


def asked(made: int) -> None:
    """Of the young run: says that a cycle is made, and waits to be asked for another."""
    if made >= WARM:
        print(made, flush=True)
        if not sys.stdin.readline():
            os._exit(0)


def main(number: int = 50, kept: Path = KEPT, more: int = 0) -> list[dict[str, Any]]:
    """All cycles, `more` of them in turn with the young run's. The training stages of both are one server's forks."""
    kept.mkdir(parents=True, exist_ok=True)
    with server(kept), beside(kept, number, more) as turn:
        return through(number + more, kept, turn)


def through(number: int, kept: Path, turn: Callable[[int], None]) -> list[dict[str, Any]]:
    from graph import nodes
    from graph.recipes import load
    from graph.run import advance, create
    from graph.team import team

    kept.mkdir(parents=True, exist_ok=True)
    run = (kept / "run").resolve()
    if not run.exists():
        (kept / "recipe.toml").write_text(RECIPE.format(cycles=number))
        create(load(kept / "recipe.toml"), run)
    forks()
    meter = Meter(run, kept, turn)
    team(str(run)).watch = meter.watch
    nodes.NODES |= {name: meter.timed(name, node) for name, node in nodes.NODES.items()}
    advance(run)
    return cycles(kept)


def slope(values: Sequence[float]) -> tuple[float, float, float]:
    """By how much a value rises from one to the next, by least squares, with its 95 % interval."""
    from scipy.stats import linregress, t

    found = linregress(range(len(values)), values)
    wide = float(t.ppf(0.975, len(values) - 2) * found.stderr) if len(set(values)) > 1 else 0.0
    return float(found.slope), float(found.slope) - wide, float(found.slope) + wide


def pairs(old: Sequence[dict[str, Any]], young: Sequence[dict[str, Any]]) -> str:
    """The cycles that were made in turn, one of the old run's and one of the young one's."""
    from scipy.stats import t

    if any(len({one["process"] for one in some}) > 1 for some in (old, young)):
        return "There are no pairs: the command was interrupted among them."
    apart = old[0]["cycle"] - young[0]["cycle"]
    spans = (f"cycles {some[0]['cycle']} to {some[-1]['cycle']}" for some in (old, young))
    lines = [f"| in turn | {' | '.join(spans)} | one less the other | for each of {apart} cycles |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    both = list(zip(old, young, strict=True))
    columns = {WHAT[name]: [(one[name], other[name]) for one, other in both] for name in ("seconds", "cpu")}
    columns |= {f"{WHAT[name]}, less what writes the report": [(without(one, name), without(other, name))
                for one, other in both] for name in ("seconds", "cpu")}  # fmt: skip
    columns |= {f"of it, {node}": [(one["nodes"][node], other["nodes"][node]) for one, other in both]
                for node in young[0]["nodes"]}  # fmt: skip
    for said, values in columns.items():
        gaps, means = [one - other for one, other in values], map(fmean, zip(*values, strict=True))
        mean, wide = fmean(gaps), float(t.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / math.sqrt(len(gaps))
        shown = [("{:+.4f} [{:+.4f}, {:+.4f}]", 1), ("{:+.6f} [{:+.6f}, {:+.6f}]", apart)]
        ends = (form.format(*(end / by for end in (mean, mean - wide, mean + wide))) for form, by in shown)
        lines.append(f"| {' | '.join([said, *map('{:.3f}'.format, means), *ends])} |")
    return "\n".join(lines)


def without(one: dict[str, Any], name: str) -> float:
    """What a cycle took less its nodes that write the report, now and then, for half a second."""
    return float(one[name] - one["nodes"]["decide"] - one["nodes"]["promote"])


def table(found: Sequence[dict[str, Any]]) -> str:
    """Of all cycles but the first, in which what is loaded once was loaded: the fifty after them, and the rest."""
    end, last = min(WARM + FIFTY, len(found)), len(found)
    spans = f"cycles {WARM + 1} to {WARM + 10} | {end - 9} to {end} | {last - 9} to {last}"
    lines = [f"| what | {spans} | for each cycle, {WARM + 1} to {end} | {end + 1} to {last} | {WARM + 1} to {last} |",
             "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    columns = {said: [one[name] for one in found] for name, said in WHAT.items()}
    for said in (WHAT["state"], WHAT["memory"]):
        columns[said] = [0.0, *(after - before for before, after in pairwise(columns[said]))]
    columns |= {f"of it, {node}": [one["nodes"].get(node, 0.0) for one in found] for node in found[-1]["nodes"]}
    for said, values in columns.items():
        means = (f"{fmean(some):,.3f}" for some in (values[WARM : WARM + 10], values[end - 10 : end], values[-10:]))
        spans = (values[WARM:end], values[end:], values[WARM:])
        shown = ("{:+.4f} [{:+.4f}, {:+.4f}]".format(*slope(some)) if some[2:] else "" for some in spans)
        lines.append(f"| {' | '.join([said, *means, *shown])} |")
    return "\n".join(lines)


def peaks(number: int = 50, kept: Path = KEPT) -> str:
    """What this process holds at most while it looks through all cycles: for the rows, and for the report."""
    from graph import mixing, report
    from graph.desk import Desk, champion
    from graph.team import team

    crew, found = team(str((kept / "run").resolve())), dict[str, float]()
    for name, look in (("rows", lambda: mixing.staged(crew, number, 0)),
                       ("report", lambda: report.gathered(Desk(crew, champion(crew))))):  # fmt: skip
        look()  # what is loaded once is
        tracemalloc.start()
        look()
        found[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    return f"held at most by Python: {found['rows']:.1f} MB for the rows, {found['report']:.1f} MB for the report"


if __name__ == "__main__":
    if sys.argv[1:2] == ["young"]:
        through(int(sys.argv[2]), Path(sys.argv[3]), asked)
    else:
        wanted = int(sys.argv[1]) if sys.argv[1:] else 50
        found = main(wanted, more=FIFTY)[: wanted + FIFTY]
        young = cycles(KEPT / "young")[WARM:][:FIFTY]
        print(table(found[:wanted]), pairs(found[wanted:], young), peaks(wanted), sep="\n\n")
