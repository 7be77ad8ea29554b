"""What the screen for contamination finds, what it takes for an item that is none, and what it costs.

python -m tests.benchmarks.contamination [RUN]

Reads the public sets in ../shared/data, and a finished run's memory where one is given. Prints Markdown.
"""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.report.markdown import table
from evals.suites import load
from graph import screening
from graph.team import team
from tools import sets
from tools.contamination import Item, Row, contaminated
from tools.records import Example
from tools.sandbox import world
from tools.similarity import near

DATA = Path("../shared/data")
SETS = ("xstest", "harmbench", "jailbreakbench", "strongreject", "simple_safety_tests", "do_not_answer", "ailuminate",
        "multijail", "catqa", "or_bench")  # fmt: skip
WRAPPED = (
    "You are a teacher who prepares a lesson for adults. Please answer carefully: {} Thank you, and keep it short."
)
DRAWN = 60


def changed(text: str) -> str:
    """One word, by lot, is another: for languages that put spaces between words."""
    words = text.split()
    words[random.Random(text).randrange(len(words))] = "thing"
    return " ".join(words)


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str, "wrapped": WRAPPED.format, "one word changed": changed,
    "both": lambda text: WRAPPED.format(changed(text)),
}  # fmt: skip


def items_of(texts: Sequence[str], source: str) -> list[Item]:
    return [Item(text, source, text) for text in texts]


def rows_of(texts: Sequence[str]) -> list[Row]:
    return [Row(str(number), (text,), str(number)) for number, text in enumerate(texts)]


def found() -> str:
    """How many of the rows that ask an item in some way are found."""
    [xstest], [multijail], [gsm8k], [mmlu] = (
        load(f"{name}:{DATA / folder}") for name, folder in
        (("xstest", "xstest"), ("multijail", "multijail"), ("gsm8k", "general_gsm8k"), ("mmlu", "general_mmlu_subset"))
    )  # fmt: skip
    texts = {"XSTest": [item.goal.text for item in xstest.items], "GSM8K": [item.goal.text for item in gsm8k.items]}
    for language in ("ko", "ar", "sw"):
        texts[f"MultiJail, {language}"] = [item.said[0] for item in multijail.items if item.part == language]
    rows = []
    for name, every in texts.items():
        drawn = random.Random(name).sample(every, DRAWN)
        counts = (
            len(contaminated(rows_of([way(text) for text in drawn]), items_of(drawn, name))) for way in WAYS.values()
        )
        rows.append([name, *counts])
    drawn = random.Random("mmlu").sample([item.goal.text for item in mmlu.items], DRAWN)
    without = rows_of([text.split("\n")[0] for text in drawn])
    rows.append(["MMLU, without its options", len(contaminated(without, items_of(drawn, "mmlu"))), "", "", ""])
    return table([f"of {DRAWN} items", *WAYS], rows)


def taken() -> str:
    """What is taken for an item that is none, as far as that can be told, and what it costs."""
    goals = sets.gathered([f"{name}:{DATA / name}" for name in SETS])
    train = [goal.text for goal in goals if goal.split == "train"]
    hidden = [goal.text for goal in goals if goal.split != "train"]
    instruct = DATA / "general_instruct"
    general = [f"{row['instruction']}\n{row.get('input', '')}\n{row['output']}"
               for row in json.loads((instruct / "alpaca_en_demo.json").read_text("utf-8"))]  # fmt: skip
    dice = random.Random(0)
    noise = [" ".join(str(dice.randrange(4000)) for _ in range(dice.randrange(8, 30))) for _ in range(26_000)]
    cases = {
        "training goals of ten public sets, split by cluster, against those that are held out or final": (
            train,
            hidden,
        ),
        "general instructions with their answers against all goals of these sets": (general, train + hidden),
        "rows of words by lot against items of such words": (noise[:6_000], noise[6_000:]),
    }
    rows = [timed(name, rows_of(some), items_of(items, "items")) for name, (some, items) in cases.items()]
    return table(["rows against items", "rows", "items", "found", "how", "s of CPU"], rows)


def timed(name: str, rows: Sequence[Row], items: Sequence[Item]) -> list[object]:
    began = time.process_time()
    matches = contaminated(rows, items)
    how = ", ".join(f"{n} {how}" for how, n in sorted(Counter(match.how for match in matches.values()).items()))
    return [name, len(rows), len(items), len(matches), how, f"{time.process_time() - began:.1f}"]


def of_a_run(run: Path) -> str:
    """All rows of a run against all that it measured."""
    crew = team(str(run))
    rows, items = list(screening.texts(crew, crew.memory.get(Example))), list(screening.items(crew))
    return table(["", "rows", "items", "found", "how", "s of CPU"], [timed("the run's", rows, items)])


def alike() -> str:
    """How many other goals of the sandbox each is nearly the same as: why names are not told by likeness."""
    texts = sorted({goal.text for goal in world.goals(0, 400, 400, 300)})
    counts = Counter(one for pair in near(texts) for one in pair)
    half = sorted(counts[number] for number in range(len(texts)))[len(texts) // 2]
    return f"Of {len(texts)} goals of the sandbox, half are near {half} or more others."


def main(run: str) -> None:
    print(found(), taken(), *([of_a_run(Path(run))] if run else []), alike(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
