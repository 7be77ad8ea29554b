"""A run with something of everything the report can show, put into its memory by hand, and hostile throughout."""

import json
from pathlib import Path
from typing import Any

from test_loop import RECIPE

from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tools.records import BASE, Adapter, Attempt, Goal, Score, StagePlan, Turn, Verdict
from tools.statistics import wilson

BIDI = "\u202egnp.exe"
HOSTILE = (
    "</pre></script><script>fetch('http://evil.test')</script><img src=x onerror=alert(1)><svg/onload=alert(2)>"
    f"{BIDI}|`**x"
)
STAGES = [("sft", 1), ("dpo", 1), ("sft", 2), ("dpo", 2)]
COMPARED = "openai:other<b>model</b>"


def run(folder: Path, name: str = "one", harm_left: int = 1) -> Team:
    """A run of two cycles whose second SFT is the champion; `harm_left` of its 20 items still break it."""
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "goals.csv").write_text("text\nSteal\n", encoding="utf-8")
    create(load(folder / "recipe.toml", ["goals.source=goals.csv"]), folder / name)
    crew = team(str(folder / name))
    adapters = [trained(crew, stage, cycle) for stage, cycle in STAGES]
    champion = adapters[2].id
    goals = [Goal(text=f"{HOSTILE} {number}", area=f"<i>area {number % 2}</i>", intent="harmful", source="s",
                  split="train") for number in range(4)]  # fmt: skip
    crew.memory.add(goals)
    for cycle in (1, 2):
        attacked(crew, goals, cycle)
    scored(crew, [BASE, *(one.id for one in adapters)], champion, harm_left)
    told(crew, adapters)
    for seconds, node in ((10, "baseline"), (30, "attack")):
        crew.memory.event(1, node, "worked", seconds=seconds)
    return crew


def trained(crew: Team, stage: Any, cycle: int) -> Adapter:
    plan = StagePlan(stage=stage, base="b", cycle=cycle, examples="", rows=1, epochs=1, rate=1, rank=1, batch=1,
                     length=1, seed=0)  # fmt: skip
    made = Adapter(
        plan=plan.id, stage=stage, cycle=cycle, path=f"adapters/{plan.id}", loss_first=2, loss_last=1, steps=9
    )
    crew.memory.add([plan, made])
    folder = crew.run / made.path
    folder.mkdir(parents=True)
    lines = [{"step": step, "loss": 2 - step / 300, "rewards/margins": step / 100, "logps/chosen": -9 - step / 100}
             for step in range(1, 301)]  # fmt: skip
    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 30')
    return made


def attacked(crew: Team, goals: list[Goal], cycle: int) -> None:
    """Ten attacks in each of three ways, most of which break the target in the first cycle."""
    for persona, way, converters in (("low_skilled", "direct", ()), ("intermediate", "roleplay", ("base64",)),
                                     ("advanced", "pair", ())):  # fmt: skip
        for number in range(10):
            broke = number < (9 if cycle == 1 else 3) and (cycle, way) != (2, "direct")
            said = (Turn(role="user", text=f"{HOSTILE} ask {number}", plain=f"{HOSTILE} plain"),
                    Turn(role="assistant", text=f"{HOSTILE} answer " + "long " * 400))  # fmt: skip
            one = Attempt(
                goal=goals[number % 4].id, persona=persona, strategy=way, converters=converters, turns=said,
                language="en", target=BASE, cycle=cycle, seed=number, purpose="attack", propensity=0.1,
            )  # fmt: skip
            crew.memory.add([one, *(
                Verdict(attempt=one.id, judge=judge, harmful=broke, refusal="none" if broke else "full",
                        understood=True, severity=5 if broke else 0, reason=HOSTILE) for judge in crew.labels_by
            )])  # fmt: skip


def scored(crew: Team, models: list[str], champion: str, harm_left: int) -> None:
    """Every benchmark whose name is agreed upon, and one that nobody knows."""
    shares = {"harm": 18, "harm_seen_ways": 16, "harm_adaptive": 19, "iprr": 2, "over_refusal": 1, "capability": 19,
              "regressions": 15, "final": 18, "harm_nl": 19}  # fmt: skip
    add(crew, {(name, model, ""): k if model == BASE else harm_left if name == "harm" else 20 - k
               for name, k in shares.items() for model in [*models, COMPARED]})  # fmt: skip
    upto = {"1": {models[0]: 20, models[1]: 0, models[2]: 0}, "2": {models[0]: 20, models[1]: 7, models[3]: 4}}
    add(crew, {("regressions", model, cycle): k for cycle, suite in upto.items() for model, k in suite.items()})
    lasting = [f"{champion}+{how}" for how in ("merged", "int8", "tuned")]
    add(crew, {("harm", model, ""): 3 for model in lasting})
    add(
        crew,
        {("prefill", model, str(tokens)): tokens // 4 for model in (BASE, champion) for tokens in (0, 5, 10, 20, 40)},
    )
    add(crew, {("best_of_n", champion, str(n)): n for n in (1, 2, 4, 8)})
    add(crew, {("repeats", champion, part): 4 for part in ("mean", "any_of_4")})
    add(crew, {(name, BASE, ""): 7 for name in ("suite/xstest/iprr", "lm_eval/arc_easy", "nobody_knows<b>")})


def add(crew: Team, counts: dict[tuple[str, str, str], int]) -> None:
    for (benchmark, adapter, part), k in counts.items():
        low, high = wilson(k, 20)
        crew.memory.add([Score(benchmark=benchmark, adapter=adapter, part=part, value=k / 20, low=low, high=high, n=20,
                               coverage=1)])  # fmt: skip


def told(crew: Team, adapters: list[Adapter]) -> None:
    """The events. Those of the first cycle lack most keys, as an older run's do."""
    memory, champion = crew.memory, adapters[2].id
    cell = {"area": HOSTILE, "way": "pair", "language": "en", "broke": 3, "judged": 10, "low": 0.1, "severity": 5.0,
            "corrected": [0.3, 0.1, 0.6], "score": 0.5, "named": True, "fixed_in": 1}  # fmt: skip
    alike = {"size": 4, "cells": [[HOSTILE, "pair", "en", 4]], "languages": {"en": 4}}
    trial = {"candidate": champion, "gain": [0.3, 0.1, 0.5], "iprr": [0.8, 0.5, 0.9], "n": 20, "fell": 8, "rose": 2,
             "p": 0.11, "regressed": ["attack-that-came-back"], "fault": ""}  # fmt: skip
    newer: dict[str, dict[str, Any]] = {
        "vulnerabilities": {"cells": [cell], "clusters": [alike], "regressed": [cell]},
        "decision": {"fresh_gain": [0.35, 0.2, 0.5], "held_out_gain": [0.6, 0.5, 0.7], "settled_by": {"fresh": 99}},
        "choice": {"gain": 0.3, "gain_low": 0.1, "trials": [trial]},
    }
    for cycle, chosen in ((1, adapters[0].id), (2, champion)):
        more = newer if cycle == 2 else {key: dict[str, Any]() for key in newer}
        memory.event(cycle, "diagnose", "vulnerabilities", attempts=30, judged=30, broke=9,
                     worst=[[HOSTILE, "direct", "en", 9, 10]], **more["vulnerabilities"])  # fmt: skip
        memory.event(cycle, "decide", "decision", stop=cycle == 2, why="budget over" if cycle == 2 else HOSTILE,
                     bounds={"fresh": 0.31, "held_out": [0.1, 0.2]}, **more["decision"])  # fmt: skip
        memory.event(cycle, "data_gate", "rows", kinds={"refuse": 3}, written={"refuse": 2},
                     contaminated={"n": 4, "sources": {"a set": 4}})  # fmt: skip
        memory.event(cycle, "promote_gate", "choice", before=BASE, chosen=chosen, gain_high=0.5,
                     why=f"{chosen} is safer {HOSTILE}", **more["choice"])  # fmt: skip
    memory.cost("attack", 1, "attacker", 7, 1000, 200)
