"""Charts as inline SVG: one palette that is safe for colour blindness, marks and dashes beside it, every interval."""

import math
from collections.abc import Iterable, Sequence
from itertools import count

from markupsafe import Markup

from evals.report.markdown import span, value, visible
from evals.report.shapes import Bars, Chart, Grid, Lines, Rate, Scatter, Tile

WIDTH, HEIGHT = 480, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 44
STEP = 22
"""Height of a row of names."""
LETTER = 7.2
"""Width of a letter, about; on a phone, where letters are larger beside the rest."""
HEAT = 10
"""Steps of a heat map."""
MARKS = ("circle", "square", "diamond", "triangle", "cross", "ring")
GROUPS = {"base": 0, "candidate": 1, "champion": 2, "compared": 3}
OTHERS = (1, 3, 4, 5, 0, 2)
TICKS = 5


def drawn(chart: Chart, name: str) -> Markup:
    """A chart as an SVG element. `name` tells apart the ids of a page."""
    match chart:
        case Lines():
            body, height = lines(chart)
        case Bars():
            body, height = bars(chart)
        case Scatter():
            body, height = scatter(chart)
        case Grid():
            body, height = grid(chart)
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title>'
        '<desc id="{id}-d">{about}</desc>{body}</svg>'
    ).format(w=WIDTH, h=round(height), id=name, title=visible(chart.title), about=told(chart), body=body)


def told(chart: Chart) -> str:
    """What a chart shows, for those who do not see it; the numbers are in the table beside it."""
    shown = {"lines": "Lines", "bars": "Bars", "scatter": "Points", "grid": "A heat map"}[chart.kind]
    return visible(f"{shown}: {chart.y} by {chart.x}. The table below has the numbers and their 95 % intervals.")


def joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def words(x: float, y: float, said: str, anchor: str = "start", kind: str = "tick") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        round(x, 1), round(y, 1), anchor, kind, visible(said).replace("`", "")
    )


def stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<path d="M{} {}L{} {}" class="{}"/>').format(*(round(end, 1) for end in (x1, y1, x2, y2)), kind)


def mark(x: float, y: float, number: int, about: str) -> Markup:
    """The mark of a series: its shape says which as well as its colour."""
    r, kind = 4, f"m s{number % len(MARKS)}"
    shapes = {
        "circle": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        "square": f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
        "diamond": f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z",
        "triangle": f"M{x:.1f} {y - 5:.1f}l5 9h-10z",
        "cross": f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}",
        "ring": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
    }
    shape = MARKS[number % len(MARKS)]
    return Markup('<path d="{}" class="{} {}"><title>{}</title></path>').format(
        shapes[shape], kind, shape, visible(about)
    )


def ends(rates: Iterable[Rate]) -> list[float]:
    return [end for one in rates for end in (one.low, one.value, one.high) if end is not None]


def scale(values: Sequence[float], unit: str) -> tuple[float, float, list[float]]:
    """From where to where an axis goes, and its ticks, at round numbers."""
    low, high = min(values), max(values)
    if unit == "share":
        low, high = 0.0, max(high, 0.05)
    elif unit == "points":
        low, high = min(low, 0.0), max(high, 0.01)
    span = (high - low) or 1.0
    rough = span / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if unit == "share":
        last = min(last, math.ceil(1 / step - 1e-9))
    ticks = [number * step for number in range(first, last + 1)]
    return ticks[0], max(ticks[-1], ticks[0] + step), ticks


def labelled(tick: float, unit: str) -> str:
    return f"{tick * 100:.4g}" if unit in ("share", "points") else f"{tick:.4g}"


class Axis:
    """From numbers to places on the page."""

    def __init__(self, values: Sequence[float], unit: str, start: float, end: float) -> None:
        self.low, self.high, self.ticks = scale(values, unit)
        self.start, self.end, self.unit = start, end, unit

    def __call__(self, number: float) -> float:
        share = (min(max(number, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def frame(x: Axis, y: Axis, across: str, up: str, bottom: float) -> Markup:
    """Grid lines, ticks and what the axes are."""
    parts = [stroke(LEFT, y(tick), WIDTH - RIGHT, y(tick), "g") for tick in y.ticks]
    parts += [words(LEFT - 6, y(tick) + 4, labelled(tick, y.unit), "end") for tick in y.ticks]
    parts += [words(x(tick), bottom + 15, labelled(tick, x.unit), "middle") for tick in x.ticks]
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, bottom + 34, across, "middle", "axis"))
    parts.append(Markup('<text transform="translate(11 {}) rotate(-90)" text-anchor="middle" class="axis">{}</text>')
                 .format(round((TOP + bottom) / 2), visible(up)))  # fmt: skip
    return joined(parts)


def numbered(names: Iterable[str]) -> dict[str, int]:
    """The mark and colour of each series, six at most; base and champion have theirs on every chart."""
    return {name: GROUPS.get(name, OTHERS[number % len(OTHERS)]) for number, name in enumerate(names)}


def legend(names: Sequence[str], top: float) -> tuple[Markup, float]:
    """The names of series with their marks, in as many rows as they take, and how high that is."""
    x, y, parts = float(LEFT), top, list[Markup]()
    for name, number in numbered(names).items():
        wide = 18 + LETTER * len(name) + 12
        if x > LEFT and x + wide > WIDTH:
            x, y = float(LEFT), y + 18
        parts += [mark(x + 5, y - 4, number, name), words(x + 15, y, name, kind="key")]
        x += wide
    return joined(parts), y - top + 18 if names else 0.0


def lines(chart: Lines) -> tuple[Markup, float]:
    unit = chart.series[0].ys[0].unit
    bottom = HEIGHT - BOTTOM
    xs = sorted({x for one in chart.series for x in one.xs})
    shown = [*ends(rate for one in chart.series for rate in one.ys), *(bound.value for bound in chart.bounds)]
    y = Axis(shown, unit, bottom, TOP)
    x = Axis([min(xs), max(xs)], "number", LEFT + 12, WIDTH - RIGHT - 12)
    x.low, x.high = min(xs), max(max(xs), min(xs) + 1)
    ticks = [tick for tick in x.ticks if x.low <= tick <= x.high and tick == int(tick)]
    x.ticks = xs if len(xs) <= 9 else ticks
    parts = [frame(x, y, chart.x, chart.y, bottom)]
    for bound in chart.bounds:
        parts.append(stroke(LEFT, y(bound.value), WIDTH - RIGHT, y(bound.value), "bound"))
        said = f"{bound.name} {labelled(bound.value, unit)}{' %' if unit == 'share' else ''}"
        parts.append(words(LEFT + 4, y(bound.value) - 4, said, kind="key"))
    few = max(len(one.xs) for one in chart.series) <= 20
    numbers = numbered(one.name for one in chart.series)
    for one in chart.series:
        number = numbers[one.name]
        at = [(x(place), rate) for place, rate in zip(one.xs, one.ys, strict=True)]
        parts += [band(at, y, number), path(at, y, number)]
        parts += [whisker(rate, y, place, f"s{number % len(MARKS)}", True) for place, rate in at if len(at) == 1]
        parts += [mark(place, y(rate.value), number, f"{one.name}: {value(rate)} {span(rate)}")
                  for place, rate in at if few]  # fmt: skip
    keys, high = legend([one.name for one in chart.series], HEIGHT + 8)
    return joined([*parts, keys]), HEIGHT + high


def band(at: Sequence[tuple[float, Rate]], y: Axis, number: int) -> Markup:
    """The intervals of a line."""
    known = [(x, rate.low, rate.high) for x, rate in at if rate.low is not None and rate.high is not None]
    if len(known) < 2:
        return Markup("")
    there = [f"{x:.1f} {y(high):.1f}" for x, _, high in known]
    back = [f"{x:.1f} {y(low):.1f}" for x, low, _ in reversed(known)]
    return Markup('<path d="M{}z" class="band f{}"/>').format("L".join([*there, *back]), number % len(MARKS))


def path(at: Sequence[tuple[float, Rate]], y: Axis, number: int) -> Markup:
    points = "L".join(f"{x:.1f} {y(rate.value):.1f}" for x, rate in at)
    return Markup('<path d="M{}" class="line s{}"/>').format(points, number % len(MARKS))


def whisker(rate: Rate, axis: Axis, at: float, kind: str, upright: bool = False) -> Markup:
    """An interval along its axis; nothing where there is none."""
    if rate.low is None or rate.high is None:
        return Markup("")
    low, high = axis(rate.low), axis(rate.high)
    return stroke(*((at, low, at, high) if upright else (low, at, high, at)), f"whisker {kind}")


def bars(chart: Bars) -> tuple[Markup, float]:
    """Points with error bars, a row for each name: a length from nought would hide where the interval ends."""
    rates = [rate for column in chart.series.values() for rate in column if rate]
    names = [cut(name, 30) for name in chart.names]
    left = min(12 + LETTER * max(map(len, names)), 200)
    high = max(STEP, 12 * len(chart.series) + 6)
    bottom = TOP + high * len(names)
    x = Axis(ends(rates), rates[0].unit, left + 8, WIDTH - RIGHT)
    parts = [stroke(x(tick), TOP, x(tick), bottom, "zero" if tick == 0 else "g") for tick in x.ticks]
    parts += [words(x(tick), bottom + 15, labelled(tick, x.unit), "middle") for tick in x.ticks]
    parts.append(words((left + WIDTH) / 2, bottom + 34, chart.x, "middle", "axis"))
    for row, name in enumerate(names):
        middle = TOP + high * (row + 0.5)
        parts.append(words(left, middle + 4, name, "end", "key"))
        for place, (title, number) in enumerate(numbered(chart.series).items()):
            rate = chart.series[title][row]
            if rate is None:
                continue
            at = middle + 12 * (place - (len(chart.series) - 1) / 2)
            parts.append(whisker(rate, x, at, f"s{number % len(MARKS)}"))
            parts.append(mark(x(rate.value), at, number, f"{title}, {name}: {value(rate)} {span(rate)}"))
    keys, more = legend(list(chart.series) if len(chart.series) > 1 else [], bottom + 58)
    return joined([*parts, keys]), bottom + BOTTOM + more


def scatter(chart: Scatter) -> tuple[Markup, float]:
    bottom = HEIGHT - BOTTOM
    x = Axis(ends(spot.x for spot in chart.spots), "share", LEFT, WIDTH - RIGHT)
    y = Axis(ends(spot.y for spot in chart.spots), "share", bottom, TOP)
    parts = [frame(x, y, chart.x, chart.y, bottom)]
    groups = [group for group in GROUPS if any(spot.group == group for spot in chart.spots)]
    named = list[float]()
    for spot in sorted(chart.spots, key=lambda one: one.group == "champion"):
        number, (across, up) = GROUPS[spot.group], (x(spot.x.value), y(spot.y.value))
        parts.append(whisker(spot.x, x, up, f"thin s{number}"))
        parts.append(whisker(spot.y, y, across, f"thin s{number}", True))
        about = f"{spot.name}: IPRR {value(spot.y)} {span(spot.y)}, VPRR {value(spot.x)} {span(spot.x)}"
        parts.append(mark(across, up, number, visible(about)))
        if len(groups) == 1:  # nothing else tells them apart
            left, anchor = (across + 8, "start") if across < WIDTH / 2 else (across - 8, "end")
            named.append(next(at for at in count(up - 5, 12) if all(abs(at - other) >= 12 for other in named)))
            parts.append(words(left, named[-1], spot.name, anchor, "key"))
    keys, high = legend(groups if len(groups) > 1 else [], HEIGHT + 8)
    return joined([*parts, keys]), HEIGHT + high


def grid(chart: Grid) -> tuple[Markup, float]:
    """A heat map: the number stands in each cell, so that it is not told by colour alone. Where columns are narrower
    than their names, every other name is a line lower."""
    names, titles = [cut(name, 26) for name in chart.names], [cut(name, 12) for name in chart.columns]
    left = min(12 + LETTER * max(map(len, names)), 180)
    wide = (WIDTH - RIGHT - left - 6) / max(len(titles), 1)
    drop = 13 if LETTER * max(map(len, titles), default=0) > wide else 0
    top = 22.0 + drop
    parts = [words(left + 6 + wide * (column + 0.5), 14 + drop * (column % 2), title, "middle")
             for column, title in enumerate(titles)]  # fmt: skip
    for row, (name, cells) in enumerate(zip(names, chart.cells, strict=True)):
        y = top + STEP * row
        parts.append(words(left, y + 15, name, "end", "key"))
        for column, rate in enumerate(cells):
            x = left + 6 + wide * column
            parts.append(box(x, y, wide, rate, f"{name}, {chart.columns[column]}"))
    bottom = top + STEP * len(names)
    return joined([*parts, words((left + WIDTH) / 2, bottom + 18, f"{chart.x} (%)", "middle", "axis")]), bottom + 26


def box(x: float, y: float, wide: float, rate: Rate | None, about: str) -> Markup:
    heat = "none" if rate is None else f"h{round(rate.value * HEAT)}"
    said = "" if rate is None else f"{rate.value * 100:.0f}"
    title = f"{about}: {f'{value(rate)} {span(rate)}, n {rate.n}' if rate else 'not tried'}"
    drawing = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" class="cell {}"><title>{}</title></rect>')
    box = drawing.format(x + 1, y + 1, max(wide - 2, 1), STEP - 2, heat, visible(title))
    return box + words(x + wide / 2, y + 15, said, "middle", f"in {heat}") if said else box


def pair(tile: Tile) -> Markup:
    """The base and the champion on one line from 0 to 100 %, for the first thing one sees."""
    x = Axis([0.0, 1.0], "share", 8, 232)
    parts = [stroke(8, 14, 232, 14, "g")]
    for number, rate in ((0, tile.before), (2, tile.after)):
        parts.append(whisker(rate, x, 14, f"s{number}"))
        parts.append(mark(x(rate.value), 14, number, f"{value(rate)} {span(rate)}"))
    return Markup('<svg viewBox="0 0 240 28" aria-hidden="true">{}</svg>').format(joined(parts))


def cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
