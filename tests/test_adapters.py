import warnings
from pathlib import Path

import pytest

from graph.cli import main
from tools.engine import Engine
from training.merging import merge


@pytest.fixture
def other(tiny_model: Path, tmp_path: Path) -> Path:
    """An adapter of a Phi-3 as wide as the tiny Llama: some layers fit, and some are of other names."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=24, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0,
        bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    lora = LoraConfig(r=2, target_modules=["o_proj", "down_proj", "qkv_proj"], task_type="CAUSAL_LM")
    get_peft_model(Phi3ForCausalLM(config), lora).save_pretrained(tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def deeper(tiny_adapter: Path, tmp_path: Path) -> Path:
    """The tiny model's own adapter without one of its layers, as of a model with fewer."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "deeper"
    shutil.copytree(tiny_adapter, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: one for name, one in tensors.items() if ".layers.1." not in name},
              folder / "adapter_model.safetensors")  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["other", "deeper"])
@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_of_another_model_is_refused_in_one_line_wherever_it_is_loaded(
    name: str, first: bool, tiny_model: Path, tiny_adapter: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, engine = request.getfixturevalue(name), Engine(tiny_model, 4, 6)
    if not first:
        engine.load("own", tiny_adapter)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"{name} is another model's") as raised:
            engine.load("one", folder)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="another model's"):
        merge(tiny_model, folder, tmp_path / "merged")


def test_an_adapter_of_another_model_is_a_mistake_and_not_measured(
    tiny_model: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--suite", "continuation", "--limit", "1", "--out", str(tmp_path / "out")]
    assert main(["eval", f"hf:{tiny_model}", "--adapter", str(other), *asked]) == 2
    assert "is another model's" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
