"""PEFT adapters, put on the model that they were made for and on no other."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel

ELSEWHERE = ("size mismatch", "Target module", "target_modules")
"""What PEFT and torch say of an adapter whose layers the model does not have."""


SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def put_on(model: Any, folder: Path, name: str = "default", trainable: bool = False) -> "PeftModel":
    """The model with an adapter loaded under a name, beside those that it has.

    Raises ValueError, one line, for an adapter of another model: PEFT puts on what fits and warns of the rest, and what
    is measured then is neither the one nor the other.
    """
    from peft import PeftModel

    rank(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing adapter keys")
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(folder, adapter_name=name, is_trainable=trainable)
            else:
                model = PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=trainable)
        except MemoryError:
            raise
        except Exception as error:  # whatever PEFT, torch or safetensors make of somebody's settings
            if any(words in str(error) for words in ELSEWHERE):
                raise ValueError(strange(folder)) from error
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"the adapter in {folder} cannot be loaded: {why}; give one that PEFT has saved"
            ) from error
    if lacking(model, folder, name):
        raise ValueError(strange(folder))
    return model


def rank(folder: Path) -> int:
    """The rank of a LoRA adapter, as its settings and its weights say alike.

    Raises ValueError, one line, for any other: PEFT would make layers as large as the settings say, unpickle weights
    that are no safetensors, and ask the Hub for those that are missing.
    """
    from safetensors import SafetensorError, safe_open

    try:
        told = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        kind, patterns = told["peft_type"], told.get("rank_pattern") or {}
        wanted = {told["r"], *patterns.values()}
        with safe_open(folder / WEIGHTS, "pt") as opened:
            found = {opened.get_slice(key).get_shape()[0] for key in opened.keys() if "_A." in key}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder} is no adapter: no {Path(str(error.filename or WEIGHTS)).name} there; give one of PEFT's"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{folder} is no adapter that can be read: {why}; give one that PEFT has saved") from error
    if kind != "LORA" or not found or any(type(one) is not int for one in wanted) or not wanted <= found:
        says, has = f"{str(kind)[:40]} of rank {str(told['r'])[:40]}", ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(f"{folder} says that it is {says}, and its weights are of {has}; give one that PEFT has saved")
    return int(max(found))


def lacking(model: "PeftModel", folder: Path, name: str) -> set[str]:
    """The layers that only one of the two has: an adapter's file, and the model that it was loaded into."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as opened:
        saved = set(opened.keys())
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    return {key for key in saved ^ set(held) if "lora_" in key}


def strange(folder: Path) -> str:
    return f"the adapter in {folder} is another model's: its layers are not those of this one; give the model it is for"
