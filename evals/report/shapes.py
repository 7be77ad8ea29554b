"""What a report is made of: tables and charts of numbers with intervals. What shows them computes nothing."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from tools.statistics import Interval, wilson

ANY: TypeAdapter[Any] = TypeAdapter(Any)
Unit = Literal["share", "points", "number"]
"""Points are a difference between shares, and stored as it is: 0.05 is five points."""


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Rate:
    """A number with its 95 % interval, where it has one; `k` of `n`, where it is a share that is shown as counts.

    Slots hold it in a quarter of the memory: the report of a long run has thousands.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    k: int | None = None
    coverage: float = 1.0
    unit: Unit = "share"


def counted(k: int, n: int) -> Rate | None:
    """k of n with Wilson's interval; None of nothing."""
    low, high = wilson(k, n)
    return Rate(value=k / n, low=low, high=high, n=n, k=k) if n else None


def of(interval: Interval | None, unit: Unit = "share") -> Rate | None:
    return Rate(value=interval.value, low=interval.low, high=interval.high, unit=unit) if interval else None


Cell = Rate | str | int | float | None


class Table(Shape):
    kind: Literal["table"] = "table"
    title: str = ""
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Series(Shape):
    """Numbers along an axis. An x without a number is not in it."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[Rate, ...]


class Bound(Shape):
    """A value that is drawn across a chart, such as a target."""

    name: str
    value: float


class Lines(Shape):
    """Series over a number, each with its interval as a band."""

    kind: Literal["lines"] = "lines"
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    bounds: tuple[Bound, ...] = ()
    summary: Table | None = None
    """What stands for the points where they are too many for a table."""

    @property
    def table(self) -> Table:
        """The points as a table, a row for each x."""
        if self.summary:
            return self.summary
        known = [dict(zip(one.xs, one.ys, strict=True)) for one in self.series]
        rows: list[tuple[Cell, ...]] = [
            (count(x), *(one.get(x) for one in known)) for x in sorted({x for one in known for x in one})
        ]
        rows += [(bound.name, *[Rate(value=bound.value)] * len(known)) for bound in self.bounds]
        return Table(title=self.title, head=(self.x, *(one.name for one in self.series)), rows=tuple(rows))


class Bars(Shape):
    """One or several numbers for each of some names, with error bars."""

    kind: Literal["bars"] = "bars"
    title: str
    x: str
    """What the numbers are, with their unit."""
    y: str
    """What the names are."""
    names: tuple[str, ...]
    series: dict[str, tuple[Rate | None, ...]]

    @property
    def table(self) -> Table:
        columns = zip(*self.series.values(), strict=True)
        rows = tuple((name, *cells) for name, cells in zip(self.names, columns, strict=True))
        return Table(title=self.title, head=(self.y, *self.series), rows=rows)


class Spot(Shape):
    name: str
    x: Rate
    y: Rate
    group: str = ""


class Scatter(Shape):
    """Things by two numbers, each with its interval."""

    kind: Literal["scatter"] = "scatter"
    title: str
    x: str
    y: str
    spots: tuple[Spot, ...]

    @property
    def table(self) -> Table:
        rows = tuple((spot.name, spot.x, spot.y) for spot in self.spots)
        return Table(title=self.title, head=("model", self.x, self.y), rows=rows)


class Grid(Shape):
    """Shares by two names, as a heat map; None where nothing was tried."""

    kind: Literal["grid"] = "grid"
    title: str
    x: str
    y: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    cells: tuple[tuple[Rate | None, ...], ...]

    @property
    def table(self) -> Table:
        rows = tuple((name, *cells) for name, cells in zip(self.names, self.cells, strict=True))
        return Table(title=self.title, head=(f"{self.y} \\ {self.x}", *self.columns), rows=rows)


class Source(Shape):
    """Text that is shown as it is, such as a recipe."""

    kind: Literal["source"] = "source"
    title: str
    text: str


class Said(Shape):
    """A turn of a transcript, cut where it is long."""

    role: str
    text: str
    plain: str = ""
    dropped: str = ""
    more: int = 0
    """How many characters of it are left out."""


class Transcript(Shape):
    """One conversation in which the target broke. It holds harmful text."""

    attempt: str
    goal: str
    cycle: int
    target: str
    severity: int | None = None
    reason: str = ""
    turns: tuple[Said, ...]


class Finding(Shape):
    """A vulnerability: a harm area asked for in a way and a language, cycle by cycle."""

    area: str
    way: str
    language: str
    state: str
    trend: dict[int, Rate]
    """By cycle, how many of the judged attacks broke the target."""
    transcripts: tuple[Transcript, ...]
    left_out: int
    """How many more conversations broke it."""


class Findings(Shape):
    kind: Literal["findings"] = "findings"
    findings: tuple[Finding, ...]


Chart = Lines | Bars | Scatter | Grid
Block = Annotated[Table | Chart | Source | Findings, Field(discriminator="kind")] | str


class Section(Shape):
    name: str
    about: str = ""
    blocks: tuple[Block, ...] = ()


class Tile(Shape):
    """One measure of the answer: the base against the champion."""

    name: str
    before: Rate
    after: Rate
    change: Rate
    paired: bool
    """Whether the change is over the same items."""
    meaning: Literal["better", "worse", "not shown to differ"]
    limit: float | None = None
    """By how much the gate lets it get worse; None where it does not ask."""


class Report(Shape):
    """What `report.json` holds, and what `report.md` and `report.html` show."""

    title: str
    run: str
    made: str
    """When, in UTC."""
    ended: str
    champion: str
    """The adapter's id."""
    status: str
    """The champion, how the run ended and whether the guard-rails hold, in a line; empty where it is of no run."""
    headline: str
    verdict: str
    """What the gate said of the champion, in a sentence."""
    tiles: tuple[Tile, ...]
    reductions: dict[str, Rate]
    """By what share harm fell, by split."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    decisions: tuple[dict[str, Any], ...] = ()
    """The events of all decisions, as they were stored."""


def as_json(report: Report) -> Iterator[str | bytes]:
    """The report as JSON, a line for each section and decision: all at once it takes as much again as the report."""
    long = ("sections", "decisions")
    yield report.model_dump_json(exclude=set(long)).removesuffix("}")
    for name in long:
        yield f',\n"{name}": ['
        for number, one in enumerate(getattr(report, name)):
            yield ",\n" if number else "\n"
            yield ANY.dump_json(one)
        yield "]"
    yield "}\n"


def count(x: float) -> int | float:
    return int(x) if x == int(x) else x
