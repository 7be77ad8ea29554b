"""Supervised fine-tuning: teaches a model to say what was chosen."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.records import Example, StagePlan
from training.masks import sft_tokens
from training.settings import Training


def trainer(
    model: Any,
    tokenizer: Any,
    plan: StagePlan,
    rows: Sequence[Example],
    out: Path,
    callbacks: Sequence[Any] = (),
    settings: Training = Training(),  # noqa: B008
    held: Sequence[Example] = (),
) -> Any:
    """TRL's SFT trainer, with a new adapter unless the model has one or all of it is trained.

    `held` are rows to evaluate on. TRL 1.16 goes through the logits in tiles whatever the loss.
    """
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=model,
        args=SFTConfig(
            **arguments(plan, out, settings),
            loss_type="dft" if plan.loss == "dft" else "nll",
            packing=plan.packing,
        ),
        train_dataset=sft_tokens(rows, tokenizer, plan),
        eval_dataset=sft_tokens(held, tokenizer, plan) if held else None,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=lora(model, plan, settings.dropout),
    )


def lora(model: Any, plan: StagePlan, dropout: float) -> Any:
    """A new LoRA on every linear layer, where one is wanted. Alpha is twice the rank, so that a rate means the same
    whatever the rank."""
    if plan.method == "full" or hasattr(model, "peft_config"):
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=plan.rank, lora_alpha=2 * plan.rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def arguments(plan: StagePlan, out: Path, settings: Training) -> dict[str, Any]:
    """What SFT and DPO have in common. Seeded; fp32 on a CPU, bf16 on a GPU; reporters are callbacks."""
    import torch

    cuda = torch.cuda.is_available()
    checkpointing = cuda if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    each = shared(plan.batch)
    micro = max(size for size in range(1, min(each, settings.at_once) + 1) if each % size == 0)
    return {
        "output_dir": str(out),
        "run_name": f"cycle {plan.cycle} {plan.stage} {plan.id}",
        "seed": plan.seed,
        "data_seed": plan.seed,
        "num_train_epochs": plan.epochs,
        "learning_rate": plan.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": each // micro,
        "max_length": plan.length,
        "bf16": cuda,
        "use_cpu": not cuda,
        "gradient_checkpointing": checkpointing,
        "dataloader_pin_memory": cuda,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "trust_remote_code": False,
    }


def shared(batch: int) -> int:
    """How many rows of each step are this process's. Raises ValueError where they cannot be shared evenly."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % processes:
        raise ValueError(f"training.batch = {batch} is no multiple of the {processes} processes; give one that is")
    return batch // processes
