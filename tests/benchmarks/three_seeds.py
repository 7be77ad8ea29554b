"""The demo with three seeds, and the table of docs/measurements.md. Run again, it goes on where it was stopped.

python -m tests.benchmarks.three_seeds [SEED ...]
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from evals.gate import paired
from evals.report.markdown import rate, table
from graph.desk import champion
from graph.measuring import card
from graph.report import result
from graph.team import Team, team
from tools.records import BASE, Adapter, Attempt, Score
from tools.statistics import Interval

BREAKFIX = [sys.executable, "-m", "graph.cli"]
RATES = (
    "harm",
    "harm_seen_ways",
    "harm_adaptive",
    "harm_nl",
    "harm_fr",
    "over_refusal",
    "capability",
    "capability_nl",
    "capability_fr",
)
HEAD = ["seed", "model", *RATES, "harm fell by", "over-refusal (points)", "capability (points)", "final fell by"]


def ran(seed: int) -> Team:
    """The finished run of a seed, gone on with where it was stopped."""
    name = f"three-seeds-{seed}"
    begin = ["run", "runs/demo.toml", "--run", name, "--set", f"seed={seed}"]
    subprocess.run([*BREAKFIX, *(["resume", f"runs/{name}"] if Path("runs", name).exists() else begin)], check=True)
    return team(f"runs/{name}")


def line(crew: Team, seed: int, name: str, adapter: str) -> list[str]:
    """An adapter's rates, and its changes against the base on the same items."""
    scores = {score.benchmark: score for score in crew.memory.get(Score, "adapter = ?", adapter)}
    base, now = card(crew, BASE), card(crew, adapter)
    rates = [rate(s.value, s.low, s.high, s.n) for benchmark in RATES for s in [scores[benchmark]]]
    changes = [paired(base, now, [benchmark]) for benchmark in ("over_refusal", "capability")]
    final = result(crew, adapter, "final")[0] if "final" in scores else None
    return [str(seed), name, *rates, *map(percent, (result(crew, adapter)[0], *changes, final))]


def told(crew: Team, single: str) -> str:
    """How a run ended, its seconds, its attacks by cycle, and the harm that the single fine-tune left, by language."""
    spoken = {a.id: a.language for a in crew.memory.get(Attempt, "purpose = 'measure' and target = ?", BASE)}
    asked, broke = Counter[str](), Counter[str]()
    for (_, item), harmful in card(crew, single)["harm"].items():
        asked[spoken[item]] += 1
        broke[spoken[item]] += bool(harmful)
    attacks = {e["cycle"]: f"{e['broke']}/{e['judged']}" for e in crew.memory.events("vulnerabilities")}
    seconds = crew.memory.query("select max(at) - min(at) as seconds from events")[0]["seconds"]
    by_language = ", ".join(f"{language} {broke[language]}/{asked[language]}" for language in sorted(asked))
    why = crew.memory.events("finished")[-1]["why"]
    return f"{why}; {seconds:.0f} s; attacks {', '.join(attacks.values())}; single fine-tune's harm: {by_language}"


def percent(found: Interval | None) -> str:
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]" if found else ""


def main(seeds: list[int]) -> None:
    rows = []
    for seed in seeds:
        crew = ran(seed)
        choices = crew.memory.events("choice")
        single = crew.memory.get(Adapter, "cycle = 1")
        rows.append(line(crew, seed, "base", BASE))
        rows += [line(crew, seed, f"single fine-tune ({one.stage})", one.id) for one in single]
        rows.append(line(crew, seed, f"loop, {len(choices)} cycles", champion(crew)))
        print(f"seed {seed}: {told(crew, single[0].id)}")
    print(table(HEAD, rows))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
