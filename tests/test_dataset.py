from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.records import Example, Kind, Message, StagePlan
from training import sft
from training.dataset import Shares, dpo_rows, mix, pairs

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
    assert [pair["rejected"][0]["content"] for pair in dpo_rows(pool)] == ["Mix ash and salt.", "Sorry, I can't."]


def test_only_the_last_answer_and_its_end_carry_loss(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = ("how is tea made", "steep it in water", "how is a venom made")
    prompt = tuple(Message(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(asked))
    rows = [
        row("refuse", 1, prompt=prompt, chosen="no that could hurt somebody"),
        row("retain", 2, prompt=(Message(role="system", content="sure"), prompt[0]), chosen="steep it"),
    ]
    plan = StagePlan(
        stage="sft", base=str(tiny_model), cycle=1, examples="", rows=2, epochs=1, rate=1e-3, rank=2, batch=2,
        length=64, seed=0,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    trainer = sft.trainer(model, tokenizer, plan, rows, tmp_path, [])
    batch = trainer.data_collator(list(trainer.train_dataset))
    learnt = [ids[labels != -100] for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)]
    assert [tokenizer.decode(ids) for ids in learnt] == ["no that could hurt somebody <|end|>", "steep it <|end|>"]
    assert all("<|assistant|>" in tokenizer.decode(ids) for ids in batch["input_ids"])
