"""A long run: many cycles with tiny campaigns, and what each takes: memory, open files, checkpoints, time.

nice -n 19 python -m tests.benchmarks.long [CYCLES]

The sandbox's loop, whose stop never finds enough; SFT and DPO are real, of a few rows. Time is the CPU time of this
process without its stages, so that it can be measured beside other work. What has been measured is kept in runs/long/,
and the same command goes on. Prints Markdown for docs/measurements.md: the means of the first and the last ten cycles,
and the slope for each cycle after the fifth with its 95 % interval.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]
from forked import forks, server  # noqa: E402

KEPT = Path("runs/long")
WARM = 5
"""Cycles until all that is loaded once has been."""
WHAT = {
    "rss": "resident memory, MB", "files": "open files", "state": "state.sqlite, KB", "memory": "memory.sqlite, KB",
    "cpu": "CPU time of a cycle, s",
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


class Meter:
    """Told of progress; notes what there is whenever a cycle begins."""

    def __init__(self, run: Path, kept: Path) -> None:
        self.run, self.file, self.process, self.last = run, kept / "cycles.jsonl", psutil.Process(), time.process_time()

    def watch(self, node: str, done: int, total: int, note: str) -> None:
        if node != "attack" or total:
            return
        now, number = time.process_time(), 1 + len(cycles(self.file.parent))
        seen = {"cycle": number, "process": os.getpid(), "rss": self.process.memory_info().rss / 1e6,
                "files": self.process.num_fds(), "state": size(self.run / "state.sqlite"),
                "memory": size(self.run / "memory.sqlite"), "cpu": now - self.last}  # fmt: skip
        self.last = now
        with self.file.open("a") as out:
            out.write(json.dumps(seen) + "\n")
        print(json.dumps(seen), file=sys.stderr, flush=True)


def cycles(kept: Path) -> list[dict[str, float]]:
    file = kept / "cycles.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main(number: int = 50, kept: Path = KEPT) -> list[dict[str, float]]:
    from graph.recipes import load
    from graph.run import advance, create
    from graph.team import team

    kept.mkdir(parents=True, exist_ok=True)
    run = (kept / "run").resolve()
    if not run.exists():
        (kept / "recipe.toml").write_text(RECIPE.format(cycles=number))
        create(load(kept / "recipe.toml"), run)
    with server(kept):
        forks()
        team(str(run)).watch = Meter(run, kept).watch
        advance(run)
    return cycles(kept)


def slope(values: Sequence[float]) -> tuple[float, float, float]:
    """By how much a value rises from one to the next, by least squares, with its 95 % interval."""
    from scipy.stats import linregress, t

    found = linregress(range(len(values)), values)
    wide = float(t.ppf(0.975, len(values) - 2) * found.stderr) if len(set(values)) > 1 else 0.0
    return float(found.slope), float(found.slope) - wide, float(found.slope) + wide


def table(found: Sequence[dict[str, float]]) -> str:
    """Of all cycles but the first, in which what is loaded once was loaded."""
    lines = ["| what | first ten | last ten | for each cycle |", "| --- | --- | --- | --- |"]
    for name, said in WHAT.items():
        values = [one[name] for one in found]
        rise, low, high = slope(values[WARM:])
        lines.append(f"| {said} | {fmean(values[1:11]):.1f} | {fmean(values[-10:]):.1f} | "
                     f"{rise:+.3f} [{low:+.3f}, {high:+.3f}] |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(main(*map(int, sys.argv[1:]))))
