"""The archive: the best message of each cell, from which new ones are made (MAP-Elites, as in Rainbow Teaming)."""

import random
from collections.abc import Iterable

from agents.bandit import Cell
from agents.duel import Memo
from tools.similarity import grams, jaccard

Elites = dict[Cell, Memo]
"""The best message of each cell."""
NOVELTY = 0.1
"""A message this little different from one that is there already is no new one."""


def archive(memos: Iterable[tuple[Cell, Memo]], floor: float = NOVELTY) -> Elites:
    """The elite of each cell, from what broke a target, the latest first (https://arxiv.org/abs/2402.16822).

    A message that is nearly one that is there already is left out, whatever its cell.
    """
    elites: Elites = {}
    known: list[frozenset[str]] = []
    for cell, memo in memos:
        if memo.broke and cell not in elites:
            own = grams(memo.said)
            if all(jaccard(own, other) <= 1 - floor for other in known):
                elites[cell] = memo
                known.append(own)
    return elites


def parents(cell: Cell, elites: Elites, dice: random.Random) -> tuple[Memo, ...]:
    """One elite to make a message of this cell from, or two to recombine: the nearest."""
    if not elites:
        return ()
    near = sorted(elites, key=lambda other: (distance(cell, other), dice.random()))
    return tuple(elites[one] for one in near[: dice.choice((1, 2))])


def distance(one: Cell, other: Cell) -> int:
    """In how many of its dimensions a cell differs; language counts twice."""
    return 2 * (one.language != other.language) + (one.area != other.area) + (one.strategy != other.strategy)


def search(words: str, cell: Cell, memos: Iterable[tuple[Cell, Memo]], most: int = 6) -> list[Memo]:
    """What is remembered of a search, worked or not: the best match first, then what is nearest to the cell."""
    wanted = set(words.lower().split())

    def rank(known: tuple[Cell, Memo]) -> tuple[int, int]:
        other, memo = known
        outcome = "worked" if memo.broke else "failed"
        told = {other.strategy, other.language, other.area, outcome, *other.converters, *memo.said.lower().split()}
        return -len(wanted & told), distance(cell, other)

    return [memo for _, memo in sorted(memos, key=rank)[:most]]
