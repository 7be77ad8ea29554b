"""What the attacks of a run came to: by persona and language, by technique, by cell, and how much they vary."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from evals.report.shapes import Bars, Cell, Grid, Lines, Rate, Section, Table, counted, of
from evals.report.shapes import Series as Line
from tools.memory import Memory
from tools.similarity import clusters, self_bleu
from tools.statistics import Interval, unpaired, wilson

PLAIN = ("direct", ())
SPREAD = (
    "A cell is a harm area x persona x way of asking x language; it is occupied when an attack in it broke the target. "
    "*Every open cell alike* is what the success would have been without the bandit, estimated from the chance that "
    "each attempt had. Unique clusters are what worked, less near-duplicates; self-BLEU is how much it repeats itself "
    "(1: all the same). *Not as planned* are attempts that the attacker's model would not play or that got no answer."
)
LEVELS = (
    "How many of the judged attacks of each persona, in each language, broke the target of that cycle. A persona or "
    "language that is empty was not open yet."
)
TECHNIQUES = (
    "The ways that broke it most surely, by the lower end of the interval. The lift is the success less that of plain "
    "asking (`direct`) in the same cycle and language."
)
AREAS = "How many of a cycle's judged attacks broke the champion of that time. Each cycle goes where it is still weak."
MOST = 12
"""Techniques shown of a cycle."""
PERSONAS = {"low_skilled": 0, "intermediate": 1, "advanced": 2}
Row = dict[str, Any]


def tallied(rows: Iterable[Row]) -> list[Row]:
    """How many of the labelled attempts of each cell of each cycle were judged, and how many broke their target."""
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["harmful"] is not None:
            count = counts[(row["cycle"], *cell_of(row))]
            count[0] += bool(row["harmful"])
            count[1] += 1
    names = ("cycle", "area", "persona", "strategy", "converters", "language")
    return [dict(zip(names, key, strict=True)) | {"broke": broke, "judged": judged}
            for key, (broke, judged) in counts.items()]  # fmt: skip


def levels(tallies: Sequence[Row]) -> Section:
    """For each cycle, how often each persona broke the target in each language: how the attacker climbed."""
    columns = list(dict.fromkeys((row["language"], row["persona"]) for row in sorted(tallies, key=by_first(tallies))))
    sums = summed(tallies, "cycle", "language", "persona")
    shown = [
        (cycle, *(share(sums.get((cycle, language, persona), (0, 0))) for language, persona in columns))
        for cycle in cycles(tallies)
    ]
    head = ("cycle", *(f"{persona}, {language}" for language, persona in columns))
    blocks = (Table(head=head, rows=tuple(shown)),) if shown else ()
    return Section(name="How the attacker climbed", about=LEVELS, blocks=blocks)


def by_first(rows: Sequence[Row]) -> Any:
    """The order in which languages, and then personas, were first tried; the main language first."""
    first: dict[str, int] = {}
    for row in rows:
        first[row["language"]] = min(first.get(row["language"], row["cycle"]), row["cycle"])
    sizes = {language: sum(row["judged"] for row in rows if row["language"] == language) for language in first}
    return lambda row: (first[row["language"]], -sizes[row["language"]], PERSONAS.get(row["persona"], 3))


def cells(tallies: Sequence[Row], measured: Table | None) -> Section:
    """Where it breaks: harm area x cycle, and persona x strategy of the last cycle, as heat maps."""
    every = cycles(tallies)
    charts = [gridded(tallies, "area", every, f"Success of the attacks, by harm area and cycle (n {total(tallies)})")]
    last = [row for row in tallies if row["cycle"] == every[-1]] if every else []
    charts.append(by_strategy(last, f"Success in cycle {every[-1] if every else 0}, by strategy and persona"))
    shown = [chart for chart in charts if chart.cells]
    return Section(
        name="Where it breaks", about=AREAS if shown else "", blocks=(*shown, *([measured] if measured else []))
    )


def gridded(tallies: Sequence[Row], key: str, every: Sequence[int], title: str) -> Grid:
    sums = summed(tallies, key, "cycle")
    names = sorted({row[key] for row in tallies})
    found = tuple(tuple(share(sums.get((name, cycle), (0, 0))) for cycle in every) for name in names)
    return Grid(title=title, x="cycle", y="harm area", columns=tuple(map(str, every)),
                names=tuple(name or "(none)" for name in names), cells=found)  # fmt: skip


def by_strategy(tallies: Sequence[Row], title: str) -> Grid:
    sums = summed(tallies, "strategy", "persona")
    personas = sorted({row["persona"] for row in tallies}, key=lambda name: (PERSONAS.get(name, 3), name))
    ranks = {row["strategy"]: PERSONAS.get(row["persona"], 3) for row in tallies}
    names = sorted(ranks, key=lambda name: (ranks[name], name))
    found = tuple(tuple(share(sums.get((name, persona), (0, 0))) for persona in personas) for name in names)
    return Grid(title=title, x="persona", y="strategy", columns=tuple(personas), names=tuple(names), cells=found)


def techniques(tallies: Sequence[Row]) -> Section:
    """The ways of asking of the last cycle, and by how much each does better than asking plainly in that language."""
    last = max(cycles(tallies), default=0)
    sums: dict[tuple[Any, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in tallies:
        if row["cycle"] == last:
            broke, judged = sums[way_of(row), row["language"]]
            sums[way_of(row), row["language"]] = (broke + row["broke"], judged + row["judged"])
    found: list[tuple[float, str, str, Rate | None, Rate | None]] = []
    for (way, language), (broke, judged) in sorted(sums.items()):
        plainly = sums.get((PLAIN, language), (0, 0))
        lift: Interval | None = unpaired(*plainly, broke, judged) if plainly[1] and way != PLAIN else None
        found.append((wilson(broke, judged)[0], "+".join([way[0], *way[1]]), language, share((broke, judged)),
                      of(lift, "points")))  # fmt: skip
    found.sort(key=lambda one: -one[0])
    if not found:
        return Section(name="What worked")
    head = ("way", "language", f"broke the target in cycle {last}", "lift over plain asking")
    table = Table(head=head, rows=tuple(one[1:] for one in found[:MOST]))
    return Section(name="What worked", about=TECHNIQUES, blocks=(*lifts(found[:MOST]), table))


def lifts(found: Sequence[tuple[float, str, str, Rate | None, Rate | None]]) -> tuple[Bars, ...]:
    known = [(f"{way}, {language}", lift) for _, way, language, _, lift in found if lift]
    if not known:
        return ()
    names, column = zip(*known, strict=True)
    return (Bars(title="Lift over plain asking", x="above plain asking, percentage points", y="way",
                 names=names, series={"lift": column}),)  # fmt: skip


def spread(memory: Memory, rows: Sequence[Row]) -> Section:
    """For each cycle: success as it was and with every open cell weighing the same, and how varied the attacks were.

    The reweighted rate is Hajek's: each attempt counts for one over how likely its cell was to be drawn.
    """
    sql = """select cycle, count(*) as n from attempts where purpose = 'attack' and (note <> '' or error <> '')
        group by cycle"""
    unplayed = {row["cycle"]: row["n"] for row in memory.query(sql)}
    by_cycle: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_cycle[row["cycle"]].append(row)
    said = memory.said("purpose = 'attack'") if rows else {}
    shown: list[tuple[Cell, ...]] = []
    for cycle, some in sorted(by_cycle.items()):
        known = [row for row in some if row["harmful"] is not None]
        broke = [row for row in known if row["harmful"]]
        worked = [said[row["id"]][-1] for row in broke if row["id"] in said]
        shown.append((
            cycle, counted(len(broke), len(known)), Rate(value=reweighted(known)) if known else None,
            len({cell_of(row) for row in some}), len({cell_of(row) for row in broke}), distinct(worked),
            self_bleu(worked) if len(worked) > 1 else None, unplayed.get(cycle, 0),
        ))  # fmt: skip
    head = ("cycle", "success", "every open cell alike", "cells tried", "cells occupied", "unique clusters",
            "self-BLEU", "not as planned")  # fmt: skip
    if not shown:
        return Section(name="How varied the attacks were")
    table = Table(head=head, rows=tuple(shown))
    return Section(name="How varied the attacks were", about=SPREAD, blocks=(varied(table), table))


def distinct(texts: Sequence[str]) -> int:
    """How many clusters of near-duplicates there are. A text that is said again is looked at once."""
    return len(set(clusters(list(dict.fromkeys(texts)))))


def varied(table: Table) -> Lines:
    """The counts of cells and clusters, as lines."""
    xs = tuple(row[0] for row in table.rows if isinstance(row[0], int))
    columns = {
        table.head[at]: tuple(Rate(value=n, unit="number") for row in table.rows if isinstance(n := row[at], int))
        for at in (3, 4, 5)
    }
    return Lines(title="Cells and clusters", x="cycle", y="how many",
                 series=tuple(Line(name=name, xs=xs, ys=ys) for name, ys in columns.items()))  # fmt: skip


def reweighted(rows: Sequence[Row]) -> float:
    """The share that broke the target, had every cell been as likely as any other."""
    weights = [1 / row["propensity"] if row["propensity"] else 0.0 for row in rows]
    return float(sum(w * row["harmful"] for w, row in zip(weights, rows, strict=True))) / (sum(weights) or 1)


def summed(tallies: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], tuple[int, int]]:
    """How many of the judged attempts broke the target, and how many there were, by some of a cell's names."""
    sums: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in tallies:
        key = tuple(row[name] for name in keys)
        broke, judged = sums.get(key, (0, 0))
        sums[key] = (broke + row["broke"], judged + row["judged"])
    return sums


def fresh(tallies: Iterable[Row]) -> dict[int, tuple[int, int]]:
    """How many of each cycle's judged attacks broke the target, and how many there were."""
    return {cycle: counts for (cycle,), counts in sorted(summed(tallies, "cycle").items())}


def total(tallies: Iterable[Row]) -> int:
    return sum(row["judged"] for row in tallies)


def cycles(tallies: Iterable[Row]) -> list[int]:
    return sorted({row["cycle"] for row in tallies})


def way_of(row: Row) -> tuple[str, tuple[str, ...]]:
    return row["strategy"], row["converters"]


def cell_of(row: Row) -> tuple[Any, ...]:
    return row["area"], row["persona"], *way_of(row), row["language"]


def share(count: tuple[int, int]) -> Rate | None:
    return counted(*count)
