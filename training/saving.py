"""What a stage leaves in its folder: the weights, a card, and the file that says that it is whole."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tools.disk import put, settle
from tools.records import Adapter, Example, StagePlan
from training.settings import Closed

DONE = "adapter.json"


class Done(Closed):
    """What `adapter.json` says: the adapter, how it was made, and from how many rows of each kind."""

    adapter: Adapter
    plan: StagePlan
    rows: dict[str, int]
    kept: int | None = None
    """The step whose weights it has, where that is not the last one made; 0 is the start."""
    why: str = ""
    """Why the stage ended before its time, or with an earlier step; empty where it did not."""


def save(trainer: Any, folder: Path, plan: StagePlan, rows: Sequence[Example], seconds: float, step: int,
         kept: Path | None = None, why: str = "") -> None:  # fmt: skip
    """Puts the weights as they are now into the folder of the stage, or of a step within; or those that were `kept`.

    `adapter.json`, which says that it is whole, comes last. Where several processes train, all of them have to call it.
    """
    place = f"step-{step}" if step else ""
    folder = folder / place
    if kept is None:
        write(trainer, folder, plan)
    if not trainer.is_world_process_zero():
        return
    if kept:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    losses = [loss for entry in trainer.state.log_history if math.isfinite(loss := entry.get("loss", math.nan))]
    few = min(5, max(1, len(losses) // 2))
    adapter = Adapter(
        plan=plan.id, stage=plan.stage, cycle=plan.cycle, path=Path("adapters", plan.id, place).as_posix(), within=step,
        loss_first=fmean(losses[:few]), loss_last=fmean(losses[-few:]), steps=trainer.state.global_step,
        seconds=round(seconds, 1),
    )  # fmt: skip
    kinds: dict[str, int] = dict(sorted(Counter(row.kind for row in rows).items()))
    done = Done(adapter=adapter, plan=plan, rows=kinds, kept=step_of(kept) if kept else None, why=why)
    (folder / "README.md").write_text(card(done, len(trainer.train_dataset)), encoding="utf-8")
    settle(*(file for file in folder.iterdir() if file.is_file()))
    put(folder / DONE, [done.model_dump_json(indent=1)])


def weights(trainer: Any, plan: StagePlan) -> dict[str, Any]:
    """What is trained as it is now, by name, in the host's memory. Where several processes train, all of them have to
    call it, and the first has it."""
    several = trainer.accelerator.num_processes > 1
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if several else None
    named = (state or {}).items() if several else trainer.model.named_parameters()
    return {name: one.detach().to("cpu", copy=True) for name, one in named if plan.method == "full" or "lora_" in name}


def write(trainer: Any, folder: Path, plan: StagePlan, state: dict[str, Any] | None = None) -> None:
    """The adapter as it is now, or as its weights were, or, of a full fine-tune, the model with its tokenizer; in
    safetensors."""
    if state is None and trainer.accelerator.num_processes > 1:
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return
    if plan.method == "full":
        trainer.model.save_pretrained(folder, state_dict=state)
        trainer.processing_class.save_pretrained(folder)
    else:
        trainer.model.save_pretrained(
            folder, state_dict=state, selected_adapters=["default"], save_embedding_layers=False
        )


def whole(folder: Path) -> bool:
    """Whether an adapter is said to be done, and its weights are as long as their own heads say."""
    try:
        Done.model_validate_json((folder / DONE).read_text(encoding="utf-8"))
        files = list(folder.glob("*.safetensors"))
        return bool(files) and all(map(as_long_as_said, files))
    except (OSError, ValueError):
        return False


def as_long_as_said(file: Path) -> bool:
    """Whether a safetensors file ends where its head says
    (https://huggingface.co/docs/safetensors/index#format). Raises ValueError for a head that is none."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        if size > file.stat().st_size:
            return False
        head = json.loads(opened.read(size))
    ends = [one["data_offsets"][1] for name, one in head.items() if name != "__metadata__"]
    return file.stat().st_size == 8 + size + max(ends, default=0)


def step_of(folder: Path) -> int:
    """The number at the end of a folder's name."""
    return int(folder.name.rpartition("-")[2])


def card(done: Done, fit: int) -> str:
    """The model card: how the adapter was made, and no word of what it was trained on."""
    adapter, plan = done.adapter, done.plan
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.rows.items())
    fitting = f"packed into {fit} sequences of" if plan.packing else f"{fit} of which fit into"
    when = f", as it was at step {adapter.within} of the stage" if adapter.within else ""
    terms = f", beta {plan.beta:g}, SFT weight {plan.sft_weight:g}" if plan.stage == "dpo" else ""
    loss = f"`{plan.loss}`" if plan.stage == "dpo" else f"`{'dft' if plan.loss == 'dft' else 'nll'}`"
    whole, library = plan.method == "full", "transformers" if plan.method == "full" else "peft"
    what = "A model, all of whose weights breakfix trained" if whole else "A LoRA adapter that breakfix made"
    trained = "all weights" if whole else f"LoRA of rank {plan.rank}, alpha {2 * plan.rank}, on every linear layer"
    made = f"{adapter.steps}{'' if done.kept is None else f'; the weights are those of step {done.kept}'}"
    return f"""---
library_name: {library}
base_model: {json.dumps(plan.base)}
tags: [breakfix, {plan.stage}, {plan.method}]
---
# {adapter.id}

{what} by {plan.stage.upper()} in cycle {plan.cycle}, from `{plan.parent}`{when}.

| | |
|---|---|
| plan | `{plan.id}` |
| rows | {sum(done.rows.values())} ({kinds}), {fitting} {plan.length} tokens |
| epochs, rate, batch | {plan.epochs:g}, {plan.rate:g}, {plan.batch} |
| trained | {trained}{", over weights in four bits" if plan.method == "qlora" else ""} |
| loss | {loss}{terms} |
| seed | {plan.seed} |
| steps | {made}{f" ({done.why})" if done.why else ""} |
| loss, first and last steps | {adapter.loss_first:.4f}, {adapter.loss_last:.4f} |

{plan.why}
"""
