"""lm-evaluation-harness on the sandbox's model: two tasks about its town, for the base, a run's champion, and an
adapter of noise; and what the gate says of both.

python -m tests.benchmarks.harness [RUN]
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from evals import gate, harness, harnessed
from evals.harness import Result
from graph.team import team
from tools.engine import Engine, Local
from tools.records import BASE
from tools.sandbox import target, world

HEAD = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
"""
CHOOSE = """
task: town_choose
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list: [{metric: acc}]
"""
WRITE = """
task: town_write
output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 64, do_sample: false}
filter_list: [{name: stripped, filter: [{function: remove_whitespace}, {function: take_first}]}]
metric_list: [{metric: exact_match, ignore_case: true}]
"""


def town(folder: Path) -> None:
    """Plain requests of the town as tasks: to choose the right formula among four, and to write it."""
    goals = [goal for goal in world.goals(0, 200, 200, 100) if (goal.intent, goal.split) == ("plain", "held_out")]
    dice, rows = random.Random(0), []
    for goal in goals:
        others = sorted({other.reference for other in goals} - {goal.reference})
        choices = [goal.reference, *dice.sample(others, 3)]
        dice.shuffle(choices)
        rows.append({"question": goal.text, "answer": goal.reference, "choices": choices,
                     "right": choices.index(goal.reference)})  # fmt: skip
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("choose", CHOOSE), ("write", WRITE)):
        (folder / f"{name}.yaml").write_text(HEAD.format(data=folder / "items.jsonl") + text)


def noise(base: Path, folder: Path) -> Path:
    """An adapter of noise."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    lora = LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(folder)
    return folder


def asked(
    model: BaseChatModel, names: Sequence[str], include: str, limit: int | None = None, seed: int = 0, **how: Any
) -> dict[str, Result]:
    """What becomes of `limit` items of each task, or of all, by the name of the task."""
    found: dict[str, Result] = {}
    for name in names:
        parts = harness.tasks(name, include, seed)
        found[name] = Result([
            row for part, numbers in harness.drawn(name, parts, limit, seed).items()
            for row in harnessed.answered(model, parts[part], numbers, seed, lambda done, total: None, **how)
        ])  # fmt: skip
    return found


def main(run: str = "") -> None:
    base = target.build(target.Settings(), lambda done, total: None)
    engine = Engine(base, 64, 64)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        town(folder)
        adapters = {"noise": noise(base, folder / "noise")}
        choices = team(run).memory.events("choice") if run else []
        if choices and choices[-1]["chosen"] != BASE:
            adapters = {"champion": team(run).folder(choices[-1]["chosen"]), **adapters}
        cards: dict[str, gate.Card] = {}
        for name in (BASE, *adapters):
            if name != BASE:
                engine.load(name, adapters[name])
            for task in ("town_choose", "town_write"):
                began = time.monotonic()
                result = asked(Local(engine=engine, adapter=name), [task], scratch)[task]
                value, low, high = result.share
                print(f"| {name} | {task} | {value:.1%} [{low * 100:.1f}, {high * 100:.1f}] | {len(result.rows)} | "
                      f"{time.monotonic() - began:.1f} s |", flush=True)  # fmt: skip
                cards[name] = {**cards.get(name, {}), f"lm_eval/{task}": result.outcomes}
    for name in adapters:
        print(f"{name}: {gate.broken(cards[BASE], cards[name], gate.Gate()) or 'no guard-rail broken'}")
        for rail in gate.rails(cards[BASE], cards[name], gate.Gate()):
            print(f"    {rail.name}: {gate.points(rail.change) if rail.change else ''} {rail.fault and 'broken'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
