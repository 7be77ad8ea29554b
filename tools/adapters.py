"""PEFT adapters, put on the model that they were made for and on no other."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel

ELSEWHERE = ("size mismatch", "Target module", "target_modules")
"""What PEFT and torch say of an adapter whose layers the model does not have."""


def put_on(model: Any, folder: Path, name: str = "default", trainable: bool = False) -> "PeftModel":
    """The model with an adapter loaded under a name, beside those that it has.

    Raises ValueError, one line, for an adapter of another model: PEFT puts on what fits and warns of the rest, and what
    is measured then is neither the one nor the other.
    """
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing adapter keys")
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(folder, adapter_name=name, is_trainable=trainable)
            else:
                model = PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=trainable)
        except (ValueError, RuntimeError) as error:
            if not any(words in str(error) for words in ELSEWHERE):
                raise
            raise ValueError(strange(folder)) from error
    if lacking(model, folder, name):
        raise ValueError(strange(folder))
    return model


def lacking(model: "PeftModel", folder: Path, name: str) -> set[str]:
    """The layers that only one of the two has: an adapter's file, and the model that it was loaded into."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        return set()
    with safe_open(file, "pt") as opened:
        saved = set(opened.keys())
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    return {key for key in saved ^ set(held) if "lora_" in key}


def strange(folder: Path) -> str:
    return f"the adapter in {folder} is another model's: its layers are not those of this one; give the model it is for"
