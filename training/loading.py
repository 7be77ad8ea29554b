"""The model that a stage trains, and whether this machine can train it as a recipe wants."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.records import StagePlan
from training.settings import Training

FLASH = {
    "flash_attention_3": ("flash_attn_interface", "flash-attn-3"),
    "flash_attention_2": ("flash_attn", "flash-attn"),
    "kernels": ("kernels", "kernels"),
}
"""The kinds of flash attention, the best first: the module to import, and what to install."""
KERNEL = "kernels-community/flash-attn2"


def loaded(plan: StagePlan, parent: Path | None, settings: Training) -> Any:
    """The base model, with the parent's adapter on it if there is one; of a full fine-tune, the parent itself.

    In bf16 on a GPU, and fp32 where all weights are trained there: steps as small as theirs are lost in bf16.
    """
    import torch
    from transformers import AutoModelForCausalLM

    whole, cuda = plan.method == "full", torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        parent if whole and parent else plan.base, dtype=torch.bfloat16 if cuda and not whole else torch.float32,
        use_safetensors=True, trust_remote_code=False, attn_implementation=attention(settings),
        **(four_bits() if plan.method == "qlora" else {}),
    )  # fmt: skip
    if plan.method == "qlora":
        from peft import prepare_model_for_kbit_training

        checkpointing = settings.gradient_checkpointing is not False
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)
    if parent is None or whole:
        return model
    from tools.adapters import put_on

    return put_on(model, parent, trainable=True)


def four_bits() -> dict[str, Any]:
    """NF4, its constants quantised as well, computed with in bf16 (https://arxiv.org/abs/2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    return {"quantization_config": config, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}


def attention(settings: Training) -> str | None:
    """What transformers calls the attention that a recipe wants; None is what it takes by itself.

    Left to choose, nothing is fetched: the compiled kernels of the Hub are for those who ask for them.
    """
    if settings.attn == "kernels":
        return KERNEL
    if settings.attn != "auto":
        return settings.attn
    return next((name for name in FLASH if name != "kernels" and there(name)), None)


def there(name: str) -> bool:
    import torch

    return find_spec(FLASH[name][0]) is not None and torch.cuda.is_available()


def check(settings: Training) -> None:
    """Raises ValueError, one line with the mend, for training that this machine cannot do."""
    if settings.method == "qlora":
        if not find_spec("bitsandbytes"):
            raise ValueError("training.method = 'qlora': bitsandbytes is not installed; pip install bitsandbytes, or "
                             "give 'lora'")  # fmt: skip
        import torch

        if not torch.cuda.is_available():
            raise ValueError("training.method = 'qlora': torch finds no GPU here, which it wants; give 'lora'")
    if settings.attn in FLASH and not there(settings.attn):
        package = FLASH[settings.attn][1]
        raise ValueError(f"training.attn = {settings.attn!r}: {package} is not installed or there is no GPU; pip "
                         f"install {package} on one, or give 'auto'")  # fmt: skip
    if settings.packing and attention(settings) in (None, "eager", "sdpa"):
        raise ValueError("training.packing = true wants flash attention, without which rows in one sequence see each "
                         "other; pip install flash-attn on a GPU, or leave it out")  # fmt: skip
    if settings.launch and (processes := launched(settings.launch).num_processes) > 0 and settings.batch % processes:
        raise ValueError(f"training.batch = {settings.batch} is no multiple of the {processes} processes that "
                         "training.launch starts; give one that is")  # fmt: skip
    if "," in settings.devices and not settings.launch:
        raise ValueError(f"training.devices = {settings.devices!r}: several cards want training.launch, accelerate's "
                         "configuration of how they share the work; give it, or one card")  # fmt: skip
    if settings.devices and "CUDA_VISIBLE_DEVICES" not in os.environ:
        import torch

        cards = torch.cuda.device_count()
        if max(map(int, settings.devices.split(","))) >= cards:
            raise ValueError(f"training.devices = {settings.devices!r}: torch finds {cards} GPUs here, of which the "
                             "first is 0; name some of them, or leave it out")  # fmt: skip


def launched(config: Path) -> Any:
    """What accelerate makes of a configuration. Raises ValueError, one line, where it is none."""
    where = f"training.launch = {str(config)!r}"
    if not config.is_file():
        raise ValueError(f"{where}: nothing lies there; give the configuration that `accelerate config` wrote")
    from accelerate.commands.config import load_config_from_file

    try:
        told = load_config_from_file(str(config))
        told.num_processes = int(told.num_processes)
    except Exception as error:  # whatever YAML, JSON or accelerate raises
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        mend = "give what `accelerate config` wrote"
        raise ValueError(f"{where} is no configuration of accelerate's: {why}; {mend}") from error
    return told
