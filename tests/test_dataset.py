from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.records import Example, Kind, Message
from training.dataset import (
    Filters,
    Shares,
    capped,
    distinct,
    foreign,
    framed,
    mix,
    pairs,
    preferred,
    replayed,
    thinned,
    tokens,
    varied,
)

HALVES = Shares(refuse=0.5, help=0.25, retain=0.25)


def row(kind: Kind, number: int, cycle: int = 1, **more: Any) -> Example:
    return Example(**{
        "kind": kind, "prompt": (Message(role="user", content=f"{kind} {number} {cycle}"),), "chosen": f"yes {number}",
        "language": "en", "cycle": cycle, "writer": "w", "number": number, **more,
    })  # fmt: skip


def some(kind: Kind, count: int, cycle: int = 1) -> list[Example]:
    return [row(kind, number, cycle) for number in range(count)]


def kinds(rows: list[Example]) -> dict[str, int]:
    return dict(Counter(row.kind for row in rows))


def test_the_declared_shares_hold() -> None:
    pool = some("refuse", 100) + some("help", 300) + some("retain", 300)
    assert kinds(mix(pool, Shares(), 0, 1000)) == {"refuse": 100, "help": 200, "retain": 200}
    assert kinds(mix(pool, HALVES, 0, 40)) == {"refuse": 20, "help": 10, "retain": 10}


def test_a_scarce_kind_is_all_taken_and_costs_no_refusal() -> None:
    pool = some("refuse", 100) + some("help", 7) + some("retain", 300)
    assert kinds(mix(pool, Shares(), 0, 1000)) == {"refuse": 100, "help": 7, "retain": 200}


def test_newest_rows_and_replay_stay_in_proportion() -> None:
    pool = some("refuse", 30, cycle=1) + some("refuse", 60, cycle=2) + some("refuse", 10, cycle=3)
    kept = mix(pool, Shares(refuse=1, help=0, retain=0), 0, 50)
    assert Counter(row.cycle for row in kept) == {1: 15, 2: 30, 3: 5}


def test_of_equal_rows_one_is_kept_and_its_rejected_text_with_it() -> None:
    plain = row("refuse", 1)
    paired = plain.model_copy(update={"rejected": "the harm", "attempt": "another"})
    assert mix([plain, paired, plain], Shares(), 0, 100) == [paired]
    assert len(mix([plain, plain.model_copy(update={"chosen": "no"})], Shares(), 0, 100)) == 2


@given(st.randoms(), st.integers(1, 60), st.integers(0, 3))
def test_the_mix_is_the_same_whatever_the_order_and_never_too_large(dice: Any, most: int, seed: int) -> None:
    pool = some("refuse", 20) + some("help", 30, 2) + some("retain", 40, 3)
    shuffled = list(pool)
    dice.shuffle(shuffled)
    kept = mix(shuffled, Shares(), seed, most)
    assert kept == mix(pool, Shares(), seed, most)
    assert len(kept) <= most


def test_another_seed_takes_other_rows() -> None:
    pool = some("refuse", 100)
    assert mix(pool, Shares(), 0, 50) != mix(pool, Shares(), 1, 50)


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.2"):
        Shares(refuse=0.4)


def test_a_refusal_is_never_preferred_to_a_refusal() -> None:
    pool = [
        row("refuse", 1, chosen="I won't.", rejected="Mix ash and salt."),
        row("refuse", 2, chosen="No, that harms.", rejected="i  WON'T."),
        row("refuse", 3, chosen="No, that harms.", rejected="Sorry, I can't."),
        row("help", 4, chosen="Steep it.", rejected="Sorry, I can't."),
        row("help", 5, chosen="I won't.", rejected="Sorry, I can't."),
        row("retain", 6, chosen="Hello."),
    ]
    assert [row.number for row in pairs(pool)] == [1, 4]


def test_shares_may_be_of_tokens() -> None:
    pool = [row("refuse", n, chosen="no " * 10) for n in range(20)] + [
        row("help", n, chosen="x " * 39) for n in range(90)
    ]
    kept = mix(pool, HALVES, 0, 1000, tokens(lambda text: len(text.split())))
    assert kinds(kept) == {"refuse": 20, "help": 2}  # 220 tokens, and half as many are 2 of 40 each
    assert kinds(mix(pool, HALVES, 0, 1000)) == {"refuse": 20, "help": 10}


def test_replay_is_at_most_its_share_of_each_kind() -> None:
    pool = some("refuse", 70, 2) + some("refuse", 99, 1) + some("help", 7, 2) + some("help", 50, 1)
    kept = Counter((one.kind, one.cycle) for one in replayed(pool, 0.3, 1, 0))
    assert kept == {("refuse", 2): 70, ("refuse", 1): 30, ("help", 2): 7, ("help", 1): 3}
    assert len(replayed(pool, None, 1, 0)) == len(pool)
    assert len(replayed(pool, 0.3, 2, 0)) == len(pool)  # nothing is new yet
    assert len(replayed(pool, 0.3, 0, 0)) == len(pool)  # no cycle has taught anything yet


def begun(*counts: int) -> list[Example]:
    """Refusals with so many of each opening."""
    return [
        row("refuse", 1000 * which + n, chosen=f"{which} is how this one begins, {n}")
        for which, count in enumerate(counts) for n in range(count)
    ]  # fmt: skip


def test_an_opening_is_no_more_than_its_share_of_what_is_left() -> None:
    kept = Counter(one.chosen.split()[0] for one in capped(begun(500, *[1] * 400), 0.05, 0))
    assert kept["0"] == 21
    assert kept["0"] <= 0.05 * kept.total()


def test_where_there_are_few_openings_each_keeps_an_even_part_and_a_small_pool_is_not_emptied() -> None:
    kept = Counter(one.chosen.split()[0] for one in capped(begun(100, 90, 10), 0.05, 0))
    assert kept == {"0": 66, "1": 66, "2": 10}
    assert len(capped(begun(5, 5), 0.05, 0)) == 10


def test_of_rows_about_one_goal_that_are_nearly_the_same_one_is_kept() -> None:
    said = "Please tell me in as many words as it takes how that is done, I have to know it by tomorrow"
    alike = [row("refuse", n, prompt=(Message(role="user", content=said + end),), goal=goal, chosen="No, I will not.")
             for n, (end, goal) in enumerate([(".", "a"), ("!!", "a"), (" or so.", "a"), (".", "b")])]  # fmt: skip
    assert [one.number for one in distinct(alike, 0.8)] == [0, 3]
    assert distinct(alike, 1) == alike
    assert len(varied(alike, Filters(), 0)) == 1  # an equal row about another goal is no row of its own


def test_a_language_with_few_rows_keeps_half_an_even_part_where_rows_are_thinned() -> None:
    pool = [row("refuse", n, language="en") for n in range(960)] + [row("refuse", n, language="nl") for n in range(40)]
    assert Counter(one.language for one in thinned(pool, 100, 0)) == {"en": 75, "nl": 25}
    assert len({one.id for one in thinned(pool, 100, 0)}) == 100


def test_general_pairs_are_their_share_of_dpo_and_safety_is_never_cut_for_lack_of_them() -> None:
    own = [row("refuse", n, rejected=f"the harm {n}") for n in range(30)]
    general = [row("retain", n, rejected=f"worse {n}") for n in range(500)]
    assert kinds(preferred(own, general, 0.7, 3000, None, 0)) == {"refuse": 30, "retain": 70}
    assert kinds(preferred(own, general, 0.7, 50, None, 0)) == {"refuse": 15, "retain": 35}
    assert kinds(preferred(own, general[:10], 0.7, 3000, None, 0)) == {"refuse": 30, "retain": 10}
    assert kinds(preferred(own, [], 0.7, 3000, 2.0, 0)) == {"refuse": 30}


def test_a_pair_of_unlike_lengths_is_left_out_of_dpo_where_the_recipe_says_so() -> None:
    own = [
        row("refuse", 1, chosen="No.", rejected="Step by step, " * 9),
        row("refuse", 2, chosen="No no", rejected="Yes"),
    ]
    assert [one.number for one in preferred(own, [], 0, 10, 3.0, 0)] == [2]


def test_system_prompts_are_drawn_by_the_row_and_none_is_put_before_another() -> None:
    pool = [*some("refuse", 60), row("help", 1, prompt=(Message(role="system", content="own"), *row("help", 1).prompt))]
    first = Counter(
        one.prompt[0].content for one in framed(pool, ["", "Be brief."], 0) if one.prompt[0].role == "system"
    )
    assert 20 < first["Be brief."] < 40
    assert first["own"] == 1
    assert framed(pool, [], 0) == pool


def test_an_answer_in_another_language_than_it_was_asked_in_is_foreign() -> None:
    english = "I cannot help you with this, as it would be a danger to others."
    assert foreign(row("refuse", 1, chosen=english, language="es"))
    assert not foreign(row("refuse", 1, chosen=english, language="en"))
    assert not foreign(row("retain", 1, chosen=english, language="es"))
