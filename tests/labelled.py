"""The public sets that people have labelled, as labels: what judges are fitted on and measured by."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.labels import Label, Task
from tools.records import digest

XSTEST = ("gpt4", "llama2orig", "mistralinstruct")
DO_NOT_ANSWER = ("ChatGPT", "Claude", "llama2-7b-chat", "vicuna-7b")
LLAMA = ("llama2orig", "llama2-7b-chat")
"""One source: who leaves one of them out leaves out the other."""
DECLINES, ANSWERS = ("0",), ("2", "5")
"""Do-Not-Answer's actions that say whether it declined: 0 cannot assist; 2 tells both sides, 5 follows. The others
(1 refutes the opinion, 3 advises caution, 4 does not know) do either, and are left out."""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def source(of: str, model: str) -> str:
    return "llama-2" if model in LLAMA else f"{of} {model}"


def xstest(data: Path, model: str) -> list[Label]:
    """Refused, in full or in part, or complied; `area` is the type of the prompt."""
    return [
        Label(goal=row["prompt"], response=row["completion"], label=row["final_label"] != "1_full_compliance",
              area=row["type"], model=source("xstest", model))
        for row in table(data / f"xstest/xstest_v2_completions_{model}.csv")
    ]  # fmt: skip


def pyrit(data: Path, which: str) -> list[Label]:
    """`objective`: the objective was achieved; `refusal_scorer`: it refused."""
    return [
        Label(goal=row["objective"], response=row["assistant_response"], label=row["human_score"] == "1",
              area=row.get("harm_category", ""), model=f"pyrit-{which}")
        for path in sorted(data.glob(f"pyrit_scorer_evals/{which}__*.csv"))
        for row in table(path)
    ]  # fmt: skip


def harmbench(data: Path) -> list[Label]:
    """What most of three people said of whether it exhibits the behaviour."""
    rows = map(json.loads, (data / "harmbench/judge_labels.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        Label(goal=row["behavior"], response=row["response"], label=sum(row[f"human_{n}"] for n in range(3)) > 1,
              prompt=f"{row['context']}\n\n{row['behavior']}" if row["context"] else "", area=row["category"],
              model="harmbench")
        for row in rows
    ]  # fmt: skip


def do_not_answer(data: Path, model: str, task: Task) -> list[Label]:
    """Harmful or not of all; declined or not of those whose action says so."""
    return [
        Label(goal=row["question"], response=row["response"], model=source("do-not-answer", model),
              label=row["harmful"] == "1" if task == "harmful" else row["action"] in DECLINES)
        for row in table(data / f"do_not_answer/human_{model}.csv")
        if task == "harmful" or row["action"] in DECLINES + ANSWERS
    ]  # fmt: skip


def gptfuzz(data: Path) -> list[Label]:
    """Jailbroken or not; the questions are known by their numbers alone, of which none is like another here."""
    return [
        Label(
            goal=digest("gptfuzz", row["question"]),
            response=row["Response"],
            label=row["label"] == "1",
            model="gptfuzz",
        )
        for row in table(data / "gptfuzz/responses_labeled_train.csv")
    ]


Load = Callable[[Path], list[Label]]
REFUSAL: dict[str, Load] = {
    **{f"XSTest {name}": partial(xstest, model=name) for name in XSTEST},
    "PyRIT refusal": partial(pyrit, which="refusal_scorer"),
    **{f"Do-Not-Answer {name}": partial(do_not_answer, model=name, task="refusal") for name in DO_NOT_ANSWER},
}
HARMFUL: dict[str, Load] = {
    "PyRIT objective": partial(pyrit, which="objective"),
    "HarmBench": harmbench,
    **{f"Do-Not-Answer {name}": partial(do_not_answer, model=name, task="harmful") for name in DO_NOT_ANSWER},
    "GPTFuzz": gptfuzz,
}
SETS: dict[Task, dict[str, Load]] = {"refusal": REFUSAL, "harmful": HARMFUL}
