"""Which pairs DPO leaves out: those whose chosen and rejected text are nearly the same to the model."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools.records import Example, StagePlan
from training.masks import split

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 4096
"""Tokens, padding among them, that go through the model together."""
NONE = float("-inf")
"""The likeness of a pair whose prompt leaves no room for an answer."""


def apart(model: Any, tokenizer: Any, rows: Sequence[Example], plan: StagePlan) -> list[Example]:
    """The pairs less `plan.likeness` of them, those that are most alike: there DPO makes what is chosen unlikely too.

    By the length-normalised score of https://arxiv.org/abs/2410.08847 (CHES), in the model as it is handed over.
    """
    out = int(plan.likeness * len(rows))
    if not out:
        return list(rows)
    scores = likeness(model, tokenizer, rows, plan.length)
    alike = set(sorted(range(len(rows)), key=lambda place: (-scores[place], rows[place].id))[:out])
    return [row for place, row in enumerate(rows) if place not in alike]


def likeness(model: Any, tokenizer: Any, rows: Sequence[Example], length: int) -> list[float]:
    """How alike the texts of each pair are: <c, r> - <c, c>, of the states that say the chosen (c) and the rejected.

    These are the means of the last hidden states from the one that says an answer's first token to the one that says
    its last.
    """
    sides = []
    for answers in ([row.chosen for row in rows], [row.rejected for row in rows]):
        parts = [split(tokenizer, row, answer) for row, answer in zip(rows, answers, strict=True)]
        sides += [(asked, said[: max(0, length - len(asked))]) for asked, said in parts]
    states = summed(model, sides, tokenizer.pad_token_id or 0)
    of = [state / len(said) if said else None for state, (_, said) in zip(states, sides, strict=True)]
    pairs = zip(of[: len(rows)], of[len(rows) :], strict=True)
    return [NONE if c is None or r is None else float(c @ r - c @ c) for c, r in pairs]


def summed(model: Any, texts: Sequence[tuple[list[int], list[int]]], pad: int) -> "list[Tensor]":
    """For each prompt and what follows it, the sum of the states that say the latter; the model stays as it was."""
    import torch

    trained, place = model.training, int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available() and model.device.type == "cpu":
        model.to(f"cuda:{place}")  # where its trainer would put it
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner = getattr(whole, whole.base_model_prefix)  # without the head, whose logits are the largest of all
    found: list[Any] = [None] * len(texts)
    model.eval()
    with torch.no_grad():
        for batch in batches([len(asked) + len(said) for asked, said in texts]):
            ids = [torch.tensor([*texts[number][0], *texts[number][1]]) for number in batch]
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
            out = inner(input_ids=padded.to(model.device), attention_mask=mask.to(model.device), use_cache=False)
            for number, states in zip(batch, out.last_hidden_state, strict=True):
                asked, said = texts[number]
                first = max(len(asked) - 1, 0)
                found[number] = states[first : first + len(said)].float().sum(0).cpu()
    model.train(trained)
    return found


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """The places of texts in batches of texts about as long, none of more than `AT_ONCE` tokens unless it is one."""
    found: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > AT_ONCE:
            found.append([])
        found[-1].append(number)
    return found
