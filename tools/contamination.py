"""Which training rows hold an item that is measured: its words, a long run of them, or nearly the same request."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tools.similarity import SAME, across, similarity, words

RUN = 13
"""Words in a row that two texts do not share by chance: the n-gram of GPT-3's filter (https://arxiv.org/abs/2005.14165,
appendix C). An item that is shorter has to be there whole."""
FEWEST = 5
"""An item of fewer words than this has to be all that a text says."""
TOO_COMMON = 10
"""A run that stands in more training rows than this about different things is a way of putting it (the same filter)."""
How = Literal["whole", "run", "near"]


class Item(NamedTuple):
    """Something that is measured."""

    text: str
    source: str
    """What it is part of, such as a public set."""
    about: str
    """Its goal's text: items whose goals are near-duplicates are about the same thing."""
    kind: Literal["asked", "said", "alike"] = "asked"
    """`asked` as it stands; `said` in a way of asking, which may be trained on; or one of many that are worded `alike`,
    of which none but the whole words are its own."""


class Row(NamedTuple):
    id: str
    texts: tuple[str, ...]
    about: str
    """Its goal, or its own id where it is from none."""


class Match(NamedTuple):
    source: str
    how: How


def contaminated(rows: Sequence[Row], items: Sequence[Item]) -> dict[str, Match]:
    """The rows that hold an item, by id, each with the first that was found."""
    said = [[words(text) for text in row.texts] for row in rows]
    found: dict[str, Match] = {}
    ways: dict[How, Iterator[tuple[int, int]]] = {
        "whole": whole(said, items), "run": runs(said, rows, items), "near": nearly(rows, items)
    }  # fmt: skip
    for how, pairs in ways.items():
        for row, item in pairs:
            found.setdefault(rows[row].id, Match(items[item].source, how))
    return found


def whole(said: Sequence[Sequence[list[str]]], items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Rows and the items whose words stand in them from the first to the last."""
    wanted = [words(item.text) for item in items]
    openings: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for item, own in enumerate(wanted):
        if own:
            openings[tuple(own[:RUN])].append(item)
    sizes = {len(opening) for opening in openings}
    for row, text in ((row, text) for row, texts in enumerate(said) for text in texts):
        for n in [n for n in sizes if n >= FEWEST] if len(text) >= FEWEST else [len(text)]:
            for start in range(len(text) - n + 1):
                for item in openings.get(tuple(text[start : start + n]), ()):
                    if text[start : start + len(wanted[item])] == wanted[item]:
                        yield row, item


def runs(said: Sequence[Sequence[list[str]]], rows: Sequence[Row], items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Rows and the items that they share a run of words with, if it is of that item and not of a way of asking."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for item, one in enumerate(items):
        if one.kind != "alike":
            for run in grams(words(one.text)):
                holders[run].append(item)
    met: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, texts in enumerate(said):
        for run in {run for text in texts for run in grams(text) if run in holders}:
            met[run].append(row)
    for run, places in met.items():
        if telling([items[item] for item in holders[run]], {rows[row].about for row in places}):
            yield from ((row, holders[run][0]) for row in places)


def telling(items: Sequence[Item], things: set[str]) -> bool:
    """Whether a run of words tells one item from all others.

    It does not where items about different things have it. Nor where training rows about many do; about two, where it
    is from how something was said: such words come with the way of asking.
    """
    asked = any(item.kind == "asked" for item in items)
    same = all(similarity(items[0].about, other) >= SAME for other in {item.about for item in items[1:]})
    return same and len(things) <= (TOO_COMMON if asked else 1)


def grams(said: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(said[start:] for start in range(RUN)), strict=False)


def nearly(rows: Sequence[Row], items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Rows and the items that one of their texts is nearly the same as."""
    asked = {one.text: item for item, one in enumerate(items) if one.kind == "asked" and words(one.text)}
    holders: dict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(rows):
        for text in one.texts:
            holders[text].append(row)
    texts, others = list(asked), list(holders)
    for item, other in across(texts, others):
        yield from ((row, asked[texts[item]]) for row in holders[others[other]])
