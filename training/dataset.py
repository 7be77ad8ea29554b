"""The rows a stage is trained on: no two alike, none too often begun alike, and mixed by share."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.languages import fits, opening
from tools.records import Example, Kind, Message, digest
from tools.similarity import near

REPLAYED = 0.3
"""The share of the rows that is of earlier cycles where training goes on from the champion: what they
taught it is in it already."""
FEW = 5
"""So many rows may begin alike in however small a pool."""
RARE = 0.5
"""The share of an even part that a language keeps at least where rows are thinned, if it has so many."""


class Shares(BaseModel):
    """How much of the rows is of each kind. Help and retain are in proportion to the refusals there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refuse: float = Field(default=0.2, gt=0, le=1)
    help: float = Field(default=0.4, ge=0, le=1)
    retain: float = Field(default=0.4, ge=0, le=1)
    replay: float | None = Field(default=None, ge=0, lt=1)
    """At most this share of each kind is of earlier cycles. None is all that there are where training begins with the
    base, which has seen none of them; where it goes on from the champion, `REPLAYED` is of those that made it."""
    by: Literal["rows", "tokens"] = "rows"
    """What shares are of: tokens are those of `chosen`, which carry the loss, by the target's own tokenizer."""

    @model_validator(mode="after")
    def add_up(self) -> "Shares":
        total = self.refuse + self.help + self.retain
        if abs(total - 1) > 1e-6:
            raise ValueError(f"training.shares add up to {total:g}; refuse, help and retain must add up to 1")
        return self

    def of(self, kind: Kind) -> float:
        return {"refuse": self.refuse, "help": self.help, "retain": self.retain}[kind]


class Filters(BaseModel):
    """Which rows are left out of what is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    openings: float = Field(default=0.05, gt=0, le=1)
    """The share of the refusals that may begin with the same five words; of a few openings, each keeps an even part."""
    alike: float = Field(default=0.8, gt=0, le=1)
    """From which similarity two rows about one goal are one; 1 is as good as none. Not for the sandbox's goals, which
    differ in a name alone."""
    lengths: float | None = Field(default=None, gt=1)
    """How many times as long as the other the longer text of a pair may be, for DPO; SFT keeps the row. None is any: a
    refusal is short and the harm that it answers is long, so that a ratio takes the pairs that matter first. For those
    whose refusals have grown, or have become curt, by DPO's own taste for length."""


def one(row: Example) -> int:
    """What a row counts where shares are of rows."""
    return 1


def tokens(count: Callable[[str], int]) -> Callable[[Example], int]:
    """What a row counts where shares are of tokens; an answer ends with one of its own."""
    return lambda row: count(row.chosen) + 1


def mix(
    examples: Iterable[Example], shares: Shares, seed: int, most: int, weigh: Callable[[Example], int] = one
) -> list[Example]:
    """At most `most` rows, no two with the same prompt and chosen text, whatever the order they came in.

    The refusals decide the size: the other kinds are taken in their declared proportion to them, as far as there are
    any. (To cut the refusals to what a scarcer kind allows would throw away the fix.) Where a kind has rows to spare,
    every cycle keeps its part, so that the newest rows and the replay stay in proportion. `weigh` says what a row
    counts in these proportions.
    """
    rows = unique(examples)
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in get_args(Kind)}
    weights = {kind: sum(map(weigh, of)) for kind, of in kinds.items()}
    size = most * (fmean(map(weigh, rows)) if rows else 1)
    size = min(size, round(weights["refuse"] / shares.refuse)) if kinds["refuse"] else size
    kept: list[Example] = []
    for kind, of in kinds.items():
        part = size * shares.of(kind) / max(weights[kind], 1)
        kept += thinned(of, int(len(of) * part + 1e-9), seed)
    return sorted(kept, key=lambda row: digest(seed, row.id))[:most]


def preference(row: Example) -> bool:
    """Whether a row is a general pair, for DPO alone."""
    return row.kind == "retain" and bool(row.rejected)


def foreign(row: Example) -> bool:
    """Whether an answer that was written is in another language than it was asked in."""
    return row.kind != "retain" and not fits(row.chosen, row.language, row.prompt[-1].content)


def replayed(rows: Sequence[Example], share: float | None, taught: int, seed: int) -> list[Example]:
    """The rows, those of the cycles as far as `taught` thinned until they are at most `share` of each kind, if there
    are others of it; None takes all."""
    if share is None:
        return list(rows)
    kept: list[Example] = []
    for kind in get_args(Kind):
        of = [row for row in rows if row.kind == kind]
        now = [row for row in of if row.cycle > taught]
        few = int(len(now) * share / (1 - share) + 1e-9) if now else len(of)
        kept += [*now, *thinned([row for row in of if row.cycle <= taught], few, seed)]
    return kept


def varied(examples: Iterable[Example], filters: Filters, seed: int) -> list[Example]:
    """The rows less those that are nearly another's duplicate, and those refusals whose opening is worn out."""
    rows = distinct(unique(examples), filters.alike)
    refusals = capped([row for row in rows if row.kind == "refuse"], filters.openings, seed)
    return [*refusals, *(row for row in rows if row.kind != "refuse")]


def distinct(rows: Sequence[Example], alike: float) -> list[Example]:
    """The rows, in their order, without those that say nearly what an earlier one of the same kind and goal does.

    Two goals in one wrapper are nearly the same text, and not the same row. Rows about no goal are left alone: general
    sets are large, and each pair of their rows would have to be looked at.
    """
    groups: dict[tuple[object, ...], list[Example]] = defaultdict(list)
    for row in rows if alike < 1 else ():
        groups[row.kind, row.goal, row.language].append(row)
    doubles: set[str] = set()
    for (_, goal, _), of in groups.items():
        if not goal:
            continue
        found = sorted(sorted(pair) for pair in near([text_of(row) for row in of], alike))
        gone: set[int] = set()
        for first, second in found:
            gone |= {second} if first not in gone else set()
        doubles |= {of[place].id for place in gone}
    return [row for row in rows if row.id not in doubles]


def text_of(row: Example) -> str:
    return "\n".join([*(message.content for message in row.prompt), row.chosen])


def capped(rows: Sequence[Example], share: float, seed: int) -> list[Example]:
    """The rows without so many as makes one opening more than its share of those that are left.

    Leaving out makes no opening more, so that where there are only a few each keeps at least an even part.
    """
    begun: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        begun[opening(row.chosen)].append(row)
    least, most = max(FEW, len(rows) // max(len(begun), 1)), len(rows)
    while (left := max(least, int(share * sum(min(most, len(of)) for of in begun.values()) + 1e-9))) < most:
        most = left
    return [row for of in begun.values() for row in (thinned(of, most, seed) if len(of) > most else of)]


def framed(rows: Sequence[Example], systems: Sequence[str], seed: int) -> list[Example]:
    """The rows, each with one of some system prompts in front, drawn by its id; an empty one is none.

    What is learnt then does not hang on there being none. A row that has one of its own keeps it.
    """

    def with_one(row: Example) -> Example:
        system = systems[int(digest(seed, row.id), 16) % len(systems)]
        if not system or row.prompt[0].role == "system":
            return row
        return row.model_copy(update={"prompt": (Message(role="system", content=system), *row.prompt)})

    return [with_one(row) for row in rows] if systems else list(rows)


def unique(examples: Iterable[Example]) -> list[Example]:
    """One row for each prompt and chosen text: one with a rejected text if there is any, the newest of them."""
    best: dict[tuple[object, ...], Example] = {}
    for row in sorted(examples, key=lambda row: (not row.rejected, -row.cycle, row.id)):
        best.setdefault((row.prompt, row.chosen), row)
    return list(best.values())


def thinned(rows: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most `most` of the rows, evenly from every kind, cycle and language.

    A language with few rows keeps them as far as `RARE` allows: where little breaks it may still be all that breaks.
    """
    ranked = sorted(rows, key=lambda row: (row.kind, row.cycle, row.language, digest(seed, row.id)))
    if len(ranked) <= most:
        return ranked
    spoken = Counter(row.language for row in ranked)
    least = int(most * RARE / len(spoken))
    rare = sorted(language for language, n in spoken.items() if n * most < least * len(ranked))
    few = [row for language in rare for row in spaced([one for one in ranked if one.language == language], least)]
    return few + spaced([row for row in ranked if row.language not in rare], most - len(few))


def spaced(rows: Sequence[Example], most: int) -> list[Example]:
    """At most `most` of the rows, at even distances."""
    return list(rows) if len(rows) <= most else [rows[index * len(rows) // most] for index in range(most)]


def preferred(rows: Sequence[Example], general: Sequence[Example], share: float, most: int, lengths: float | None,
              seed: int) -> list[Example]:  # fmt: skip
    """What DPO is trained on: at most `most` pairs of the rows and of general ones, these at most `share` of them."""
    own = [row for row in pairs(rows) if lengths is None or even(row, lengths)]
    some = [row for row in pairs(general) if lengths is None or even(row, lengths)]
    beside = round(len(own) * share / (1 - share))
    others = thinned(some, min(beside, int(most * share)), seed)
    return [*thinned(own, most - len(others), seed), *others]


def even(row: Example, lengths: float) -> bool:
    """Whether neither text of a pair is more than so many times as long as the other."""
    short, long = sorted((len(row.chosen), len(row.rejected)))
    return long <= lengths * short


def pairs(examples: Sequence[Example]) -> list[Example]:
    """The rows to prefer by: `chosen` over `rejected`, and never one refusal over another.

    Pairs of two refusals teach a model to refuse *less* (https://arxiv.org/abs/2410.08847). A text is a refusal when
    some row has it as one: chosen in a `refuse` row, rejected in a `help` row.
    """
    refusals = {folded(row.chosen) for row in examples if row.kind == "refuse"}
    refusals |= {folded(row.rejected) for row in examples if row.kind == "help"}

    def apart(row: Example) -> bool:
        chosen, rejected = folded(row.chosen), folded(row.rejected)
        return bool(rejected) and chosen != rejected and not {chosen, rejected} <= refusals

    return [row for row in examples if apart(row)]


def folded(text: str) -> str:
    return " ".join(text.casefold().split())
