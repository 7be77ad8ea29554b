"""Direct preference optimisation: goes on with the SFT adapter, and prefers what was chosen to what was rejected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.records import Example, StagePlan
from training.dataset import dpo_rows
from training.sft import arguments, lora


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
    """TRL's DPO trainer. A model with an adapter is trained on, and as it came is the reference.

    The SFT term keeps the chosen text likely, which DPO alone does not (https://arxiv.org/abs/2404.19733).
    Raises ValueError when no row is a pair.
    """
    from trl import DPOConfig, DPOTrainer

    pairs = dpo_rows(rows)
    if len(pairs) == 0:
        raise ValueError(f"none of the {len(rows)} rows is a pair to prefer by; leave the DPO stage out")
    return DPOTrainer(
        model=model,
        args=DPOConfig(
            **arguments(plan, out, at_once),
            beta=plan.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, plan.sft_weight],
        ),
        train_dataset=pairs,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=None if hasattr(model, "peft_config") else lora(plan, dropout),
    )
