"""Whether the cards, the memory and the disk have room for what a recipe wants, and what would make it fit."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from graph.config import Recipe
from tools import footprint
from tools.engine import KEPT
from tools.footprint import CONTEXT, GIB, HALF, SERVER, WHOLE, Shape
from tools.llm import Serving
from training import loading, stages
from training.settings import Training, usual

Stage = Literal["sft", "dpo"]
Line = tuple[bool | None, str]
"""Whether it is fine (None: only to be known), and what to say of it."""
SHARE = 0.9
"""Of a card, what vLLM takes where it is told nothing else."""
SHARDED = ("FSDP", "DEEPSPEED")
"""What accelerate calls the ways in which what is trained is spread over the cards."""


class Place(NamedTuple):
    """What is trained and served on."""

    size: float | None
    """Bytes of each card, or of this machine's memory; None where nobody said which card."""
    width: int
    """Bytes of a number there."""
    name: str


def sized(recipe: Recipe, card: float | None = None) -> Iterator[Line]:
    """What serving and training a recipe's target take, on a card of so many GB: those that are here where None."""
    folder = Path(recipe.target.weights or recipe.base or "")
    if recipe.target.provider == "sandbox" or not (folder / "config.json").is_file():
        return
    try:
        model = footprint.shape(folder)
    except Exception as error:
        yield False, f"{folder.name} is no model that transformers can make: {str(error).strip().splitlines()[0]}"
        return
    where = place(recipe, card)
    shown = footprint.adapter(model, recipe.training.rank) / 1e6
    yield None, (f"{folder.name}: {model.parameters / 1e9:.2f} B parameters, {shown:.0f} M in an adapter of rank "
                 f"{recipe.training.rank}; what follows are estimates, for {where.name}")  # fmt: skip
    rate, told = recipe.training.sft.rate[1], usual(model.parameters)
    if told and rate > (lower := Training.model_validate(told).sft.rate[1]):
        yield None, f"SFT at a rate of {rate:g}: for a model of this size {lower:g} is usual (training.sft.rate)"
    needs = trained(recipe.training, model, where)
    yield from served(recipe, model, where)
    for stage, parts in needs.items():
        yield fitting(f"training, {stage.upper()}", parts, where, smaller(recipe.training, model, where, stage))
    yield from together(recipe, model, where, max(sum(parts.values()) for parts in needs.values()))
    yield on_disk(recipe, model, folder)


def place(recipe: Recipe, card: float | None) -> Place:
    import torch

    if card is not None:
        return Place(card * GIB, HALF, f"cards of {card:g} GB")
    if torch.cuda.is_available():
        sizes = [torch.cuda.get_device_properties(one).total_memory for one in range(torch.cuda.device_count())]
        return Place(min(sizes), HALF, f"the cards here, of {min(sizes) / GIB:.0f} GB")
    if recipe.target.provider == "hf":
        return Place(memory(), WHOLE, f"this machine's {memory() / GIB:.0f} GB of memory, as there is no GPU")
    return Place(None, HALF, "cards of a size that --card GB can tell, as there is no GPU here")


def memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def trained(settings: Training, model: Shape, where: Place) -> dict[Stage, dict[str, int]]:
    """What each stage takes of one card. Checkpointing is on where nobody turned it off, but for a CPU."""
    checkpointing = where.width == HALF if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    processes, shards = launched(settings.launch)
    each = max(settings.batch // processes, 1)
    rows = max(size for size in range(1, min(each, settings.at_once) + 1) if each % size == 0)
    stages: tuple[Stage, ...] = ("sft", "dpo")
    return {
        stage: footprint.training(model, stage, rows, settings.length, settings.rank, settings.method, checkpointing,
                                  settings.dropout > 0, shards, where.width) for stage in stages
    }  # fmt: skip


def launched(config: Path | None) -> tuple[int, int]:
    """How many processes a configuration of accelerate's starts, and over how many what is trained is spread."""
    if config is None or not config.is_file():
        return 1, 1
    try:
        told = loading.launched(config)
    except ValueError:  # which `doctor` says in a line of its own
        return 1, 1
    processes = max(told.num_processes, 1)
    return processes, processes if told.distributed_type in SHARDED else 1


def fitting(what: str, parts: Mapping[str, int], where: Place, mend: str) -> Line:
    """A line that says whether so much fits, and if not what would."""
    total = sum(parts.values())
    told = f"{what}: {total / GIB:.1f} GB ({listed(parts)})"
    if where.size is None:
        return None, told
    if total <= where.size:
        return True, f"{told}: fits"
    return False, f"{told}: does not fit; {mend}"


def listed(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items() if size >= 0.05 * GIB)


def smaller(settings: Training, model: Shape, where: Place, stage: Stage) -> str:
    """The least change of the settings with which a stage fits, of those that are tried."""
    fewer = [{"at_once": rows} for rows in (4, 2, 1) if rows < settings.at_once]
    tries: list[dict[str, Any]] = [{"gradient_checkpointing": True}] if settings.gradient_checkpointing is False else []
    tries += fewer
    tries += [{"at_once": 1, "length": settings.length // by} for by in (2, 4) if settings.length // by >= 256]
    methods = ("lora", "qlora") if settings.method == "full" else ("qlora",) if settings.method == "lora" else ()
    for method in methods if where.width == HALF else ():
        tries += [{"method": method}, *({"method": method, **one} for one in fewer)]
    for change in tries:
        total = sum(trained(settings.model_copy(update=change), model, where)[stage].values())
        if where.size is not None and total <= where.size:
            told = ", ".join(f"training.{key} = {said(value)}" for key, value in change.items())
            return f"{told} would take {total / GIB:.1f} GB"
    return "take a larger card, several with training.launch and FSDP, or a smaller model"


def said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def served(recipe: Recipe, model: Shape, where: Place) -> Iterator[Line]:
    """What serving takes, and how many requests have room at once."""
    target, settings = recipe.target, recipe.target.vllm
    if target.provider not in ("hf", "vllm"):
        return
    ours = target.provider == "hf"
    longest = settings.length or model.longest
    length = recipe.training.length + target.max_tokens if ours else longest
    shards = 1 if ours else settings.tensor_parallel
    parts = footprint.serving(model, KEPT, recipe.training.rank, CONTEXT if ours else SERVER, shards, where.width)
    one = -(-footprint.cache(model, length, where.width) // shards)
    told = f"serving: {sum(parts.values()) / GIB:.1f} GB ({listed(parts)}), and {one / GIB:.2f} for each request of "
    told += f"{length} tokens"
    if where.size is None:
        yield None, told
        return
    share = 1.0 if ours else settings.memory or SHARE
    room = int(where.size * share) - sum(parts.values())
    fit, wanted = room // max(one, 1), target.concurrency
    of = "" if ours else f"; it may take {share:.0%} of the card"
    if fit >= wanted or (fit > 0 and not ours):
        wait = f" if they are so long, and the others of {wanted} wait" if fit < wanted else ""
        yield True, f"{told}{of}: fits, {fit} at once{wait}"
    else:
        yield False, f"{told}{of}: does not fit; {shorter(model, room, shards, ours, fit, where.width)}"


def shorter(model: Shape, room: int, shards: int, ours: bool, fit: int, width: int) -> str:
    if ours and fit > 0:
        return f"target.concurrency = {fit}, or let vLLM serve it: vllm:PATH"
    tokens = max(room, 0) * shards // max(footprint.cache(model, 1, width), 1)
    if not ours and tokens >= 1024:
        return f"target.vllm = {{ length = {tokens // 256 * 256} }}, or a larger share of the card (memory)"
    return "take a larger card or a smaller model" + ("" if ours else f", or {2 * shards} cards: tensor_parallel")


def together(recipe: Recipe, model: Shape, where: Place, training: int) -> Iterator[Line]:
    """Both at once: what is left of the server while a stage is trained, where they share a card."""
    target = recipe.target
    if target.provider not in ("hf", "vllm"):
        return
    if target.provider == "vllm" and apart(target.vllm, recipe.training):
        yield None, "both at once: the server and training have cards of their own"
        return
    weights = footprint.weights(model, width=where.width)
    awake = (where.size or 0) * (target.vllm.memory or SHARE) if target.provider == "vllm" else weights + CONTEXT
    asleep, told = training + CONTEXT, ""
    if target.provider == "vllm":
        told = f"; asleep, the server keeps {weights / GIB:.1f} GB of weights in the machine's memory"
    shown = f"both at once: {asleep / GIB:.1f} GB while the server rests"
    shown += f", {(training + awake) / GIB:.1f} GB if it did not{told}" if awake else told
    fine = None if where.size is None else asleep <= where.size
    mend = "; give them cards of their own: target.vllm.devices, training.devices" if fine is False else ""
    yield fine, f"{shown}{mend}"


def apart(settings: Serving, training: Training) -> bool:
    """Whether the server's cards are none of those that are trained on, as far as a recipe names them."""
    theirs = settings.devices.split(",")[: settings.tensor_parallel * settings.data_parallel]
    ours = stages.cards(training).get("CUDA_VISIBLE_DEVICES", "")
    return bool(settings.devices and ours) and not {*theirs} & {*ours.split(",")}


def on_disk(recipe: Recipe, model: Shape, folder: Path) -> Line:
    """What a run leaves: an adapter for each candidate, one stage's optimizer on the way, and a merged copy."""
    settings, cycles = recipe.training, recipe.stop.cycles
    own = WHOLE * (model.parameters if settings.method == "full" else footprint.adapter(model, settings.rank))
    parts = {
        "weights, not here yet": 0 if list(folder.glob("*.safetensors")) else HALF * model.parameters,
        f"adapters of {cycles} cycles": own * 2 * (1 + settings.within) * cycles,
        "a stage's checkpoint": 3 * own,
        "a merged copy": HALF * model.parameters if recipe.evals.lasting else 0,
    }
    free, total = shutil.disk_usage(Path.cwd()).free, sum(parts.values())
    fine = total < free
    mend = "" if fine else ": too little; make room, or run where there is some"
    return fine, f"disk: {total / GIB:.1f} GB ({listed(parts)}) of {free / GIB:.0f} GB that are free here{mend}"
