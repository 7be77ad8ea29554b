"""What the report says of the scores: base against champion, cycle by cycle, and every benchmark that there is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from evals.gate import Card, Rail, paired
from evals.report.board import ANSWER, BENCHMARKS, Board, lasting
from evals.report.shapes import (
    Block,
    Bound,
    Cell,
    Lines,
    Rate,
    Scatter,
    Section,
    Series,
    Spot,
    Table,
    Tile,
    counted,
    of,
)
from evals.stopping import Stop
from tools.records import BASE
from tools.statistics import Counts, Interval, unpaired

CURVES = {
    "prefill": ("Prefilled answers", "tokens of a harmful answer put before its own"),
    "best_of_n": ("Best of n", "tries"),
}
BY_CYCLE = (
    "Fresh attacks are those that each cycle's attacker made anew against the champion of that time, and go where it "
    "is weakest; the held-out lines are the same fixed items for every champion. The dashed line is the target: the "
    "loop may stop when the upper bounds of both fresh and held-out harm are below it."
)
GAINS = (
    "Gains are falls in harm: on the held-out items against the champion before, and per cycle in the success of fresh "
    "attacks. The latter are compared within the levels of the attacker that both cycles had open, so that the fall is "
    "not that of their line: a rate that rose as a level opened says nothing about the target. The loop stops when "
    "neither of two cycles gained delta and the upper bounds of both are below it."
)
FRONTIER = (
    "Up and to the left is better: harmful requests refused more often, harmless ones less. Every candidate that was "
    "measured is here, whether it became champion or not."
)
FELL = "fall of fresh attacks, within levels that both cycles had"
SLICES = "Other shares, as measured; of those that are in no other section, the name is the benchmark's own."
Event = Mapping[str, Any]


def tiles(found: Board, before: Card, after: Card, limits: Mapping[str, float]) -> list[Tile]:
    """The answer: what the champion is beside the base, on the same items where there are the same."""
    shown = []
    for name, sign in ANSWER.items():
        was, now = found.rate(name, BASE), found.rate(name, found.champion)
        if was is None or now is None or not was.n or not now.n:
            continue
        same = paired(before, after, [name])
        change = same or unpaired(was.value * was.n, was.n, now.value * now.n, now.n)
        better = (change.low > 0) - (change.high < 0)
        meaning: dict[int, Literal["better", "worse", "not shown to differ"]] = {1: "better", -1: "worse"}
        difference = of(change, "points")
        if difference:
            shown.append(Tile(
                name=BENCHMARKS[name], before=was, after=now, change=difference, paired=same is not None,
                meaning=meaning.get(better * sign, "not shown to differ"), limit=limits.get(name),
            ))  # fmt: skip
    return shown


def answer(found: Board, shown: Sequence[Tile], rails: Sequence[Rail]) -> Section:
    """The first table: base, champion and compared models, what changed, and whether the guard-rails hold."""
    names = [name for name in ANSWER if found.rate(name, BASE)]
    models = dict.fromkeys([BASE, found.champion, *found.compared])
    rows = [(found.names[model], *(found.rate(name, model) for name in names)) for model in models]
    changes = {tile.name: tile.change for tile in shown}
    if found.champion != BASE:
        rows.append(("champion less base", *(changes.get(BENCHMARKS[name]) for name in names)))
    return Section(name="Base against champion", blocks=boxed([models_by(found, names, rows), guarded(rails)]))


def guarded(rails: Sequence[Rail]) -> Table | None:
    """The guard-rails, by how much each share may get worse against the base, and what may be said of that."""
    rows = [
        (one.name, of(one.change, "points"), Rate(value=one.limit, unit="points"), one.n,
         f"broken: {one.fault}" if one.fault else "holds, a harm so large is excluded" if one.excluded else "holds",
         Rate(value=one.power)) for one in rails
    ]  # fmt: skip
    head = ("guard-rail", "change", "may get worse by", "items", "", "power to exclude the harm")
    return Table(title="Guard-rails, against the base", head=head, rows=tuple(rows)) if rows else None


def models_by(found: Board, names: Iterable[str], rows: Sequence[tuple[Cell, ...]]) -> Table:
    head = ("model", *(headed(found, name) for name in names))
    return Table(head=head, rows=tuple(rows))


def headed(found: Board, name: str) -> str:
    """A benchmark's title, and of how many items it is."""
    n = max((score.n or 0 for (one, _, part), score in found.scores.items() if one == name and not part), default=0)
    upto = f", up to cycle {max(found.suites)}" if name == "regressions" else ""
    return f"{called(name)}{upto} (n {n})"


def called(name: str) -> str:
    return BENCHMARKS.get(name) or " in ".join(name.split("_")).capitalize()


def boxed(blocks: Iterable[Block | None]) -> tuple[Block, ...]:
    return tuple(one for one in blocks if one)


def scored(found: Board, names: Sequence[str]) -> Table | None:
    """A row for each model that was measured, a column for each benchmark that it was measured on."""
    shown = [name for name in names if any((name, model, "") in found.scores for model in found.names)]
    rows = [
        (title, *(found.rate(name, model) for name in shown))
        for model, title in found.names.items()
        if any((name, model, "") in found.scores for name in shown) and not lasting(model)
    ]
    return models_by(found, shown, rows) if rows else None


def scores(found: Board) -> Section:
    """The base and every candidate, a row each, on the benchmarks that are decided by."""
    return Section(name="What was measured", blocks=boxed([scored(found, list(BENCHMARKS))]))


def unseen(found: Board) -> Section:
    """The same in the languages that were never trained on."""
    names = sorted({name for name, _, _ in found.scores if name.startswith(("harm_", "capability_"))} - set(BENCHMARKS))
    return Section(name="Languages never trained on", blocks=boxed([scored(found, names)]))


def by_cycle(found: Board, fresh: Mapping[int, tuple[int, int]], choices: Sequence[Event], decisions: Sequence[Event],
             rule: Stop, alike: Mapping[int, tuple[Counts, Counts]]) -> Section:  # fmt: skip
    """Harm as the cycles went by, fresh and held-out apart, and what each cycle gained, with the bounds of the stop.

    `alike` are the attacks of two cycles ago and of a cycle, by the attacker's level.
    """
    champions = {0: BASE} | {event["cycle"]: event["chosen"] for event in choices}
    attacked: dict[float, Rate] = {cycle - 1: rate for cycle, counts in fresh.items() if (rate := counted(*counts))}
    lines = {"fresh attacks": attacked}
    for name in ("harm", "harm_adaptive", "harm_seen_ways"):
        rates = {float(cycle): found.rate(name, model) for cycle, model in sorted(champions.items())}
        lines[BENCHMARKS[name].lower()] = {cycle: rate for cycle, rate in rates.items() if rate}
    gains: dict[float, Rate] = {event["cycle"]: gain for event in choices if (gain := gained(event))}
    whole = all(rate.high is not None for rate in gains.values())
    falls = {"held-out gain" if whole else "upper end of the held-out gain": gains} | {
        title: {event["cycle"] - 1: Rate(value=value, low=low, high=high, unit="points")
                for event in decisions if event.get(key) for value, low, high in [event[key]]}
        for key, title in (("held_out_gain", "its mean over two cycles, at 99 %"), ("fresh_gain", FELL))
    }  # fmt: skip
    charts = [
        Lines(title="Harm of each champion", x="cycles of training behind it", y="conversations that broke it, %",
              series=lined(lines), bounds=(Bound(name="target", value=rule.target),)),
        Lines(title="Gain of each cycle", x="cycle", y="fall in harm, percentage points",
              series=lined(falls), bounds=(Bound(name="delta", value=rule.delta),)),
    ]  # fmt: skip
    shown = [chart for chart in charts if chart.series]
    return Section(name="Harm by cycle", about=f"{BY_CYCLE} {GAINS}" if shown else "",
                   blocks=boxed([*shown, within_levels(decisions, alike)]))  # fmt: skip


def within_levels(decisions: Sequence[Event], alike: Mapping[int, tuple[Counts, Counts]]) -> Table | None:
    """What the fall of fresh attacks is of: how many of each cycle's attacks are in levels that both had."""
    rows: list[tuple[Cell, ...]] = []
    for event in decisions:
        then, now = alike.get(event["cycle"], ({}, {}))
        both = [level for level in then if then[level][1] and now.get(level, (0, 0))[1]]
        if event.get("fresh_gain") and both:
            counts = [f"{round(sum(one[level][1] for level in both))} of {round(sum(n for _, n in one.values()))}"
                      for one in (then, now)]  # fmt: skip
            fell = of(Interval(*event["fresh_gain"]), "points")
            rows.append((f"{event['cycle'] - 2} to {event['cycle']}", fell, ", ".join(both), *counts))
    head = ("cycles", "fall a cycle", "levels that both had", "attacks in them, then", "attacks in them, now")
    return Table(title="Fall of fresh attacks, level against level", head=head, rows=tuple(rows)) if rows else None


def gained(event: Event) -> Rate | None:
    """What a cycle gained by its `choice`; older runs kept the upper end alone."""
    high = event.get("gain_high")
    if high is None:
        return None
    value, low = event.get("gain"), event.get("gain_low")
    if not isinstance(value, float) or not isinstance(low, float):
        return Rate(value=high, unit="points")
    return Rate(value=value, low=low, high=high, unit="points")


def lined(lines: Mapping[str, Mapping[float, Rate]]) -> tuple[Series, ...]:
    return tuple(Series(name=name, xs=tuple(found), ys=tuple(found.values())) for name, found in lines.items() if found)


def frontier(found: Board) -> Section:
    """Harmful requests refused against harmless ones refused, every candidate a point."""
    spots = [
        Spot(name=title, x=x, y=y, group="base" if model == BASE else "champion" if model == found.champion
             else "compared" if model in found.compared else "candidate")
        for model, title in found.names.items()
        if (x := found.rate("over_refusal", model)) and (y := found.rate("iprr", model)) and not lasting(model)
    ]  # fmt: skip
    chart = Scatter(title="IPRR against VPRR", x="harmless requests refused (VPRR), %",
                    y="harmful requests refused (IPRR), %", spots=tuple(spots))  # fmt: skip
    return Section(name="Refusing the right things", about=FRONTIER if spots else "", blocks=(chart,) if spots else ())


def robustness(found: Board) -> Section:
    """Beyond the prompt: answers begun for the model, sampling repeated, and many tries."""
    blocks: list[Block | None] = []
    for name, (title, x) in CURVES.items():
        steps = sorted({int(part) for one, _, part in found.scores if one == name and part.isdigit()})
        series = lined({
            found.short(model): {step: rate for step in steps if (rate := found.rate(name, model, str(step)))}
            for model in found.measured(name)
        })  # fmt: skip
        blocks.append(Lines(title=title, x=x, y="harm, %", series=series) if series else None)
    return Section(name="Robustness beyond the prompt", blocks=boxed([*blocks, parts_of(found, ["repeats"])]))


def lasts(found: Board) -> Section:
    """The champion measured again after merging, quantisation and a harmless fine-tune."""
    models = [found.champion, *(model for model in found.names if lasting(model))]
    names = [name for name in dict.fromkeys(name for name, _, part in found.scores if not part)
             if any((name, model, "") in found.scores for model in models[1:])]  # fmt: skip
    if not names:
        return Section(name="Does it last")
    rows = [(found.names[model], *(found.rate(name, model) for name in names)) for model in models]
    return Section(name="Does it last", blocks=(models_by(found, names, rows),))


def others(found: Board) -> list[Section]:
    """Suites, lm-evaluation-harness, and whatever else has a score: a row for each measure, a column for each model."""
    shown = {*BENCHMARKS, *CURVES, "repeats"}
    left = sorted({name for name, _, _ in found.scores if name not in shown
                   and not name.startswith(("harm_", "capability_"))})  # fmt: skip
    groups = {
        "Suites": [name for name in left if name.startswith("suite/")],
        "Capability by lm-evaluation-harness": [name for name in left if name.startswith("lm_eval/")],
    }
    rest = [name for name in left if not any(name in names for names in groups.values())]
    parts = sorted({name for name, _, part in found.scores if part and name in BENCHMARKS})
    known = [Section(name=title, blocks=boxed([parts_of(found, names)])) for title, names in groups.items()]
    blocks = boxed([parts_of(found, rest), parts_of(found, parts, parts_only=True)])
    return [*known, Section(name="Other scores", about=SLICES if blocks else "", blocks=blocks)]


def parts_of(found: Board, names: Sequence[str], parts_only: bool = False) -> Table | None:
    """Every part of some benchmarks, a row each; the models are columns."""
    keys = sorted({(name, part) for name, _, part in found.scores if name in names and (part or not parts_only)})
    models = [model for model in found.names if any((*key[:1], model, key[1]) in found.scores for key in keys)]
    rows = [(f"{name.removeprefix('suite/').removeprefix('lm_eval/')}{', ' + part if part else ''}",
             *(found.rate(name, model, part) for model in models)) for name, part in keys]  # fmt: skip
    head = ("measure", *(found.names[model] for model in models))
    return Table(head=head, rows=tuple(rows)) if rows else None
