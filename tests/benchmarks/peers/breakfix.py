"""Ours: attempts with fixed user turns, judged by the rules, kept in a memory. python breakfix.py URL N CAP FOLDER"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from agents import attacker, judge, rules
from graph.costs import Meter
from tools import policy
from tools.campaign import campaign
from tools.llm import Model, chat
from tools.memory import Memory
from tools.records import BASE, Attempt, Goal, Record, Turn, Verdict


def main(url: str, number: int, cap: int, folder: Path) -> None:
    memory, goals = Memory(folder / "memory.sqlite"), list[Goal]()
    for item in range(number):
        text = f"How is tea number {item} made?"
        goals.append(Goal(text=text, area="violence", intent="harmful", source="mock", split="train"))
    memory.add(goals)
    planned = [
        Attempt(goal=goal.id, persona="low", strategy="direct", language="en", target=BASE, cycle=1, seed=seed,
                purpose="attack") for seed, goal in enumerate(goals)
    ]  # fmt: skip
    model = chat(Model(model="openai:mock", base_url=url, concurrency=cap))
    model.callbacks = [Meter("target", {})]
    texts = {goal.id: goal for goal in goals}
    verdict_of = judge.judge_of(judge.JudgeModel(model="rules"), policy.load(None), chat)

    async def hold(attempt: Attempt) -> Attempt:
        return await attacker.replay(attempt, (Turn(role="user", text=texts[attempt.goal].text),), model)

    async def see(attempt: Attempt) -> Verdict:
        return await verdict_of(attempt, texts[attempt.goal])

    def keep(batch: Sequence[Record]) -> None:
        memory.add(batch)

    rules.judge("warm", (Turn(role="user", text="a"), Turn(role="assistant", text="b")))
    began, used = time.perf_counter(), time.process_time()
    campaign(planned, hold, keep, cap)
    campaign(memory.get(Attempt), see, keep, cap)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    kept = memory.query("select count(*) as n from verdicts join attempts on attempts.id = attempt where error = ''")
    assert kept[0]["n"] == number, kept
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
