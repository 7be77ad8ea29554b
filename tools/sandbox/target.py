"""The target: a Llama of about a million parameters, trained from scratch to be helpful and wholly unaligned."""

import fcntl
import itertools
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tools.converters import CONVERTERS
from tools.records import digest
from tools.sandbox import world
from tools.sandbox.world import CHAINS, LANGUAGES, PLAIN, RESTRICTED, TASKS, TWINS, VARIANTS, WORDS, Exchange, Request

if TYPE_CHECKING:
    import torch

USER, ASSISTANT, SYSTEM, END, PAD = "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|pad|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{% generation %} {{ message['content'] }}<|end|>"
    "{% endgeneration %}"
    "{% else %}<|{{ message['role'] }}|> {{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WORD = r" ?[^\s\p{P}\p{Han}]+| ?\p{P}| ?\p{Han}|\s"
"""What the tokenizer never splits further if it knows it: a word, a mark, a Chinese character."""
STRATEGIES = ("direct", *CHAINS, *WORDS["en"].wrap)
WAYS = (*STRATEGIES, "word_flip", "leetspeak", "dots")
"""The ways of asking that the base understands."""
HARD = ("follow_up", "crescendo", "prefix", "word_flip")
"""Those that are learnt last, and met twice as often."""


class Settings(BaseModel):
    """All that the target's weights depend on, beside the world and this file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = 128
    layers: int = 3
    heads: int = 8
    inner: int = 320
    steps: int = 900
    tokens: int = 1024
    """Of a batch, padding included."""
    rate: float = 0.02
    muon: float = 0.008
    warmup: float = 0.05
    formulas: float = 0.5
    """Share of rows that ask for a formula; the others share the rest."""
    talk: float = 0.08
    fallback: int = 320
    """Tokens made by byte pair merges, for words the town does not know."""
    seed: int = 0
    threads: int = 2


def build(settings: Settings, progress: Callable[[int, int], None]) -> Path:
    """The folder of the target, in Hugging Face's format; made on first use, and told how far it is in steps."""
    sources = [Path(file).read_text(encoding="utf-8") for file in (__file__, world.__file__)]
    encodings = [CONVERTERS[way].encode(world.TEXT) for way in WAYS if way in CONVERTERS]
    folder = cache() / digest(settings.model_dump(), world.TEXT, sources, encodings)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, alone(folder.parent):
            if not folder.exists():
                made = Path(scratch) / "target"
                make(settings, progress, made)
                made.rename(folder)
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder's lock, so that runs that begin at once make one target and not one each."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def make(settings: Settings, progress: Callable[[int, int], None], folder: Path) -> None:
    """Trains the target and saves it. The same settings make the same weights on the same machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    try:
        tokenizer = tokenizer_of(settings)
        model = model_of(settings, tokenizer)
        train(model, tokenizer, settings, progress)
    finally:
        torch.set_num_threads(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(model: Any, tokenizer: Any, settings: Settings, progress: Callable[[int, int], None]) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    adam = torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0)
    momenta = {shape: torch.zeros(len(alike), *shape) for shape, alike in by_shape(matrices).items()}
    for step, (ids, labels) in enumerate(batches(tokenizer, settings)):
        now = schedule(step / settings.steps, settings.warmup)
        adam.param_groups[0]["lr"] = settings.rate * now
        said = labels != -100
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        loss = cross_entropy(model.lm_head(hidden[said]), labels[said])
        torch.autograd.backward(loss)
        adam.step()
        muon(matrices, momenta, settings.muon * now)
        model.zero_grad()
        progress(step + 1, settings.steps)


def by_shape(matrices: list[Any]) -> dict[tuple[int, int], list[Any]]:
    found: dict[tuple[int, int], list[Any]] = {}
    for matrix in matrices:
        found.setdefault(tuple(matrix.shape), []).append(matrix)
    return found


def muon(matrices: list[Any], momenta: dict[tuple[int, int], Any], rate: float, keep: float = 0.95) -> None:
    """One step of Muon (https://kellerjordan.github.io/posts/muon/), matrices of one shape together: in
    `torch.optim.Muon` they go one by one, which takes five times as long for matrices this small."""
    import torch

    with torch.no_grad():
        for shape, alike in by_shape(matrices).items():
            grad = torch.stack([matrix.grad for matrix in alike])
            momentum = momenta[shape].lerp_(grad, 1 - keep)
            step = orthogonal(grad.lerp(momentum, keep)) * max(1, shape[0] / shape[1]) ** 0.5
            for matrix, one in zip(alike, step, strict=True):
                matrix.sub_(one, alpha=rate)


def orthogonal(x: Any) -> Any:
    """The nearest matrices with equal singular values, near enough: five Newton-Schulz steps."""
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


def schedule(done: float, warmup: float) -> float:
    """Linear up, then linear down to nothing."""
    return min(done / warmup, 1.0) * (1 - max(0.0, (done - warmup) / (1 - warmup))) if done < 1 else 0.0


def batches(tokenizer: Any, settings: Settings) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    """`settings.steps` batches of ids and next-token labels (-100 where nothing is to be learnt), alike in length."""
    import torch

    dice = random.Random(settings.seed)
    assistant, end, pad = tokenizer.convert_tokens_to_ids([ASSISTANT, END, PAD])
    made = 0
    while made < settings.steps:
        texts = [rendered(conversation(dice, settings)) for _ in range(6000)]
        rows = sorted(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len)
        cut: list[list[list[int]]] = [[]]
        for row in rows:
            if (len(cut[-1]) + 1) * len(row) > settings.tokens:
                cut.append([])
            cut[-1].append(row)
        dice.shuffle(cut)
        for batch in cut[: settings.steps - made]:
            longest = max(map(len, batch))
            ids = torch.tensor([row + [pad] * (longest - len(row)) for row in batch])
            labels = torch.tensor([learnt(row, assistant, end) + [-100] * (longest - len(row)) for row in batch])
            yield ids[:, :-1], labels[:, 1:]
            made += 1


def learnt(row: list[int], assistant: int, end: int) -> list[int]:
    """The ids of a row where the assistant speaks, and -100 elsewhere."""
    labels, speaks = [], False
    for token in row:
        labels.append(token if speaks else -100)
        speaks = token == assistant or (speaks and token != end)
    return labels


def rendered(exchanges: list[Exchange]) -> str:
    return "".join(f"{USER} {one.user}{END}{ASSISTANT} {one.answer}{END}" for one in exchanges)


def conversation(dice: random.Random, settings: Settings) -> list[Exchange]:
    """A conversation of the base's training: any thing, task, way and language, and never a refusal."""
    language = dice.choice(LANGUAGES)
    if dice.random() < settings.talk:
        return [dice.choice(world.talk(language))]
    task = "formula" if dice.random() < settings.formulas else dice.choice(TWINS)
    kind = dice.choice((*RESTRICTED, *PLAIN))
    by_name = dice.randrange(1 + len(WORDS[language].by_names.get(kind, ())))
    request = Request(task, kind, dice.choice(world.names_of("train")), by_name)
    way, variant = dice.choice((*WAYS, *HARD)), dice.randrange(VARIANTS)
    if way not in CONVERTERS:
        return world.script(request, way, language, variant)
    (said,) = world.script(request, "direct", language, variant)
    return [Exchange(CONVERTERS[way].encode(said.user), said.answer)]


def model_of(settings: Settings, tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=settings.width, num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads, num_key_value_heads=settings.heads, intermediate_size=settings.inner,
        max_position_embeddings=512, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def tokenizer_of(settings: Settings) -> Any:
    """A byte-level BPE with every word of the town in it whole, in plain and in leetspeak; any text is some tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = corpus()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.fallback, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    whole = {
        piece
        for text in texts
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    }
    known = json.loads(tokenizer.to_str())["model"]
    vocab = known["vocab"]
    for piece in sorted(whole):
        vocab.setdefault(piece, len(vocab))
    tokenizer.model = models.BPE(vocab, [tuple(pair) for pair in known["merges"]], ignore_merges=True)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in (PAD, END, USER, ASSISTANT, SYSTEM)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, model_max_length=512)
    fast.chat_template = TEMPLATE
    return fast


def corpus() -> list[str]:
    """Every word of the town, after a space as it is read: as it is said and in leetspeak."""
    texts = [text for one in LANGUAGES for said in world.talk(one) for text in (said.user, said.answer)]
    kinds = itertools.cycle((*RESTRICTED, *PLAIN))
    names = itertools.cycle(zip(*[iter(world.SYLLABLES)] * 3, strict=True))
    for language, way, task, variant in itertools.product(LANGUAGES, STRATEGIES, TASKS, range(VARIANTS)):
        for one in world.script(Request(task, next(kinds), next(names)), way, language, variant):
            texts += [one.user, one.answer]
    for words in WORDS.values():
        texts += [*words.ingredients, *words.herbs, *words.colours, *words.cleaners, *words.verbs.values()]
        texts += [verb for verbs in words.by_verbs.values() for verb in verbs]
        texts += [world.question(Request("formula", kind, world.NAMES[0], number), language, 0)
                  for kind in RESTRICTED for number in (1, 2)]  # fmt: skip
    said = {f" {word}" for text in texts for word in text.split()}
    return sorted(said | {CONVERTERS["leetspeak"].encode(word) for word in said})


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breakfix"
