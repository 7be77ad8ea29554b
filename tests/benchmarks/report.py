"""The report of a big run: how long it takes to make, and how large the page is, whatever the target answers.

python -m tests.benchmarks.report [ATTEMPTS ...]
"""

import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from evals.benchmarks import against, score
from graph import measuring, report
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tests.benchmarks import memory as big
from tests.test_loop import RECIPE
from tools.records import BASE, Adapter, Attempt, Goal, StagePlan, Turn, Verdict

SIZES = (5_000, 20_000)
ITEMS = {"harm": 300, "harm_seen_ways": 150, "harm_adaptive": 120, "over_refusal": 250, "capability": 250}
CYCLES = 4
HOSTILE = {"": "", "HTML": "<img src=x onerror='alert(1)'>", "tags": "\U000e0041", "angles": "<"}
"""What all that is said is made of, over and over; words where it is nothing."""


def begun(folder: Path) -> Team:
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "goals.csv").write_text("text\nSteal\n", encoding="utf-8")
    sizes = [f"evals.{name}={n}" for name, n in ITEMS.items()]
    create(load(folder / "recipe.toml", ["goals.source=goals.csv", *sizes]), folder / "run")
    return team(str(folder / "run"))


def attacked(crew: Team, attempts: int, said: str = "") -> None:
    """So many attacks, judged by the run's own judges, in four cycles."""
    big.JUDGES, big.CYCLE = list(crew.labels_by), attempts // CYCLES
    crew.memory.add(big.goals())
    for batch in big.batches(attempts):
        crew.memory.add(filled(one, said) if said and isinstance(one, Attempt) else one for one in batch)
    for cycle in range(1, CYCLES + 1):
        crew.memory.event(cycle, "diagnose", "vulnerabilities", attempts=big.CYCLE, judged=big.CYCLE,
                          broke=big.CYCLE // 5, worst=[])  # fmt: skip


def filled(attempt: Attempt, said: str) -> Attempt:
    """The attempt with as many characters of something else."""
    turns = tuple(turn.model_copy(update={"text": (said * len(turn.text))[: len(turn.text)]}) for turn in attempt.turns)
    return attempt.model_copy(update={"turns": turns})


def measured(crew: Team) -> None:
    """The base and two candidates a cycle on every item, the last of them champion."""
    crew.memory.add(
        Goal(text=f"{intent} {n}", area="hate", intent=intent, source="made up", split="held_out")
        for intent in ("harmful", "twin", "plain") for n in range(300)
    )  # fmt: skip
    models = [BASE]
    for number in range(2 * CYCLES):
        plan = StagePlan(stage="sft", base="b", cycle=1 + number // 2, examples=str(number), rows=1, epochs=1, rate=1,
                         rank=1, batch=1, length=1, seed=0)  # fmt: skip
        made = Adapter(plan=plan.id, stage="sft", cycle=plan.cycle, path="none", loss_first=2, loss_last=1, steps=9)
        crew.memory.add([plan, made])
        models.append(made.id)
    banks = measuring.banks(crew)
    for model in models:
        for bank in banks.values():
            tried = [against(item, model).model_copy(update={"turns": (Turn(role="assistant", text="no " * 100),)})
                     for item in bank]  # fmt: skip
            crew.memory.add([one for a in tried for one in (a, Verdict(
                attempt=a.id, judge=crew.measures_by, harmful=a.seed % 2 == 0 and model == BASE, refusal="none",
                understood=True, severity=a.seed % 8))])  # fmt: skip
        crew.memory.add(score(name, model, found) for name, found in measuring.card(crew, model).items())
    crew.memory.event(CYCLES, "promote_gate", "choice", before=BASE, chosen=models[-1], why="safer", gain_high=0.1)


def main(sizes: list[int]) -> None:
    for attempts, (name, said) in product(sizes, HOSTILE.items()):
        with tempfile.TemporaryDirectory() as folder:
            crew = begun(Path(folder))
            attacked(crew, attempts, said)
            measured(crew)
            taken, worked = time.monotonic(), time.process_time()
            report.write(crew)
            taken, worked = time.monotonic() - taken, time.process_time() - worked
            files = {kind: (crew.run / f"report.{kind}").stat().st_size / 1e6 for kind in ("html", "json", "md")}
            told = ", ".join(f"{kind} {size:.2f} MB" for kind, size in files.items())
            of = f" of {name}" if name else ""
            print(f"{attempts:,} attempts{of}: made in {taken:.1f} s ({worked:.1f} s of CPU); {told}", flush=True)


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or list(SIZES))
