"""An ablation: what each arm came to over its seeds, and by how much it differs from the first on the same items."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.gate import Card
from evals.report.board import BENCHMARKS
from evals.report.measured import boxed
from evals.report.repeats import (
    Known,
    Ran,
    amount,
    attacked,
    both,
    contrast,
    level,
    mean_of,
    meaning,
    signs,
)
from evals.report.shapes import (
    Bars,
    Cell,
    Chart,
    Grid,
    Lines,
    Report,
    Scatter,
    Section,
    Series,
    Spot,
    Table,
    of,
)
from tools.significance import holm

MEASURES = ("harm", "iprr", "over_refusal", "capability")
"""What an arm is asked for first; harm is with held-out goals, in held-out ways."""
INTERVALS = (
    "A value is the mean over the seeds, each of which is the whole run anew: other goals, attacks, rows and training. "
    "Its interval is at either end the wider of two. Student's t over the seeds says how much a run differs from the "
    "next, and is wide, as seeds are few; it would be nothing where all seeds agree by chance. Wilson's of all items "
    "together, a goal counted once, says how much the items leave open, and does so with one seed too. Whether a fresh "
    "attack broke the model is what the judge says that labels rows, mistakes and all."
)
AGAINST = (
    "The arm less the first one, seed by seed on the same items, by the champions that the runs ended with. The "
    "interval is the wider of t over the seeds' differences and of all pairs of items together (Newcombe's tenth). p "
    "is McNemar's exact test of all pairs, adjusted by Holm over this table: it is about these models on other items, "
    "and the t about other runs. A difference is only said to be shown where the wider interval leaves 0 out."
)
EFFECTS = (
    "What a value does on average over all arms that have it, against the first value of its key in the arms that are "
    "otherwise the same. Where it matters what it is combined with, the arms themselves say so, and not this table."
)


@dataclass(frozen=True)
class Asked:
    """What was asked of an ablation."""

    title: str
    question: str
    about: str
    arms: Mapping[str, str]
    """By name, in what it differs."""
    values: Mapping[str, Mapping[str, str]]
    """By name, the value of each key that is varied."""
    planned: int
    """How many runs."""
    bases: int
    """How often the base was measured."""


def ablated(asked: Asked, runs: Sequence[Ran], failed: Mapping[str, str], made: str) -> Report:
    """The report of an ablation as far as it has come."""
    by_arm = {arm: [one for one in runs if one.arm == arm] for arm in asked.arms}
    by_arm = {arm: some for arm, some in by_arm.items() if some}
    first = next(iter(by_arm), "")
    sections = [
        arms(asked, by_arm), came_to(by_arm), drawn(asked, by_arm), against(by_arm), effects(asked, by_arm),
        sliced("language", by_arm, lambda one, goal, item: one.languages.get(item, "")),
        sliced("harm area", by_arm, lambda one, goal, item: one.areas.get(goal, "")),
        others(by_arm), spent(by_arm), lost(failed), untold(asked, by_arm),
    ]  # fmt: skip
    missing = asked.planned - len(runs)
    return Report(
        title=asked.title, run="", made=made, champion="", status="", verdict="", tiles=(), reductions={},
        ended=f"{len(runs)} of {asked.planned} runs are finished",
        headline="\n\n".join(part for part in (asked.question, summary(by_arm, first)) if part),
        warnings=(f"{missing} of {asked.planned} runs are not finished; what is below is of the others.",)
        if missing else (),
        notes=(asked.about,) if asked.about else (), sections=tuple(one for one in sections if one.blocks),
    )  # fmt: skip


def summary(by_arm: Mapping[str, Sequence[Ran]], first: str) -> str:
    """What differs from the first arm in a measure of the answer, in a sentence."""
    if len(by_arm) < 2:
        return ""
    said = []
    rows = compared(by_arm, MEASURES)
    for arm in list(by_arm)[1:]:
        ways = {way: " and ".join(str(row[1]) for row in rows if (row[0], row[-1]) == (arm, way))
                for way in ("better", "worse")}  # fmt: skip
        told = "; ".join(f"{way} in {names}" for way, names in ways.items() if names)
        said.append(f"`{arm}` is {told or 'not shown to differ'}")
    return f"Against `{first}`: {'. '.join(said)}."


def arms(asked: Asked, by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for arm, settings in asked.arms.items():
        some = by_arm.get(arm, ())
        best = Counter(one.champion.partition(" `")[0] or "the base" for one in some)
        champions = ", ".join(f"{name} ({n})" for name, n in sorted(best.items()))
        rows.append((arm, settings or "the recipe as it is", len(some), champions))
    said = f"The base was measured {asked.bases} times for {asked.planned} runs: once for all that measure it alike."
    table = Table(head=("arm", "differs in", "seeds finished", "champions at the end"), rows=tuple(rows))
    return Section(name="The arms", blocks=(table, said))


def came_to(by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    every = [one for some in by_arm.values() for one in some]
    names = [name for name in MEASURES if any(one.card.get(name) for one in every)]
    rows = [(name, *(level(some, one, base=True) for one in names), None) for name, some in based(by_arm).items()]
    rows += [(arm, *(level(some, name) for name in names), attacked(some)) for arm, some in by_arm.items()]
    head = ("arm", *(BENCHMARKS[name] for name in names), "Latest fresh attacks that broke it")
    table = Table(head=head, rows=tuple(rows))
    return Section(name="What each came to", about=INTERVALS, blocks=(table,) if rows else ())


def based(by_arm: Mapping[str, Sequence[Ran]]) -> Mapping[str, Sequence[Ran]]:
    """Runs by the name of their base: one for all, or one for each arm where what was measured of it differs."""
    bases, every = dict[int, Card](), [one for some in by_arm.values() for one in some]
    if all(bases.setdefault(one.seed, one.base) == one.base for one in every):
        return {"(the base)": every} if every else {}
    return {f"(the base of {arm})": some for arm, some in by_arm.items()}


def compared(by_arm: Mapping[str, Sequence[Ran]], names: Iterable[str]) -> list[tuple[Cell, ...]]:
    """Every arm against the first, a row for each measure."""
    if not by_arm:
        return []
    (_, before), *rest = by_arm.items()
    found = [(arm, name, one) for arm, after in rest for name in names if (one := contrast(both(before, after), name))]
    adjusted = holm([one.p for _, _, one in found])
    return [
        (arm, BENCHMARKS.get(name, name), of(one.change, "points"), one.n, signs(one), f"{p:.2g}", meaning(name, one))
        for (arm, name, one), p in zip(found, adjusted, strict=True)
    ]


def against(by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    rows = compared(by_arm, MEASURES)
    head = ("arm", "measure", "difference", "pairs of items", "seeds that way", "p", "")
    name = f"Against {next(iter(by_arm), '')}"
    return Section(name=name, about=AGAINST, blocks=(Table(head=head, rows=tuple(rows)),) if rows else ())


def effects(asked: Asked, by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    """The main effects of a grid of several keys."""
    keys = list(next(iter(asked.values.values()), {}))
    rows: list[tuple[Cell, ...]] = []
    for key in keys if len(keys) > 1 else ():
        values = list(dict.fromkeys(asked.values[arm][key] for arm in by_arm))
        for value in values[1:]:
            sides = defaultdict[int, list[tuple[Ran, Ran]]](list)
            for arm, after in by_arm.items():
                if asked.values[arm][key] != value:
                    continue
                twin = dict(asked.values[arm]) | {key: values[0]}
                before = next((some for other, some in by_arm.items() if asked.values[other] == twin), ())
                for seed, some in both(before, after).items():
                    sides[seed] += some
            cells = [of(one.change, "points") if (one := contrast(sides, name)) else None for name in MEASURES]
            rows.append((key, values[0], value, *cells))
    head = ("key", "from", "to", *(BENCHMARKS[name] for name in MEASURES))
    return Section(name="Main effects", about=EFFECTS, blocks=(Table(head=head, rows=tuple(rows)),) if rows else ())


def drawn(asked: Asked, by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    """Every measure by arm, or by the one number that is varied; and refusals of what is harmful and of what is not."""
    rates = {BENCHMARKS[name]: [level(some, name) for some in by_arm.values()] for name in MEASURES}
    rates = {title: some for title, some in rates.items() if any(some)}
    if not rates:
        return Section(name="The arms beside each other")
    xs, axis = number(asked, by_arm)
    chart: Chart = Bars(title="What each arm came to", x="share, %", y="arm", names=tuple(by_arm),
                        series={title: tuple(some) for title, some in rates.items()})  # fmt: skip
    if xs:
        series = []
        for title, some in rates.items():
            there = sorted((x, rate) for x, rate in zip(xs, some, strict=True) if rate)
            series.append(Series(name=title, xs=tuple(x for x, _ in there), ys=tuple(rate for _, rate in there)))
        chart = Lines(title="What each arm came to", x=axis, y="share, %", series=tuple(series))
    return Section(name="The arms beside each other", blocks=tuple(boxed([chart, frontier(by_arm)])))


def number(asked: Asked, by_arm: Mapping[str, Sequence[Ran]]) -> tuple[list[float], str]:
    """The number that the arms differ in, by arm, and its key; empty where it is no number, or not one alone."""
    keys = {key for arm in by_arm for key in asked.values[arm]}
    if len(keys) != 1 or len({asked.values[arm][key] for arm in by_arm for key in keys}) < len(by_arm):
        return [], ""
    (key,) = keys
    try:
        return [float(asked.values[arm][key]) for arm in by_arm], key
    except ValueError:
        return [], ""


def frontier(by_arm: Mapping[str, Sequence[Ran]]) -> Scatter | None:
    """How much of what is harmful is refused, against how much of what is not."""
    spots = [(arm, level(some, "over_refusal"), level(some, "iprr")) for arm, some in by_arm.items()]
    found = tuple(Spot(name=arm, x=x, y=y, group="candidate") for arm, x, y in spots if x and y)
    title = "Refusing the right things: IPRR against VPRR"
    return Scatter(title=title, x="VPRR, %", y="IPRR, %", spots=found) if len(found) > 1 else None


def sliced(what: str, by_arm: Mapping[str, Sequence[Ran]], place: Callable[[Ran, str, str], str]) -> Section:
    """Harm of every arm by what an item has: its language, or the area of its goal."""
    cells: dict[str, dict[str, list[Known]]] = {}
    for arm, some in by_arm.items():
        for one in some:
            parts = defaultdict[str, Known](list)
            for name in [name for name in one.card if name == "harm" or name.startswith("harm_")]:
                if name in ("harm_seen_ways", "harm_adaptive"):
                    continue
                for (goal, item), happened in one.card[name].items():
                    if happened is not None and (part := place(one, goal, item)):
                        parts[part].append((f"{one.seed} {goal}", happened))
            for part, found in parts.items():
                cells.setdefault(arm, {}).setdefault(part, []).append(found)
    columns = tuple(sorted({part for some in cells.values() for part in some}))
    if len(columns) < 2:
        return Section(name=f"Harm by {what}")
    rows = tuple(tuple(mean_of(some.get(part, [])) for part in columns) for some in cells.values())
    chart = Grid(title=f"Harm on held-out goals by {what}", x=what, y="arm", columns=columns, names=tuple(cells),
                 cells=rows)  # fmt: skip
    return Section(name=f"Harm by {what}", blocks=(chart,))


def others(by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    """The other benchmarks, as far as they were measured."""
    names = sorted({name for some in by_arm.values() for one in some for name in one.card} - {*MEASURES})
    names = [name for name in names if any(level(some, name) for some in by_arm.values())]
    head = ("arm", *(BENCHMARKS.get(name, name) for name in names))
    rows = tuple((arm, *(level(some, name) for name in names)) for arm, some in by_arm.items())
    return Section(name="Other benchmarks", blocks=(Table(head=head, rows=rows),) if names else ())


def spent(by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    """What a run of each arm found, and what it cost."""
    paid = any(one.money for some in by_arm.values() for one in some)
    rows: list[tuple[Cell, ...]] = []
    for arm, some in by_arm.items():
        numbers = [[one.cells, one.cycles, one.rows, one.calls, one.tokens, one.seconds, one.money][: 6 + paid]
                   for one in some]  # fmt: skip
        rows.append((arm, *(amount(list(column)) for column in zip(*numbers, strict=True))))
    head = ("arm", "cells that broke", "cycles trained", "rows written", "calls", "tokens", "seconds", "money")
    table = Table(head=head[: 7 + paid], rows=tuple(rows))
    said = ("The mean of a run and, where there are several seeds, the interval of t over them. A cell is a harm area "
            "asked for in a way and a language; it broke where an attack on the model of any cycle did. Measuring "
            "the base is in what every run took, as it would be were the run alone.")  # fmt: skip
    return Section(name="What each found and cost", about=said, blocks=(table,) if rows else ())


def lost(failed: Mapping[str, str]) -> Section:
    """The runs that did not finish."""
    rows = tuple(sorted(failed.items()))
    return Section(name="Runs that failed", blocks=(Table(head=("run", "its last words"), rows=rows),) if rows else ())


def untold(asked: Asked, by_arm: Mapping[str, Sequence[Ran]]) -> Section:
    """What the numbers do not say."""
    seeds = max((len(some) for some in by_arm.values()), default=0)
    said = [
        f"{seeds} seeds say little of how a run differs from the next: t with {max(seeds - 1, 0)} degrees of freedom."
        if seeds > 1 else "One seed says nothing of how a run differs from the next; the intervals are of its items.",
        "The champions are compared, which the gate chose. Where it let none pass an arm is as good as its base, "
        "though something was trained; `gate.over_refusal` and `gate.capability` say what it lets pass.",
        "Runs that share a base share what was asked of it as well, by the attacker of the first of them.",
    ]  # fmt: skip
    none = [arm for arm, some in by_arm.items() if not all(one.champion for one in some)]
    said += [f"In some seeds of {', '.join(none)} no candidate replaced the base."] if none else []
    return Section(name="What this cannot tell", blocks=tuple(said) if by_arm else ())
