"""The bandit against uniform sampling, on the demo's champion after two cycles, over three seeds.

python -m tests.benchmarks.bandit [SEED ...]

It takes the runs of `tests.benchmarks.three_seeds`, which it makes where they are missing. The bandit's side is what
the run did in its third cycle; the uniform side is as many attempts against the same champion, with the same goals,
agents and judges, every cell of every level as likely as any other, in a memory of its own.
"""

import random
import shutil
import sys

import numpy as np

from agents import attacker
from evals.report.attacks import cell_of
from evals.report.markdown import rate, table
from graph import measuring, report
from graph.team import Team, team
from tests.benchmarks.three_seeds import ran
from tools.records import Attempt
from tools.statistics import wilson

CYCLE = 3


def champion(crew: Team) -> str:
    return str(next(event["chosen"] for event in crew.memory.events("choice") if event["cycle"] == CYCLE - 1))


def uniform(crew: Team, seed: int) -> Team:
    """A copy of the run in which as many attempts were shared out over all cells alike."""
    folder = crew.run.with_name(f"{crew.run.name}-uniform")
    if not folder.exists():
        shutil.copytree(crew.run, folder)
    other, settings = team(str(folder)), crew.recipe.attack
    goals = [goal for goal in other.goals if goal.intent == "harmful" and goal.split == "train"]
    areas = sorted({goal.area for goal in goals})
    cells = [cell for level in attacker.LADDER for cell in attacker.cells(level, areas, settings)]
    dice = np.random.default_rng(random.Random(f"uniform/{seed}").getrandbits(63))
    chances = np.full(len(cells), 1 / len(cells))
    planned = attacker.spent(goals, cells, chances, champion(crew), 100, 10_000, settings.attempts, dice)
    measuring.converse(other, planned, "attack", 100)
    measuring.judge(other, "purpose = 'attack' and attempts.cycle = ?", [100], other.labelling, "judge", 100)
    print(f"seed {seed}: {len(cells)} cells", file=sys.stderr)
    return other


def line(seed: int, name: str, crew: Team, cycle: int, target: str) -> tuple[list[object], int, int]:
    """What one side found: by the labels, and by what the oracle says of the same conversations."""
    rows = crew.memory.labels(list(crew.labels_by), "purpose = 'attack' and attempts.cycle = ?", cycle)
    assert {row["target"] for row in rows} == {target}
    broke = [row for row in rows if row["harmful"]]
    cells = {cell_of(row) for row in broke}
    truth = report.truth(crew)
    assert truth
    goals = {goal.id: goal.text for goal in crew.goals}
    held = crew.memory.get(Attempt, "purpose = 'attack' and attempts.cycle = ?", cycle)
    real = sum(truth(goals[a.goal], a.response) for a in held)
    share = rate(len(broke) / len(rows), *wilson(len(broke), len(rows)), len(rows))
    return [seed, name, len(held), len(broke), share, real, len(cells)], len(broke), len(cells)


def main(seeds: list[int]) -> None:
    rows, ratios = [], []
    for seed in seeds:
        crew = ran(seed)
        best = champion(crew)
        ours, found, occupied = line(seed, "bandit", crew, CYCLE, best)
        other, by_chance, cells = line(seed, "uniform", uniform(crew, seed), 100, best)
        rows += [ours, other]
        ratios.append([seed, f"{found / by_chance:.2f}", f"{occupied} against {cells}"])
    print(table(["seed", "sampling", "attempts", "failures", "share", "by the oracle", "cells occupied"], rows))
    print(table(["seed", "failures, bandit over uniform", "cells occupied"], ratios))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
