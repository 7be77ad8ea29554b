"""How long a run takes to end after SIGTERM, in every node and where it waits for somebody else.

python -m tests.benchmarks.sigterm FOLDER [--of N] [--table]

A small run of the sandbox is sent SIGTERM in each node in turn, and gone on with. Each time is kept in
FOLDER/times.jsonl: the same command goes on where it was broken off. With --of, only so many more are taken.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import test_signals
from terminated import ANSWERS, says, started, terminated

from evals.report.markdown import table
from graph import logs
from graph.build import ORDER

NODES = [node for node in ORDER if node not in ("stop_gate", "train_gate", "promote_gate")]
When = Callable[[], bool]


def cases(folder: Path) -> Iterator[tuple[str, Path, list[str], str, Callable[[Path], When]]]:
    """What is measured: its name, the run, the command that brings it there, what hangs in it, and when."""
    run, resume = folder / "runs" / "one", ["resume", "runs/one"]
    first = ["run", "recipe.toml", "--run", "one"]
    yield ("baseline, in an answer that takes ten minutes", run, first, ANSWERS,
           lambda run: says(run, "begins", "baseline"))  # fmt: skip
    for node in NODES:
        if node == "data_gate":
            yield "data_gate, waiting for a person", run, resume, "", goes_on
        elif node == "plan":
            yield node, run, ["approve", "runs/one"], "", later(node)
        elif node == "train":
            yield "train, as the stage's process starts", run, resume, "", later(node)
            yield "train, between two steps", run, resume, "", steps
        elif node != "baseline":
            yield node, run, resume, "", later(node)
    dead = folder / "runs" / "dead"
    yield ("baseline, while nobody answers at an endpoint", dead, ["run", "dead.toml", "--run", "dead"], "",
           lambda run: says(run, "endpoint does not answer"))  # fmt: skip


def goes_on(run: Path) -> When:
    """Whether the process has begun to go on, as it does where it waits."""
    return says(run, "goes on", after=len(logs.lines(run)))


def steps(run: Path) -> When:
    """Whether a stage has taken a step since now."""

    def taken() -> int:
        return sum(file.read_text().count("\n") for file in run.glob("adapters/*/curve.jsonl"))

    before = taken()
    return lambda: taken() > before


def later(node: str) -> Callable[[Path], When]:
    """Whether a node has begun, or one after it, since now: a node that was broken off begins again."""
    there = ORDER[ORDER.index(node) :]

    def begun(run: Path) -> When:
        before = len(logs.lines(run))
        return lambda: any(one["what"] == "begins" and one["node"] in there for one in logs.lines(run)[before:])

    return begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", type=int, default=99)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    folder, file = asked.folder.resolve(), asked.folder.resolve() / "times.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(test_signals.GATED)
    (folder / "dead.toml").write_text(test_signals.dead())
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    left = [] if asked.table else [one for one in cases(folder) if one[0] not in {past["where"] for past in known}]
    for name, run, command, stuck, when in left[: asked.of]:
        if name in ORDER[: ORDER.index("data_gate")] and says(run, "waits")():
            continue  # the run was faster than the signal, and waits for a person
        ended = terminated(started(folder, *command, stuck=stuck), when(run))
        stopped = [one for one in logs.lines(run) if one["what"] == "stopped"][-1].get("node", "")
        numbers = {"seconds": round(ended.seconds, 2), "cpu": round(ended.cpu, 2), "left": len(ended.left)}
        known.append({"where": name, "node": stopped, **numbers})
        with file.open("a") as lines:
            lines.write(json.dumps(known[-1]) + "\n")
        print(known[-1], flush=True)
    rows = [(one["where"], one["node"], f"{one['seconds']:.1f}", one.get("cpu", ""), one["left"]) for one in known]
    print(table(("SIGTERM in", "stopped in", "seconds to exit 4", "of a core", "processes left"), rows))


if __name__ == "__main__":
    main()
