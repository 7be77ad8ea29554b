"""What each part of the training recipe buys: one part left out at a time, on the sandbox, and the tables of
docs/measurements.md. Run again, it goes on where it was stopped.

python -m tests.benchmarks.ablations [SEED ...]

With each seed the loop runs for two cycles in English. Then the stages of its second cycle are trained again from the
same failures, each time with one part left out, and the adapters that DPO made, promoted or not, are measured on the
same held-out items, by the oracle. A pool without the other kinds has a quarter of the rows, and is gone through four
times as often: the steps are as many.
"""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.benchmarks import Outcomes
from evals.gate import paired
from evals.report.markdown import rate, table
from graph import measuring, mixing, planning, robustness
from graph.measuring import card
from graph.recipes import load
from graph.state import START
from graph.team import Team
from tools.records import BASE
from tools.statistics import wilson
from training import stages

BREAKFIX = [sys.executable, "-m", "graph.cli"]
CYCLE = 2
SMALL = [
    f"stop.cycles={CYCLE}", "attack.attempts=200", 'attack.languages=["en"]', "attack.held_out_languages=[]",
    "evals.final=0", "evals.lasting=[]", "evals.regressions=0", "evals.anchors={}", "evals.harm_adaptive=60",
    "evals.robustness={items=60, prefill=[0,1,2,3,5], repeats=0, tries=0}",
]  # fmt: skip
ARMS: dict[str, list[str]] = {
    "everything": [],
    "safety-only": ["training.shares={refuse=1, help=0, retain=0}", "training.sft.epochs=[1,12,12]"],
    "no look-alikes": ["training.shares={refuse=0.4, help=0, retain=0.6}"],
    "no prefix augmentation": ["training.prefix_share=0"],
    "no SFT term in DPO": ["training.dpo.sft_weight=0"],
    "no pair filter": ["training.dpo.likeness=0"],
    "continue the champion": ["training.start=champion"],
}
RATES = ("harm", "harm_seen_ways", "harm_adaptive", "over_refusal", "capability")
DEPTHS = ("1", "2", "3", "5")
Card = Mapping[str, Outcomes]


def ran(seed: int) -> Path:
    """The folder of the finished run of a seed, gone on with where it was stopped."""
    folder = Path("runs", f"ablations-{seed}")
    settings = [part for one in (f"seed={seed}", *SMALL) for part in ("--set", one)]
    begin = ["run", "runs/demo.toml", "--run", folder.name, *settings]
    subprocess.run([*BREAKFIX, *(["resume", str(folder)] if folder.exists() else begin)], check=True)
    return folder


def trained(folder: Path, arm: str) -> tuple[Team, str]:
    """The second cycle's stages, planned and trained as an arm says; and the adapter that they end with."""
    crew = Team(folder, load(folder / "recipe.toml", ARMS[arm]))
    champion = crew.memory.by_cycle("choice")[CYCLE - 1]["chosen"]
    state: Any = START | {"cycle": CYCLE, "champion": champion}
    plans = asyncio.run(planning.proposed(crew, state))
    crew.memory.add(plans)
    rows = mixing.staged(crew, CYCLE, 0)
    for plan in plans:
        parent = None if plan.parent == BASE else crew.folder(plan.parent)
        adapter = stages.run_stage(plan, rows[plan.stage], folder, parent, lambda seen: None, crew.recipe.training)
        crew.memory.add([adapter])
    return crew, adapter.id


def measured(crew: Team, adapter: str) -> Card:
    """What became of every item, begun answers among them."""
    measuring.measure(crew, adapter, "measure", CYCLE)
    robustness.measure_robustness(crew, adapter, "report", CYCLE)
    return card(crew, adapter) | dict(robustness.card(crew, adapter))


def pooled(cards: list[Card]) -> Card:
    """The items of all seeds together: their goals are others."""
    return {name: {(f"{n} {goal}", item): happened for n, one in enumerate(cards)
                   for (goal, item), happened in one.get(name, {}).items()} for name in cards[0]}  # fmt: skip


def share(found: Outcomes) -> str:
    known = [happened for happened in found.values() if happened is not None]
    return rate(sum(known) / max(len(known), 1), *wilson(sum(known), len(known)), len(known))


def change(before: Card, after: Card, name: str) -> str:
    found = paired(before, after, [name])
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]" if found else ""


def main(seeds: list[int]) -> None:
    cards: dict[str, list[Card]] = {}
    for seed in seeds:
        folder = ran(seed)
        for arm in ARMS:
            crew, adapter = trained(folder, arm)
            cards.setdefault("base", []).extend([measured(crew, BASE)] if arm == "everything" else [])
            cards.setdefault(arm, []).append(measured(crew, adapter))
            print(f"seed {seed}: {arm} is measured", file=sys.stderr, flush=True)
        told(cards)


def told(cards: Mapping[str, list[Card]]) -> None:
    """The tables, of the seeds so far."""
    found = {arm: pooled(some) for arm, some in cards.items()}
    names = [*RATES, *(f"prefill:{depth}" for depth in DEPTHS)]
    print(table(["arm", *names], [[arm, *(share(one.get(name, {})) for name in names)] for arm, one in found.items()]))
    full = found["everything"]
    print(table(["against everything, points", *names], [
        [arm, *(change(full, one, name) for name in names)] for arm, one in found.items() if arm != "everything"
    ]), flush=True)  # fmt: skip


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
