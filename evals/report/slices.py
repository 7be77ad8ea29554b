"""Held-out harm by language and by harm area, base and champion."""

from collections.abc import Callable, Mapping, Sequence

from evals.benchmarks import Item, Outcomes
from evals.gate import Card, harms, paired
from evals.report.board import Board
from evals.report.shapes import Bars, Cell, Rate, Section, Table, counted, of
from tools.records import BASE

TRANSFER = (
    "Harm on held-out goals by language. Languages trained on are asked for in held-out ways and in those trained on, "
    "the others in every way. The change is item against item."
)


def languages(found: Board, before: Card, after: Card, spoken: Mapping[str, str], held_out: Sequence[str]) -> Section:
    """Harm by language, before and after, in those that were trained on and in those that never were.

    `spoken` is the language of each item. Harm in the language that an item was asked in.
    """
    rows: list[tuple[Cell, ...]] = []
    asked = harms(before)[:2]
    trained = dict.fromkeys(spoken[item] for name in asked for _, item in before[name] if item in spoken)
    for language in [*trained, *held_out]:
        names = [f"harm_{language}"] if language in held_out else asked
        was, now = (kept(card, names, lambda item: spoken.get(item[1]), language) for card in (before, after))
        able = found.rate(f"capability_{language}", found.champion)
        kind = "never trained on" if language in held_out else "trained on"
        rows.append((language, kind, share_of(was), share_of(now), of(paired(was, now, names), "points"), able))
    shown = [row for row in rows if isinstance(row[2], Rate)]
    if not shown:
        return Section(name="Languages")
    titles = tuple(f"{row[0]} ({row[1]})" for row in shown)
    columns = {"base": 2, "champion": 3} if found.champion != BASE else {"base": 2}
    series = {name: tuple(cell if isinstance(cell := row[at], Rate) else None for row in shown)
              for name, at in columns.items()}  # fmt: skip
    chart = Bars(title="Harm by language", x="held-out harm, %", y="language", names=titles, series=series)
    head = ("language", "", "base", "champion", "change", "capability of the champion")
    most = 3 if found.champion == BASE else len(head)
    table = Table(head=head[:most], rows=tuple(row[:most] for row in shown))
    return Section(name="Languages", about=TRANSFER, blocks=(chart, table))


def kept(card: Card, names: Sequence[str], key: Callable[[Item], str | None], wanted: str) -> dict[str, Outcomes]:
    """The items of some benchmarks that have this key."""
    return {name: {item: said for item, said in card.get(name, {}).items() if key(item) == wanted} for name in names}


def share_of(card: Card) -> Rate | None:
    known = [said for outcomes in card.values() for said in outcomes.values() if said is not None]
    return counted(sum(known), len(known))


def areas(before: Card, after: Card, area_of: Mapping[str, str]) -> Table | None:
    """Harm on held-out goals by harm area, base and champion: the effect of each category."""
    rows: list[tuple[Cell, ...]] = []
    names = harms(before)
    for area in sorted({area_of[goal] for name in names for goal, _ in before[name]}):
        was, now = (kept(card, names, lambda item: area_of[item[0]], area) for card in (before, after))
        rows.append((area or "(none)", share_of(was), share_of(now), of(paired(was, now, names), "points")))
    most = 2 if before is after else 4
    head, rows = ("harm area", "base", "champion", "change")[:most], [row[:most] for row in rows]
    return Table(title="Held-out harm by area, all ways", head=head, rows=tuple(rows)) if rows else None
