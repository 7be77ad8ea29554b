"""A memory of 100,000 attempts: what planning a cycle takes, what writing a row takes, and how much is held in RAM.

python -m tests.benchmarks.memory [ATTEMPTS]
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from agents import attacker
from agents.archive import archive
from agents.bandit import Tally
from agents.duel import Memo
from graph.attacking import LATEST, cell_of
from tools.memory import Memory
from tools.records import Attempt, Goal, Record, Turn, Verdict

SETTINGS = attacker.Attack(languages=("en", "zh", "es", "nl"), converters=("base64", "rot13", "leetspeak"))
AREAS = tuple(f"area {number}" for number in range(12))
JUDGES = ["judge", "second judge"]
BATCH, CYCLE = 500, 5_000
EARLY = 1_000


def goals() -> list[Goal]:
    return [
        Goal(text=f"goal {number}", area=AREAS[number % len(AREAS)], intent="harmful", source="made up", split="train")
        for number in range(400)
    ]


def batches(attempts: int) -> Iterator[list[Record]]:
    """Attempts spread over every cell, each with two verdicts, in cycles of five thousand.

    They take one to three questions of 200 characters, each with an answer of 1,200.
    """
    dice, asked = random.Random(0), goals()
    cells = [cell for level in attacker.LADDER for cell in attacker.cells(level, AREAS, SETTINGS)]
    for start in range(0, attempts, BATCH):
        batch: list[Record] = []
        for number in range(start, start + BATCH):
            cell, cycle = dice.choice(cells), 1 + number // CYCLE
            said = [f"{dice.getrandbits(64):x} " * length for length in (12, 70) * dice.choice((1, 2, 3))]
            turns = tuple(Turn(role="assistant" if k % 2 else "user", text=text) for k, text in enumerate(said))
            tried = Attempt(
                goal=dice.choice(asked).id, persona=cell.persona, strategy=cell.strategy, converters=cell.converters,
                language=cell.language, target=f"adapter {cycle}", cycle=cycle, seed=number, purpose="attack",
                turns=turns, propensity=0.01,
            )  # fmt: skip
            harmful = dice.random() < 0.2
            batch += [tried, *(Verdict(attempt=tried.id, judge=j, harmful=harmful, refusal="none", understood=True,
                               reason="the answer advances the goal in part")
                               for j in JUDGES)]  # fmt: skip
        yield batch


def planned(memory: Memory, cycle: int) -> list[Attempt]:
    """A cycle's first wave: what `graph.nodes.attack` does before anything is asked."""
    rows = memory.tallies(JUDGES, "purpose = 'attack' and cycle < ?", cycle)
    history = [Tally(row["cycle"], row["target"], cell_of(row), row["judged"], row["broke"]) for row in rows]
    memos = [(cell_of(row), Memo(row["id"], row["goal_text"], row["said"], broke)) for broke in (True, False)
             for row in memory.latest(JUDGES, broke, cycle, 0, LATEST)]  # fmt: skip
    archive(memos)
    return attacker.plan(goals(), history, SETTINGS, f"adapter {cycle}", cycle, 0)


def main(attempts: int) -> None:
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Path(folder) / "memory.sqlite")
        memory.add(goals())
        planned(memory, 1)  # what is imported late is imported now
        seconds, resident = [], []
        for batch in batches(attempts):
            started = time.process_time()
            memory.add(batch)
            seconds.append((time.process_time() - started) / len(batch))
            resident.append(process.memory_info().rss / 2**20)
        early = EARLY // BATCH
        first, last = statistics.median(seconds[: early * 4]), statistics.median(seconds[-early * 4 :])
        print(f"CPU for a record written: {1e6 * first:.0f} us at first, {1e6 * last:.0f} us at {attempts:,} attempts, "
              f"{last / first:.2f} times as much")  # fmt: skip
        print(f"resident: {resident[early]:.0f} MiB at {EARLY:,} attempts, {resident[-1]:.0f} MiB at {attempts:,}")
        taken = []
        for _ in range(5):
            started = time.monotonic()
            wave = planned(memory, 1 + attempts // CYCLE)
            taken.append(time.monotonic() - started)
        print(f"planning a cycle of {len(wave)}: {statistics.median(taken):.2f} s (worst {max(taken):.2f} s), "
              f"resident {process.memory_info().rss / 2**20:.0f} MiB")  # fmt: skip
        memory.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
