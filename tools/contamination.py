"""Which training rows hold an item that is measured: its words, a long run of them, or nearly the same request."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from tools.similarity import SAME, across, grams, jaccard, rarest, similarity, words

RUN = 13
"""Words in a row that two texts do not share by chance: the n-gram of GPT-3's filter (https://arxiv.org/abs/2005.14165,
appendix C). An item that is shorter has to be there whole."""
FEWEST = 5
"""An item of fewer words than this has to be all that a text says, unless they are long ones: see `weighty`."""
PART = 0.7
"""The share of an item's n-grams, by their weight, that a part of a text has if it is nearly the same."""
FIRST = 0.3
"""How much of that its rarest n-grams make up before all are looked at: no less is found, and all of it sooner."""
LEAST = 25
"""An item that takes fewer bytes than this is no part of a text, however alike."""
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
            for run in in_a_row(words(one.text)):
                holders[run].append(item)
    met: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, texts in enumerate(said):
        for run in {run for text in texts for run in in_a_row(text) if run in holders}:
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


def in_a_row(said: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(said[start:] for start in range(RUN)), strict=False)


def nearly(rows: Sequence[Row], items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Rows and the items that one of their texts, or a part of it, is nearly the same as."""
    asked = {one.text: item for item, one in enumerate(items) if one.kind == "asked" and words(one.text)}
    holders: dict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(rows):
        for text in one.texts:
            holders[text].append(row)
    texts, others = list(asked), list(holders)
    for item, other in chain(across(texts, others), within(texts, others)):
        yield from ((row, asked[texts[item]]) for row in holders[others[other]])


def within(texts: Sequence[str], others: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Every one of the texts and of the others of which a part, as many words as the text has, is nearly the same.

    N-grams count for how rare they are among the texts, so that an opening which many have makes no two alike. As in
    `across`, a text is looked at only where one of its rarest n-grams is, without which all others are too few.
    """
    said = [words(text) for text in texts]
    found = [grams(" ".join(own)) for own in said]
    common = Counter(gram for each in found for gram in each)
    weights = {gram: math.log((len(texts) + 1) / n) for gram, n in common.items()}
    needed = [PART * sum(weights[gram] for gram in own) - 1e-9 for own in found]
    with_gram: dict[str, list[int]] = defaultdict(list)
    for one, own in enumerate(found):
        spare = needed[one] * (1 / PART - 1 + FIRST)
        for gram in rarest(own, common) if weighty(said[one]) else ():
            if spare >= 0:
                with_gram[gram].append(one)
                spare -= weights[gram]
    for other, text in enumerate(others):
        spoken = words(text)
        there = grams(" ".join(spoken))
        shared: dict[int, float] = defaultdict(float)
        for gram in there & with_gram.keys():
            for one in with_gram[gram]:
                shared[one] += weights[gram]
        for one in [one for one, weight in shared.items() if weight >= FIRST * needed[one]]:
            if sum(weights[gram] for gram in found[one] & there) >= needed[one] and any(
                jaccard(found[one], some) >= SAME and sum(weights[gram] for gram in found[one] & some) >= needed[one]
                for some in parts(spoken, len(said[one]))
            ):
                yield one, other


def weighty(said: Sequence[str]) -> bool:
    """Whether words are enough to be found as a part: in bytes, as a word of Korean says more than its letters do."""
    return len(" ".join(said).encode()) >= LEAST


def parts(spoken: Sequence[str], size: int) -> Iterator[frozenset[str]]:
    """The n-grams of all that is said in so many words in a row."""
    for start in range(max(1, len(spoken) - size + 1)):
        yield grams(" ".join(spoken[start : start + size]))
