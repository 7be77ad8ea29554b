"""A small Phi-3 for runs on recorded conversations: its architecture and chat format, with random weights.

Nobody has taught it anything. What a run with it proves is the path (formats, tokens, losses, adapters), not safety.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.records import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, STOP = "<|endoftext|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n'}}"
    "{% generation %}{{message['content'] + '<|end|>\\n'}}{% endgeneration %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
"""The chat template of `microsoft/Phi-3-mini-4k-instruct` (tokenizer_config.json), with its answers marked."""
VOCABULARY = 4096
SHAPE = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 4}
SEED = 0


def build(texts: Sequence[str], folder: Path | None = None) -> Path:
    """The model's folder, in Hugging Face's format: about 1.8 M parameters and a byte-level BPE made from `texts`.

    Made once for the same texts, under `folder` (the user's cache by default), and the same every time. Raises
    ValueError when there is no text.
    """
    if not any(texts):
        raise ValueError("no text to make a tokenizer from: import conversations first")
    kept = folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breakfix"
    made = kept / f"phi3-{digest(list(texts), TEMPLATE, VOCABULARY, SHAPE, SEED)}"
    if not made.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as scratch:
            make(texts, Path(scratch) / "phi3")
            (Path(scratch) / "phi3").rename(made)
    return made


def make(texts: Sequence[str], folder: Path) -> None:
    """Saves model and tokenizer. Leaves torch's random numbers as they were."""
    import torch
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

    tokenizer = tokenizer_of(texts)
    end, stop = tokenizer.convert_tokens_to_ids([END, STOP])
    config = Phi3Config(vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=end, pad_token_id=end, **SHAPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=[end, stop], pad_token_id=end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tokenizer_of(texts: Sequence[str]) -> "PreTrainedTokenizerFast":
    """A byte-level BPE with Phi-3's special tokens, of which those of a role swallow the line break that follows."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([END, *(AddedToken(text, rstrip=True, special=True) for text in (STOP, *ROLES))])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=END, model_max_length=4096, chat_template=TEMPLATE
    )
