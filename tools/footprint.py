"""How much memory a model takes, in bytes: its weights, what training adds to them, and what serving does.

Estimates to choose settings by, not measurements: allocators, kernels and libraries differ.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

Method = Literal["lora", "qlora", "full"]
GIB = 2**30
HALF, WHOLE, ADAM = 2, 4, 8
"""Bytes of a number in bf16, of one in fp32, and of the two moments in fp32 that Adam keeps of it."""
NF4 = 0.5 + 0.127 / 8
"""Bytes of a weight in four bits, with its share of the doubly quantised constants
(https://arxiv.org/abs/2305.14314, section 3)."""
TILE = (4096, 32768)
"""Tokens and words whose logits TRL has in memory at a time (`trl.kernels.chunked_logprob`, `add_fused_lm_head`)."""
CONTEXT = 1 * GIB
"""What CUDA, its libraries and gaps between blocks take in every process: a round figure."""
SERVER = 2 * GIB
"""The same for a vLLM server, with its CUDA graphs and the activations of the batch that it plans for."""


LACKING = ("OutOfMemoryError", "can't allocate memory", "MemoryError", "Cannot allocate memory", "bad_alloc",
           "can't start new thread")  # fmt: skip
"""Words of an error that says that a card, or the machine, has too little."""


def lacking(error: BaseException) -> bool:
    """Whether an error says that there was too little memory; torch's own kind of it is slow to import."""
    return any(word in f"{type(error).__name__}: {error}" for word in LACKING)


class Shape(NamedTuple):
    """What of a model's architecture decides how much memory it takes."""

    parameters: int
    linear: tuple[tuple[int, int], ...]
    """Inputs and outputs of every linear layer that LoRA is put on: all but the last, which gives the logits."""
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward layers."""
    heads: int
    kv_heads: int
    head: int
    """Width of an attention head."""
    vocabulary: int
    windows: tuple[int, ...]
    """The tokens that a layer looks back on, for the layers that forget the others."""
    longest: int
    """Most tokens that it was made for."""


def shape(folder: Path) -> Shape:
    """The shape of the model that a `config.json` describes; no weights are read, or need be there.

    Raises what transformers raises for one that it cannot make.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return shape_of(model)


def shape_of(model: Any) -> Shape:
    from torch.nn import Linear

    text, last = model.config.get_text_config(), model.get_output_embeddings()
    heads = text.num_attention_heads
    kinds, window = getattr(text, "layer_types", None) or (), getattr(text, "sliding_window", None) or 0
    return Shape(
        parameters=sum(one.numel() for one in model.parameters()),
        linear=tuple((one.in_features, one.out_features) for one in model.modules()
                     if isinstance(one, Linear) and one is not last),
        layers=text.num_hidden_layers, hidden=text.hidden_size, inner=text.intermediate_size, heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head=getattr(text, "head_dim", None) or text.hidden_size // heads, vocabulary=text.vocab_size,
        windows=(window,) * sum(kind == "sliding_attention" for kind in kinds) if window else (),
        longest=getattr(text, "max_position_embeddings", None) or 0,
    )  # fmt: skip


def adapter(model: Shape, rank: int) -> int:
    """How many numbers a LoRA adapter on every linear layer has: A is rank x inputs, B outputs x rank
    (https://arxiv.org/abs/2106.09685, section 4.1)."""
    return sum(rank * (inputs + outputs) for inputs, outputs in model.linear)


def weights(model: Shape, method: Method = "lora", width: int = HALF) -> int:
    """The weights: in bf16, in fp32 where all are trained or on a CPU. With QLoRA the linear layers are in four bits,
    and the rest, embeddings among it, in fp32 (`peft.prepare_model_for_kbit_training`)."""
    if method != "qlora":
        return (WHOLE if method == "full" else width) * model.parameters
    packed = sum(inputs * outputs for inputs, outputs in model.linear)
    return round(NF4 * packed + WHOLE * (model.parameters - packed))


def trained(model: Shape, method: Method, rank: int) -> dict[str, int]:
    """The adapter, the gradients and Adam's state, in fp32: PEFT keeps an adapter so on a model in bf16. Where all is
    trained, autocast has copies in bf16 of all weights at the end of the forward pass."""
    full = method == "full"
    numbers = model.parameters if full else adapter(model, rank)
    own = {"copies in bf16": HALF * numbers} if full else {"adapter": WHOLE * numbers}
    return {**own, "gradients": WHOLE * numbers, "optimizer": ADAM * numbers}


def activations(model: Shape, tokens: int, checkpointing: bool = True, dropout: bool = True, width: int = HALF) -> int:
    """What the forward pass keeps for the backward one.

    Of each layer, counted as in https://arxiv.org/abs/2205.05198 (section 4.1), but for gated feed-forward layers,
    frozen weights and an attention that keeps no scores: the norms' inputs and outputs, queries, keys, values and what
    attention makes of them, and four times the inner width. Dropout keeps a copy of what goes into each adapter, and a
    mask. With checkpointing only the input of each layer is kept, and one layer at a time is worked out again with its
    gradients (section 5 there: full recomputation).
    """
    kept = 7 * model.hidden + (3 * model.heads + 2 * model.kv_heads) * model.head + 4 * model.inner
    dropped = sum(inputs for inputs, _ in model.linear) / max(model.layers, 1) * (width + 1) if dropout else 0.0
    layer = tokens * (width * kept + dropped)
    inputs = tokens * width * model.hidden
    return round(model.layers * inputs + 2 * layer if checkpointing else model.layers * layer + 2 * inputs)


def logits(model: Shape, tokens: int) -> int:
    """A tile of the logits, and the gradients of what they are made from in fp32: TRL never has all of them."""
    return HALF * min(tokens, TILE[0]) * min(model.vocabulary, TILE[1]) + WHOLE * tokens * model.hidden


def training(model: Shape, stage: Literal["sft", "dpo"], rows: int, length: int, rank: int, method: Method = "lora",
             checkpointing: bool = True, dropout: bool = True, shards: int = 1,
             width: int = HALF) -> dict[str, int]:  # fmt: skip
    """What one card holds while a stage is trained, by what it is.

    A row of DPO is two texts, and its reference a second copy of what is trained: TRL keeps the adapter as it came, or
    the whole model where all of it is trained. Over several cards FSDP shards all but the activations.
    """
    texts = rows * (2 if stage == "dpo" else 1)
    own = {"weights": weights(model, method, width), **trained(model, method, rank)}
    if stage == "dpo":
        own["reference"] = own["weights"] if method == "full" else own["adapter"]
    return {
        **{name: size // shards for name, size in own.items()},
        "activations": activations(model, texts * length, checkpointing, dropout, width),
        "logits": logits(model, texts * length), "the process": CONTEXT,
    }  # fmt: skip


def cache(model: Shape, length: int, width: int = HALF) -> int:
    """Keys and values of one request: 2 x layers x heads of keys x their width x tokens
    (https://arxiv.org/abs/2309.06180, section 3), of which layers with a window keep no more than that."""
    tokens = (model.layers - len(model.windows)) * length + sum(min(length, window) for window in model.windows)
    return 2 * width * model.kv_heads * model.head * tokens


def serving(model: Shape, adapters: int, rank: int, process: int, shards: int = 1,
            width: int = HALF) -> dict[str, int]:  # fmt: skip
    """What one card holds while a model is served with some adapters beside it, but for the cache of its requests."""
    own = {"weights": weights(model, width=width), "adapters": adapters * width * adapter(model, rank)}
    return {**{name: size // shards for name, size in own.items()}, "the process": process}
