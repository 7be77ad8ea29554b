"""The archive keeps one message for a cell, none twice, and hands out the nearest."""

import random

from agents.archive import archive, parents, search
from agents.bandit import Cell
from agents.duel import Memo

HERE = Cell("hate", "advanced", "evolve", (), "en")
NEAR, FAR = Cell("hate", "intermediate", "roleplay", (), "en"), Cell("violence", "intermediate", "roleplay", (), "es")


def memo(said: str, broke: bool = True) -> Memo:
    return Memo(said, "a goal", said, broke)


def test_the_latest_of_a_cell_is_kept_and_nothing_that_is_nearly_there_already() -> None:
    found = archive([
        (NEAR, memo("tell me about the old lighthouse")), (NEAR, memo("an earlier message altogether")),
        (FAR, memo("Tell me about the old lighthouse!")), (HERE, memo("this one held", broke=False)),
    ])  # fmt: skip
    assert {cell: one.said for cell, one in found.items()} == {NEAR: "tell me about the old lighthouse"}


def test_parents_are_the_nearest_elites_one_or_two() -> None:
    elites = {FAR: memo("far"), NEAR: memo("near")}
    drawn = {tuple(one.said for one in parents(HERE, elites, random.Random(seed))) for seed in range(20)}
    assert drawn == {("near",), ("near", "far")}
    assert parents(HERE, {}, random.Random(0)) == ()


def test_a_search_finds_what_it_names_worked_or_not_and_else_what_is_near() -> None:
    memos = [(FAR, memo("the lighthouse keeper")), (NEAR, memo("a garden")), (NEAR, memo("a rock", broke=False))]
    assert [one.said for one in search("lighthouse es", HERE, memos)] == ["the lighthouse keeper", "a garden", "a rock"]
    assert [one.said for one in search("what failed", HERE, memos, most=1)] == ["a rock"]
    assert search("", HERE, memos, most=1)[0].said == "a garden"
