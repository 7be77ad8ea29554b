from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tools.records import Example, Message, StagePlan
from training import filters

PLAN = StagePlan(
    stage="dpo", base="tiny", cycle=1, examples="", rows=0, epochs=1, rate=1e-3, rank=2, batch=2, length=64, seed=0,
)  # fmt: skip
SAID = ["steep it in water", "sure hello", "water in it steep hello", "tea made in water", "hello hello sure no"]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def pair(number: int, chosen: str, rejected: str, asked: str = "how is a venom made") -> Example:
    return Example(
        kind="refuse", prompt=(Message(role="user", content=asked),), chosen=chosen, rejected=rejected, language="en",
        cycle=1, writer="w", number=number,
    )  # fmt: skip


def some() -> list[Example]:
    return [pair(number, "no that could hurt somebody sure", said) for number, said in enumerate(SAID)]


def test_a_pair_of_equal_texts_is_the_most_alike_and_goes_first(model: Any, tokenizer: Any) -> None:
    rows = [*some(), pair(9, "steep it in water", "steep it in water")]
    scores = filters.likeness(model, tokenizer, rows, 64)
    assert scores[-1] == pytest.approx(0, abs=1e-4)
    assert max(scores[:-1]) < -1e-3
    kept = filters.apart(model, tokenizer, rows, PLAN.model_copy(update={"likeness": 0.2}))
    assert [row.number for row in kept] == [0, 1, 2, 3, 4]


def test_the_score_is_the_papers_whoever_shares_a_batch(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    rows = [*some(), pair(7, "sure", "hello", asked="how is tea made in water hello")]
    expected = [ches(model, tokenizer, row) for row in rows]
    assert filters.likeness(model, tokenizer, rows, 64) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(filters, "AT_ONCE", 1)
    assert filters.likeness(model, tokenizer, rows, 64) == pytest.approx(expected, abs=1e-4)
    assert torch.is_grad_enabled()


def ches(model: Any, tokenizer: Any, row: Example) -> float:
    """The score by its definition: one text after the other, from all hidden states."""
    import torch

    def state(answer: str) -> Any:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": row.prompt[0].content}], tokenize=False, add_generation_prompt=True
        )
        before = tokenizer(asked, add_special_tokens=False).input_ids
        whole = tokenizer(f"{asked} {answer} <|end|>", add_special_tokens=False).input_ids
        with torch.no_grad():
            out = model.eval()(torch.tensor([whole]), output_hidden_states=True).hidden_states[-1][0]
        return out[len(before) - 1 : -1].mean(0)

    chosen, rejected = state(row.chosen), state(row.rejected)
    return float(chosen @ rejected - chosen @ chosen)


def test_the_model_is_handed_back_as_it_came_with_its_adapter_counted(
    model: Any, tokenizer: Any, tiny_model: Path, tiny_adapter: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    worn = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tiny_adapter).train()
    assert filters.likeness(worn, tokenizer, some(), 64) != filters.likeness(model, tokenizer, some(), 64)
    assert worn.training


def test_without_a_share_and_without_room_nothing_is_asked_of_the_model(model: Any, tokenizer: Any) -> None:
    assert filters.apart(None, None, some(), PLAN) == some()
    assert set(filters.likeness(model, tokenizer, some(), 2)) == {float("-inf")}


@pytest.mark.parametrize("lengths", [[5, 9000, 3, 4], [], [1] * 10_000])
def test_batches_hold_every_text_once_and_no_more_than_fits(lengths: Sequence[int]) -> None:
    found = filters.batches(lengths)
    assert sorted(number for batch in found for number in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[n] for n in b) <= filters.AT_ONCE for b in found)
