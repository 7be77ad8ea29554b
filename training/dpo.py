"""Direct preference optimisation: goes on with what SFT made, and prefers what was chosen to what was rejected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.records import Example, StagePlan
from training.masks import dpo_tokens
from training.settings import Training
from training.sft import arguments, lora

SMOOTHED = {"exo_pair": 1e-3, "robust": 0.1}
"""The label smoothing of the losses that are nothing, or another loss, without it: what their papers recommend
(https://arxiv.org/abs/2402.00856, https://arxiv.org/abs/2403.00409)."""


def trainer(
    model: Any,
    tokenizer: Any,
    plan: StagePlan,
    rows: Sequence[Example],
    out: Path,
    callbacks: Sequence[Any] = (),
    settings: Training = Training(),  # noqa: B008
    held: Sequence[Example] = (),
    reference: Any = None,
) -> Any:
    """TRL's DPO trainer. A model with an adapter is trained on, and as it came is the reference; where the whole model
    is trained, `reference` is.

    The SFT term keeps the chosen text likely, which DPO alone does not (https://arxiv.org/abs/2404.19733).
    Raises ValueError when no row is a pair.
    """
    from trl import DPOConfig, DPOTrainer

    pairs = dpo_tokens(rows, tokenizer, plan)
    if len(pairs) == 0:
        raise ValueError(f"none of the {len(rows)} rows is a pair to prefer by; leave the DPO stage out")

    class OfTokens(DPOTrainer):  # type: ignore[misc, unused-ignore]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            """As it is: TRL would make tokens of text, and these are made."""
            return dataset

    losses = {plan.loss: 1.0} if not plan.sft_weight or plan.loss == "sft" else {plan.loss: 1.0, "sft": plan.sft_weight}
    return OfTokens(
        model=model,
        ref_model=reference,
        args=DPOConfig(
            **arguments(plan, out, settings),
            beta=plan.beta,
            loss_type=list(losses),
            loss_weights=list(losses.values()),
            label_smoothing=SMOOTHED.get(plan.loss, 0.0),
        ),
        train_dataset=pairs,
        eval_dataset=dpo_tokens(held, tokenizer, plan) if held else None,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=lora(model, plan, settings.dropout),
    )
