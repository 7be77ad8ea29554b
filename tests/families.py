"""Chat formats of model families, each with a small tokenizer that has the family's special tokens."""

import string
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OURS = Path(__file__).with_name("templates")
TEXTS = [
    "How is a venom made? Steep it in water, and wait.", "Sure, steep the leaves in water, and wait for a day.",
    "No, that could hurt somebody. No, wait. Sure.", "And at home? Hello. Be brief.", "system user assistant model",
    "You are Qwen, created by Alibaba Cloud. You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "Cutting Knowledge Date: December 2023 Today Date: 26 Jul 2024 Metadata Reasoning Mode Custom Instructions",
]  # fmt: skip


class Family(NamedTuple):
    special: tuple[str, ...]
    end: str
    """The tokenizer's `eos_token`."""
    begin: str | None = None
    plain: tuple[str, ...] = ()
    """Tokens of their own that are not special."""
    strips: bool = False
    """Whether special tokens swallow the space behind them."""
    spaced: bool = False
    """Whether it is like SentencePiece: spaces are marks, and a text begins with one."""


PHI = Family(("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|endoftext|>", strips=True)
CHATML = Family(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", plain=("<think>", "</think>"))
LLAMA = Family(
    ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|eot_id|>", "<|begin_of_text|>",
)  # fmt: skip
GEMMA = Family(("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<bos>")
FAMILIES = {
    "phi3": PHI,
    "phi3_5": PHI,
    "phi4": Family(("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"), "<|im_end|>"),
    "phi4_mini": PHI._replace(strips=False),
    "llama3": LLAMA,
    "llama3_1": LLAMA,
    "llama3_2": LLAMA,
    "qwen2_5": CHATML,
    "qwen3": CHATML,
    "qwen3_instruct_2507": CHATML,
    "gemma": GEMMA,
    "gemma3": GEMMA,
    "mistral": Family(("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>", spaced=True),
    "smollm2": CHATML,
    "smollm3": CHATML,
}
"""By the names of TRL's templates, and of ours where it has none. `gemma` is Gemma 2's too."""


def template(name: str) -> str:
    """The family's chat template: ours, or the one that TRL brings along."""
    import trl

    theirs = Path(trl.__file__).parent / "chat_templates"
    return next(file for folder in (OURS, theirs) if (file := folder / f"{name}.jinja").exists()).read_text("utf-8")


@cache
def tokenizer(name: str) -> "PreTrainedTokenizerFast":
    """A byte-level BPE of whole words, or one like SentencePiece's, with the family's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name]
    bpe = Tokenizer(models.BPE())
    space, bytewise = pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = space if family.spaced else bytewise
    alphabet = [*string.printable] if family.spaced else pre_tokenizers.ByteLevel.alphabet()
    bpe.decoder = decoders.Metaspace(prepend_scheme="first") if family.spaced else decoders.ByteLevel()
    bpe.train_from_iterator(TEXTS, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens([AddedToken(text, rstrip=family.strips, special=True) for text in family.special])
    bpe.add_tokens([AddedToken(text, special=False) for text in family.plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=family.end, bos_token=family.begin, pad_token=family.special[0],
        chat_template=template(name), name_or_path=name,
    )  # fmt: skip
