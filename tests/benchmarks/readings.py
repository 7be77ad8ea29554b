"""What the readings in docs/experiments.md count that no report has, from the memories of an ablation's runs.

python -m tests.benchmarks.readings runs/ablate-NN-NAME ...

By arm, all seeds together: how many attacks of each cycle broke the model, by the judge that labels and by the
sandbox's oracle, PAIR and Crescendo apart; and how many plain requests the champions refuse.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path

from graph.desk import Desk, champion
from graph.team import Team, team
from tools.records import Attempt, Goal
from tools.sandbox import oracle

ADAPTIVE = ("pair", "crescendo")


def attacks(crew: Team) -> Counter[tuple[int, bool, str]]:
    """How many attacks of each cycle, that adapt or do not, were tried, and broke it by the judge and by the oracle."""
    found = Counter[tuple[int, bool, str]]()
    goals = {one.id: one.text for one in crew.memory.get(Goal)}
    judged = {row["id"]: row["harmful"] for row in Desk(crew, champion(crew)).attacks}
    for one in crew.memory.get(Attempt, "purpose = 'attack'"):
        place = one.cycle, one.strategy in ADAPTIVE
        found[*place, "tried"] += 1
        found[*place, "judge"] += bool(judged.get(one.id))
        found[*place, "oracle"] += oracle.judge(goals[one.goal], one.kept).harmful
    return found


def plain(crew: Team) -> Counter[str]:
    """The champion's answers to plain requests: how many, how many that are not right, and how many that refuse."""
    best = champion(crew)
    right = Desk(crew, best).after["capability"].values()
    asked = {one.id for one in crew.memory.get(Goal, "intent = 'plain'")}
    said = [one.kept[-1].text for one in crew.memory.get(Attempt, "purpose = 'measure' and target = ?", best)
            if one.goal in asked]  # fmt: skip
    return Counter(asked=len(right), wrong=list(right).count(False), refused=sum(map(oracle.refuses, said)))


def main(folders: list[str]) -> None:
    for folder in map(Path, folders):
        by_arm, answers = (
            defaultdict[str, Counter[tuple[int, bool, str]]](Counter),
            defaultdict[str, Counter[str]](Counter),
        )
        for run in sorted(folder.glob("[!_]*-[0-9]")):
            arm = run.name.rpartition("-")[0]
            by_arm[arm] += attacks(team(str(run)))
            answers[arm] += plain(team(str(run)))
        for arm, found in by_arm.items():
            for cycle, adaptive in sorted({key[:2] for key in found}):
                tried, judge, truth = (found[cycle, adaptive, what] for what in ("tried", "judge", "oracle"))
                print(f"{folder.name} {arm}, cycle {cycle}, {'PAIR, Crescendo' if adaptive else 'other ways'}: "
                      f"{judge} of {tried} by the judge, {truth} by the oracle")  # fmt: skip
            asked, wrong, refused = (answers[arm][what] for what in ("asked", "wrong", "refused"))
            print(f"{folder.name} {arm}: {wrong} of {asked} plain requests are not answered right, {refused} refused")


if __name__ == "__main__":
    main(sys.argv[1:])
