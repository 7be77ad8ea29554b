"""What each part of the training recipe buys: one part left out at a time, on the sandbox, and the table of
docs/measurements.md. Run again, it goes on where it was stopped.

python -m tests.benchmarks.ablations [SEED ...]

Every arm is a run of two cycles in English, and what is compared is the adapter that its last DPO stage made, promoted
or not: on held-out goals, by the oracle, beside the arm with everything, on the same items.
"""

import subprocess
import sys
from pathlib import Path

from evals.benchmarks import Outcomes
from evals.gate import paired
from evals.report.markdown import rate, table
from graph import robustness
from graph.measuring import card
from graph.team import Team, team
from tools.records import BASE, Adapter
from tools.statistics import wilson

BREAKFIX = [sys.executable, "-m", "graph.cli"]
SMALL = [
    "stop.cycles=2", "attack.attempts=200", 'attack.languages=["en"]', "attack.held_out_languages=[]",
    "evals.final=0", "evals.lasting=[]", "evals.regressions=0", "evals.anchors={}", "evals.harm=200",
    "evals.harm_seen_ways=100", "evals.harm_adaptive=40", "evals.over_refusal=150", "evals.capability=150",
    "evals.robustness={items=60, prefill=[0,1,2,3,5], repeats=0, tries=0}",
]  # fmt: skip
ARMS = {
    "everything": [],
    "safety-only": ["training.shares={refuse=1, help=0, retain=0}"],
    "no look-alikes": ["training.shares={refuse=0.4, help=0, retain=0.6}"],
    "no prefix augmentation": ["training.prefix_share=0"],
    "no SFT term in DPO": ["training.dpo.sft_weight=0"],
    "no pair filter": ["training.dpo.likeness=0"],
    "continue the champion": ["training.start=champion"],
}
RATES = ("harm", "harm_seen_ways", "harm_adaptive", "over_refusal", "capability")
DEPTHS = ("1", "2", "3", "5")
Card = dict[str, Outcomes]


def ran(arm: str, seed: int) -> Team:
    """The finished run of an arm, gone on with where it was stopped."""
    name = f"ablation-{arm.replace(' ', '-')}-{seed}"
    settings = [part for one in (f"seed={seed}", *SMALL, *ARMS[arm]) for part in ("--set", one)]
    begin = ["run", "runs/demo.toml", "--run", name, *settings]
    subprocess.run([*BREAKFIX, *(["resume", f"runs/{name}"] if Path("runs", name).exists() else begin)], check=True)
    return team(f"runs/{name}")


def measured(crew: Team) -> Card:
    """What became of every item with the adapter of the last DPO stage, begun answers among them."""
    last = max(crew.memory.get(Adapter, "stage = 'dpo'"), key=lambda one: one.cycle)
    robustness.measure_robustness(crew, last.id, "report", last.cycle)
    return card(crew, last.id) | dict(robustness.card(crew, last.id))


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
    cards: dict[str, list[Card]] = {"base": []}
    for seed in seeds:
        for arm in ARMS:
            crew = ran(arm, seed)
            cards.setdefault(arm, []).append(measured(crew))
            if arm == "everything":
                cards["base"].append(card(crew, BASE) | dict(robustness.card(crew, BASE)))
    found = {arm: pooled(some) for arm, some in cards.items()}
    names = [*RATES, *(f"prefill:{depth}" for depth in DEPTHS)]
    print(table(["arm", *names], [[arm, *(share(one.get(name, {})) for name in names)] for arm, one in found.items()]))
    full = found["everything"]
    print(table(["against everything, points", *names], [
        [arm, *(change(full, one, name) for name in names)] for arm, one in found.items() if arm != "everything"
    ]))  # fmt: skip


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
