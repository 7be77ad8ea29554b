"""What a run will take, before it begins: ranges, each with what it assumes. Nothing is asked, and nothing is left."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from agents import attacker, rubric, trainer, writer
from agents.personas import PERSONAS
from agents.strategies import STRATEGIES
from graph import budgets, measuring, sizing, timing
from graph.config import Recipe
from graph.recipes import load
from graph.team import Team
from tools import footprint
from tools.copying import copied
from tools.tokens import count

TRIES = 3
"""How often an answer is asked for that is not the JSON that it should be."""
KEPT = (1_000, 60_000)
"""Bytes that a conversation takes in a run's folder, with its verdicts, rows and reports."""
SMALL = 40_000_000
"""Bytes that a stage of the sandbox's model leaves at most: an adapter, and a checkpoint on the way."""
SECONDS = "seconds"
APART = 2.0
"""By how much a run may be slower or faster than others of the same models: its share of training is another."""
PROMPTS = {
    "attacker": attacker.__file__,
    "judge": rubric.__file__,
    "writer": writer.__file__,
    "trainer": trainer.__file__,
}


class Range(NamedTuple):
    """At least and at most."""

    low: float
    high: float

    def __add__(self, other: object) -> "Range":
        low, high = other if isinstance(other, Range) else (0.0, 0.0)
        return Range(self.low + low, self.high + high)

    def times(self, low: float, high: float) -> "Range":
        return Range(self.low * low, self.high * high)

    def __str__(self) -> str:
        low, high = (round(end) for end in self)
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"


class Sizes(NamedTuple):
    """How many conversations there are of each kind."""

    base: int
    """Items that every model is measured on."""
    judged: int
    """Those of them that a judge looks at."""
    final: int
    beyond: int
    """Most conversations of what is measured once, at the end, beside the final goals."""
    attacks: int
    candidates: int
    """Most candidates of a cycle."""
    again: int
    """Most attacks that worked and are said again to every candidate."""
    cycles: int

    @property
    def held(self) -> Range:
        """Conversations in all: from a run that ends at its first decision to one that has all its cycles."""
        once = Range(self.base + self.final, self.base + 2 * self.final + self.beyond + 2 * self.again)
        measured = (self.candidates + 2) * self.again + self.candidates * self.base
        return once + Range(self.attacks, self.attacks * (self.cycles + 1) + self.cycles * measured)


def estimate(recipe: Recipe, runs: Path) -> Iterator[str]:
    """A line for each thing that a run takes. `runs` is where past ones lie."""
    found = sizes(recipe)
    yield (f"conversations: {found.held}; at least the base's {found.base:,} items, {found.attacks:,} attacks and "
           f"{found.final:,} final goals, at most {found.cycles} cycles, each candidate measured")  # fmt: skip
    asked = calls(recipe, found)
    yield f"calls: at most where every conversation goes to its end and every answer is asked for {TRIES} times"
    known = {file.parent.name: rates for file in sorted(runs.glob("*/recipe.toml"))
             if (rates := paced(file.parent, recipe))}  # fmt: skip
    for role, many in asked.items():
        by_past = f"; {alike(found, known, role)}, by past runs" if known else ""
        yield f"  {role}: {many} calls, at least {tokens(role, many):,.0f} tokens{by_past}"
    yield "tokens: at least what the prompts have; past runs of the same models, where there are some, say how many"
    yield disk(recipe, found)
    lines = [text for _, text in sizing.sized(recipe) if text.partition(":")[0].partition(",")[0] in FITS]
    yield from lines or ["memory: not estimated; the target is the sandbox's or an endpoint's"]
    yield time(found, known, runs)
    yield "what is measured once, at the end, is part of all this, and comes after whatever budget ends the run"


FITS = ("serving", "training", "both at once")
"""What `sizing` says of memory."""


def sizes(recipe: Recipe) -> Sizes:
    evals, training = recipe.evals, recipe.training
    with tempfile.TemporaryDirectory() as folder:
        crew = Team(Path(folder), recipe)
        with closing(crew.memory):
            crew.memory.add(crew.goals)
            banks = {name: len(bank) for name, bank in measuring.banks(crew).items()}
            final = sum(map(len, measuring.banks(crew, "final").values()))
    base, robust = sum(banks.values()), evals.robustness
    variants = robust.items * (1 + len(robust.prefill) + robust.repeats + robust.tries)
    others = len(recipe.compare) * (base + final)
    return Sizes(
        base=base, judged=sum(n for name, n in banks.items() if not name.startswith("capability")), final=final,
        beyond=2 * variants + len(evals.lasting) * base + others,
        attacks=recipe.attack.attempts if recipe.agents.attacker else len(recipe.recorded.conversations),
        candidates=2 * (1 + training.within), again=evals.regressions, cycles=recipe.stop.cycles,
    )  # fmt: skip


def calls(recipe: Recipe, found: Sizes) -> Mapping[str, Range]:
    """How often each role is asked."""
    ways = recipe.attack.strategies or tuple(STRATEGIES)
    turns = max([max(persona.calls for persona in PERSONAS.values()), *(STRATEGIES[one].turns for one in ways)])
    held, attacks = found.held, Range(found.attacks, found.attacks * (found.cycles + 1))
    led = Range(0, found.base + found.final + attacks.high + found.candidates * found.cycles * found.base)
    measured = Range(found.judged + found.final, held.high)
    anchors = 2_000 * (found.cycles + 2) if recipe.evals.anchors else 0
    judged = attacks.times(1, TRIES * (1 + turns)) + Range(0, led.high * TRIES * turns + anchors)
    by = {
        "target": held.times(1, turns), "attacker": led.times(0, 2 * TRIES * (turns + 2)),
        "judge": judged, "second_judge": judged, "measuring_judge": measured.times(1, TRIES) + Range(0, anchors),
        "writer": Range(0, attacks.high * TRIES), "trainer": Range(0, TRIES * found.cycles),
    }  # fmt: skip
    each = Range(0, (found.base + found.final) * turns)
    return {
        role: by[role] if role in by else each if role.startswith("compare") else Range(0, by[role.split(".")[0]].high)
        for role in recipe.models
    }


def tokens(role: str, many: Range) -> float:
    """The fewest that so many calls read and write: of a prompt as it is written half, as a server may say less."""
    name = next((name for name in PROMPTS if name in role), "")
    prompt = count(Path(PROMPTS[name]).with_suffix(".md").read_text(encoding="utf-8")) if name else 1
    return many.low * (prompt / 2 + 1)


def disk(recipe: Recipe, found: Sizes) -> str:
    """What the run's folder takes, and of a real model what its adapters do, which `sizing` knows."""
    folder = Path(recipe.target.weights or recipe.base or "")
    least, most_kept = (f"{size / 1e3:.0f}" for size in KEPT)
    total = f"disk: {found.held.low * KEPT[0] / 1e6:.1f} to {most(recipe, found) / 1e6:,.0f} MB"
    each = f"{least} to {most_kept} kB for each conversation"
    if recipe.target.provider == "sandbox" or not (folder / "config.json").is_file():
        return f"{total}; {each}, up to {SMALL / 1e6:.0f} MB for each candidate, with its checkpoint"
    return f"{total}; {each}; beside that, {sizing.on_disk(recipe, footprint.shape(folder), folder)[1]}"


def most(recipe: Recipe, found: Sizes) -> float:
    """Most bytes of the run's folder, without what a real model's adapters take."""
    own = recipe.target.provider == "sandbox"
    changed = 1 + len(recipe.evals.lasting)
    return found.held.high * KEPT[1] + own * SMALL * (found.candidates * found.cycles + changed)


def time(found: Sizes, past: Mapping[str, Mapping[str, float]], runs: Path) -> str:
    """The seconds that it may take, by what runs with the same models took for each conversation."""
    if not past:
        return f"time: no run with these models lies in {runs}, so that nothing was timed here yet"
    low, high = alike(found, past, SECONDS)
    slowest = max(past, key=lambda name: past[name][SECONDS])
    return (f"time: {timing.span(low)} to {timing.span(high)}; of {len(past)} runs of the same models in {runs}, the "
            f"slowest took {past[slowest][SECONDS]:.2g} s for a conversation, with all else ({slowest}); this one may "
            f"be {APART:g} times as fast or as slow")  # fmt: skip


def alike(found: Sizes, past: Mapping[str, Mapping[str, float]], what: str) -> Range:
    """What so many conversations take, by what one of past runs took."""
    rates = [taken.get(what, 0.0) for taken in past.values()]
    return found.held.times(min(rates) / APART, max(rates) * APART)


def paced(run: Path, recipe: Recipe) -> dict[str, float]:
    """What a past run with the same models took for each conversation: seconds, and tokens by role; empty for any
    other."""
    with suppress(Exception):  # whatever lies there that is no run of today's
        past = load(run / "recipe.toml")
        same = {role: spec.model for role, spec in past.models.items()}
        if same != {role: spec.model for role, spec in recipe.models.items()}:
            return {}
        with closing(copied(run / "memory.sqlite", ":memory:")) as memory:
            [(held,)] = memory.execute(f"select count(*) from attempts where {budgets.HELD}")
            [(seconds,)] = memory.execute("select total(body ->> 'seconds') from events where kind = 'worked'")
            sql = "select role, sum(prompt_tokens) + sum(completion_tokens) from costs group by role"
            taken = {SECONDS: seconds, **dict(memory.execute(sql))}
        return {what: number / held for what, number in taken.items()} if seconds and held else {}
    return {}
