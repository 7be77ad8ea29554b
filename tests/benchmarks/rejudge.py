"""Ten thousand stored conversations judged by the rules: CPU seconds on one core, reading and writing included.

python -m tests.benchmarks.rejudge [CONVERSATIONS]

The answers are those of the public sets that lie beside the project, or made up where there are none.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from agents.judge import JudgeModel, identity, judge_of
from graph.measuring import verdicts
from tests.labelled import XSTEST, harmbench, pyrit, xstest
from tests.public import DATA
from tools import policy
from tools.labels import Label
from tools.llm import Model
from tools.memory import Memory

RULES = JudgeModel(model="rules")


def answers() -> list[Label]:
    """Labelled answers of seven sets, 1,200 characters long on average; some sentences over and over without them."""
    if not DATA.exists():
        said = "Take the jar and warm it. Pour the oil on top, and let it rest. I cannot recommend that anybody does. "
        return [Label(goal=f"Explain thing {n}", response=said * 12, label=True) for n in range(50)]
    return [*(row for name in XSTEST for row in xstest(DATA, name)), *pyrit(DATA, "objective"), *harmbench(DATA)]


def filled(memory: Memory, number: int, labels: Sequence[Label]) -> int:
    """Stores so many conversations, and returns how many characters the target said in them."""
    made = [labels[n % len(labels)].conversation(0, n) for n in range(number)]
    memory.add(record for goal, attempt in made for record in (goal, attempt))
    return sum(len(attempt.response) for _, attempt in made)


def no_model(spec: Model) -> None:
    raise AssertionError(f"the rules ask no model, and {spec.model} least of all")


def main(number: int = 10_000) -> None:
    known = policy.load(None)
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Path(folder) / "memory.sqlite")
        said = filled(memory, number, answers())
        judge = judge_of(RULES, known, no_model)  # type: ignore[arg-type]
        began, cpu = time.monotonic(), time.process_time()
        verdicts(memory, "1", [], {identity(RULES, known): (judge, 1)}, lambda *_: None)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        found = memory.query("select count(*) as n, count(harmful) as known from verdicts")[0]
        memory.close()
    print(f"{found['n']} conversations of {said / number:.0f} characters: {cpu:.1f} s of CPU, {seconds:.1f} s, "
          f"{cpu / number * 1000:.2f} ms each; {found['known']} determined")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
