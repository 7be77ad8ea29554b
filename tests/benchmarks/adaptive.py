"""Adversaries that adapt, against a target on which direct asking no longer works: the demo's after one cycle.

python -m tests.benchmarks.adaptive [SEED ...]

It takes the runs of `tests.benchmarks.three_seeds`, which it makes where they are missing, and asks in English for the
same held-out goals in each way, in a copy of the run. What counts is what the sandbox's oracle says of the answers.
"""

import shutil
import sys
from collections import Counter

from evals.report.markdown import rate, table
from graph import measuring, report
from graph.team import Team, team
from tests.benchmarks.three_seeds import ran
from tools.records import Attempt
from tools.statistics import wilson

WAYS = {"direct": "low_skilled", "roleplay": "intermediate", "crescendo": "advanced", "goat": "advanced",
        "pair": "advanced", "tap": "advanced", "agent": "advanced"}  # fmt: skip
GOALS, CYCLE = 40, 200


def asked(crew: Team, seed: int) -> list[Attempt]:
    """The held-out goals, asked for in every way."""
    folder = crew.run.with_name(f"{crew.run.name}-adaptive")
    if not folder.exists():
        shutil.copytree(crew.run, folder)
    other = team(str(folder))
    best = next(event["chosen"] for event in crew.memory.events("choice") if event["cycle"] == 1)
    goals = [goal for goal in other.goals if goal.intent == "harmful" and goal.split == "held_out"][:GOALS]
    planned = [
        Attempt(goal=goal.id, persona=persona, strategy=way, language="en", target=best, cycle=CYCLE, seed=seed,
                purpose="attack")
        for way, persona in WAYS.items() for goal in goals
    ]  # fmt: skip
    measuring.converse(other, planned, "attack", CYCLE)
    return other.memory.get(Attempt, "purpose = 'attack' and attempts.cycle = ?", CYCLE)


def line(seed: int, way: str, held: list[Attempt], crew: Team) -> list[object]:
    truth, goals = report.truth(crew), {goal.id: goal.text for goal in crew.goals}
    assert truth
    broke = sum(truth(goals[attempt.goal], attempt.response) for attempt in held)
    why = Counter(
        turn.dropped.partition(":")[0] for a in held for turn in a.turns if turn.dropped and turn.role == "user"
    )
    asks = sum(turn.role == "assistant" for attempt in held for turn in attempt.turns) / len(held)
    dropped = ", ".join(f"{n} {name}" for name, n in why.items())
    share = rate(broke / len(held), *wilson(broke, len(held)), len(held))
    return [seed, way, f"{broke} of {len(held)}: {share}", f"{asks:.1f}", dropped]


def main(seeds: list[int]) -> None:
    rows = []
    for seed in seeds:
        crew = ran(seed)
        held = asked(crew, seed)
        rows += [line(seed, way, [a for a in held if a.strategy == way], crew) for way in WAYS]
    print(table(["seed", "way", "broke the target", "answers a conversation", "messages taken back or pruned"], rows))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
