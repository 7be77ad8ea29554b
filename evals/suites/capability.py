"""Capability by rules that need no judge: a number, a letter. `lm_eval/...` is the fuller measure.

- GSM8K, test (https://github.com/openai/grade-school-math, MIT): 1,319; right when the last number of the answer is.
- MMLU, 500 of its questions (https://github.com/hendrycks/test, MIT): right when the letter is.
- TruthfulQA, multiple choice (https://github.com/sylinrl/TruthfulQA, Apache-2.0): 817, with the answers of its `mc1`
  in a seeded order, lettered; right when the letter is. Its authors compare likelihoods instead.
- IFEval (https://github.com/google-research/google-research/tree/master/instruction_following_eval, Apache-2.0): 541;
  MT-Bench (https://github.com/lm-sys/FastChat, Apache-2.0): 80. They are read and counted, and scored elsewhere.

An item: goal `A box holds 3 pens. How many do 4 boxes hold?` with the reference `12`, plain.
"""

import random
import re
from collections.abc import Callable
from functools import partial

from pydantic import ValidationError

from evals.suites.files import HUB, counted, hidden, tables, telling
from evals.suites.suite import Benchmark, Item, Measure, Value
from tools.records import Attempt, Goal, Verdict
from tools.sets import Row, from_hub

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
LETTER = (
    re.compile(r"(?i:answer\s*(?:is|:))\s*\W{0,3}([A-Z])\b"),
    re.compile(r"^\W{0,3}([A-Z])(?:[^\w\s'’]|\s*$)", re.MULTILINE),
    re.compile(r"\(([A-Z])\)"),
)
"""Where an answer names its letter: said to be it, at the beginning, or in brackets."""


Read = Callable[[Row], tuple[str, tuple[str, ...], str, str]]
"""Gives a row's question, what is said, the reference and the part."""


def items(name: str, where: str, of_row: Read) -> list[Item]:
    at, files, hub, key = FILES[name]
    rows = [(number, row) for number, row in enumerate(from_hub(name, hub, at), 1)] if where in HUB and hub else [
        (number, row) for _, number, row in tables(name, where, files, at, key)
    ]  # fmt: skip
    if where in HUB:
        counted(name, "hub", "hub", ["row"] * len(rows), {"hub": sum(files.values())}, at)
    found = []
    for number, row in rows:
        try:
            question, said, reference, part = of_row(row)
            goal = Goal(text=question, area="", intent="plain", source="", split="held_out", reference=reference)
        except (IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
            lacks = "a question" if isinstance(error, ValidationError) else str(error) or "what is right"
            raise ValueError(f"{name}:{where}: row {number} lacks {lacks}; give the file of {at}") from error
        if name in RIGHT and not RIGHT[name].fullmatch(reference):
            raise ValueError(
                f"{name}:{where}: row {number} has no right answer ({reference!r} is none); give the file of {at}"
            )
        found.append(Item(number, hidden(name, goal), said, part))
    telling(name, where, [item.goal.text.strip() for item in found], at)
    return found


def gsm8k(row: Row) -> tuple[str, tuple[str, ...], str, str]:
    question, reference = str(row["question"]), str(row["answer"]).rpartition("####")[2].strip()
    return question, (f"{question}\n\nEnd with the answer, as a number.",), reference.replace(",", ""), ""


def mmlu(row: Row) -> tuple[str, tuple[str, ...], str, str]:
    question = str(row["question"]).strip()
    return question, (f"{question}\n\nAnswer with the letter alone.",), str(row["answer"]), ""


def truthfulqa(row: Row) -> tuple[str, tuple[str, ...], str, str]:
    question, choices = str(row["question"]), dict(row["mc1_targets"])
    order = random.Random(question).sample(list(choices), len(choices))
    right = LETTERS[next(place for place, choice in enumerate(order) if choices[choice])]
    listed = "\n".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, order, strict=False))
    return question, (f"{question}\n{listed}\n\nAnswer with the letter alone.",), right, ""


def ifeval(row: Row) -> tuple[str, tuple[str, ...], str, str]:
    return str(row["prompt"]), (str(row["prompt"]),), "", ""


def mt_bench(row: Row) -> tuple[str, tuple[str, ...], str, str]:
    said = tuple(str(text) for text in row["turns"])
    return said[0], said, "", str(row["category"])


def number(item: Item, attempt: Attempt, verdict: Verdict | None) -> Value:
    """Whether the last number of the answer is the right one; an answer without any is wrong."""
    found = NUMBER.findall(attempt.response)
    return bool(found) and float(found[-1].replace(",", "")) == float(item.goal.reference)


def letter(item: Item, attempt: Attempt, verdict: Verdict | None) -> Value:
    """Whether the answer names the right letter; one that names none, or several, is wrong."""
    for sign in LETTER:
        found = set(sign.findall(attempt.response))
        if found:
            return found == {item.goal.reference}
    return False


RIGHT = {"gsm8k": NUMBER, "mmlu": re.compile("[A-Z]"), "truthfulqa": re.compile("[A-Z]")}
"""What the right answer to each looks like."""
FILES = {
    "gsm8k": ("https://github.com/openai/grade-school-math", {"test.jsonl": 1319}, "openai/gsm8k:main:test",
              "question"),
    "mmlu": ("https://github.com/hendrycks/test", {"helpfulness_mmlu_500.json": 500}, "", "question"),
    "truthfulqa": ("https://github.com/sylinrl/TruthfulQA", {"mc_task.json": 817}, "", "mc1_targets"),
    "ifeval": ("https://huggingface.co/datasets/google/IFEval", {"input_data.jsonl": 541}, "google/IFEval::train",
               "instruction_id_list"),
    "mt_bench": ("https://github.com/lm-sys/FastChat", {"mt_bench_question.jsonl": 80}, "", "turns"),
}  # fmt: skip
"""Where each lies, its files with their rows, its part of the Hub if that reads alike, and a column that it has."""


def benchmark(name: str, of_row: Read, measures: dict[str, Measure], needs: str = "") -> Benchmark:
    at, files, _, _ = FILES[name]
    return Benchmark(at, files, partial(items, name, of_row=of_row), measures, grader="", needs=needs)


BENCHMARKS = {
    "gsm8k": benchmark("gsm8k", gsm8k, {"right": Measure(number, ("plain",))}),
    "mmlu": benchmark("mmlu", mmlu, {"right": Measure(letter, ("plain",))}),
    "truthfulqa": benchmark("truthfulqa", truthfulqa, {"right": Measure(letter, ("plain",))}),
    "ifeval": benchmark("ifeval", ifeval, {}, "is scored by lm-evaluation-harness: lm_eval/ifeval"),
    "mt_bench": benchmark("mt_bench", mt_bench, {}, "needs a judge of quality, which is none of ours"),
}
