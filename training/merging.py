"""Puts an adapter into the weights that it belongs to: a model of its own, which needs no PEFT to be served."""

import tempfile
from pathlib import Path


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """Leaves the base with the adapter merged into it in `folder`, as safetensors; one that is there already stays.

    In the precision that it is served in: a merge in bf16 rounds the adapter away where it is small. What a full
    fine-tune made are weights of their own, with nothing to merge.
    """
    if folder.exists():
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tools.adapters import put_on

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    full = not (adapter / "adapter_config.json").is_file()
    model = AutoModelForCausalLM.from_pretrained(
        adapter if full else base, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    whole = model if full else put_on(model, adapter).merge_and_unload()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "model"
        whole.save_pretrained(made)
        AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(made)
        made.rename(folder)
