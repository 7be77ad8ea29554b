"""What a stage trains on, in tokens: prompts as they are served, and what the model has to say after them."""

import random
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools.chat import first, form, rendered
from tools.records import Example, StagePlan, digest
from training.dataset import pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def sft_tokens(rows: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", plan: StagePlan) -> "Dataset":
    """Rows of `input_ids` and `labels`, whose loss is on the last answer alone and on the token that ends it.

    Of the refusals `plan.prefix_share` begin with the harmful answer's first tokens, without loss on these: saying no
    is learnt beyond the first token (https://arxiv.org/abs/2406.05946). Rows without room for an answer are left out.
    """
    from datasets import Dataset

    found = []
    for row in rows:
        before, after = split(tokenizer, row, row.chosen, prefix(tokenizer, row, plan))
        if len(before) >= plan.length:
            before, after = split(tokenizer, row, row.chosen)
        ids, labels = [*before, *after], [*([-100] * len(before)), *after]
        if len(before) < plan.length:
            found.append({"input_ids": ids[: plan.length], "labels": labels[: plan.length]})
    return Dataset.from_list(found)


def dpo_tokens(rows: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", plan: StagePlan) -> "Dataset":
    """Rows of `prompt_ids`, `chosen_ids` and `rejected_ids`, of the examples that are pairs and leave room."""
    from datasets import Dataset

    found = []
    for row in pairs(rows):
        asked, chosen = split(tokenizer, row, row.chosen)
        _, rejected = split(tokenizer, row, row.rejected)
        if len(asked) < plan.length:
            found.append({"prompt_ids": asked, "chosen_ids": chosen, "rejected_ids": rejected})
    return Dataset.from_list(found)


def split(
    tokenizer: "PreTrainedTokenizerBase", row: Example, answer: str, begun: str = ""
) -> tuple[list[int], list[int]]:
    """The tokens of a row's prompt, with what its answer was `begun` with, and those of the rest of the answer.

    The prompt's are those that are served, whatever follows: where one would reach into the answer, that is cut apart.
    """
    chat = [{"role": message.role, "content": message.content} for message in row.prompt]
    known, answer = form(tokenizer), answer.strip()
    if begun:
        before = rendered(tokenizer, [*chat, {"role": "assistant", "content": begun}], begun=True)
        after = gap(before, answer) + answer + known.end
    else:
        before, after = rendered(tokenizer, chat), known.lead + answer + known.end
    asked, whole = tokens(tokenizer, before), tokens(tokenizer, before + after)
    return asked, whole[len(asked) :] if whole[: len(asked)] == asked else tokens(tokenizer, after)


def tokens(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def prefix(tokenizer: "PreTrainedTokenizerBase", row: Example, plan: StagePlan) -> str:
    """What a refusal's answer begins with: up to `plan.prefix_most` tokens of the harmful one, and mostly nothing."""
    dice = random.Random(digest(plan.seed, row.id))
    if row.kind != "refuse" or dice.random() >= plan.prefix_share:
        return ""
    return first(tokenizer, row.rejected.strip(), dice.randint(1, plan.prefix_most))


def gap(before: str, answer: str) -> str:
    """A space, unless there is one or the answer is in a script that has none."""
    wide = any(unicodedata.east_asian_width(mark) in "WF" for mark in answer[:1])
    return "" if before[-1:].isspace() or wide else " "
