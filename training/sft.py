"""Supervised fine-tuning: teaches an adapter to say what was chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.records import Example, StagePlan
from training.dataset import sft_rows


def trainer(
    model: Any,
    tokenizer: Any,
    plan: StagePlan,
    rows: Sequence[Example],
    out: Path,
    callbacks: Sequence[Any],
    dropout: float = 0.0,
    at_once: int = 8,
) -> Any:
    """TRL's SFT trainer, with a new adapter unless the model has one. At most `at_once` rows are in memory."""
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=model,
        args=SFTConfig(**arguments(plan, out, at_once), completion_only_loss=True),
        train_dataset=sft_rows(rows),
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=None if hasattr(model, "peft_config") else lora(plan, dropout),
    )


def lora(plan: StagePlan, dropout: float) -> Any:
    """LoRA on every linear layer. Alpha is twice the rank, so a rate means the same whatever the rank."""
    from peft import LoraConfig

    return LoraConfig(
        r=plan.rank, lora_alpha=2 * plan.rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def arguments(plan: StagePlan, out: Path, at_once: int) -> dict[str, Any]:
    """What SFT and DPO have in common. Seeded; fp32 on a CPU, bf16 on a GPU; reporters are callbacks."""
    import torch

    cuda = torch.cuda.is_available()
    micro = max(size for size in range(1, min(plan.batch, at_once) + 1) if plan.batch % size == 0)
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
        "gradient_accumulation_steps": plan.batch // micro,
        "max_length": plan.length,
        "bf16": cuda,
        "use_cpu": not cuda,
        "gradient_checkpointing": cuda,
        "dataloader_pin_memory": cuda,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "trust_remote_code": False,
    }
