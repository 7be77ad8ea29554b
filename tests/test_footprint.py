"""What a model takes is predicted as it turns out to be, on models small enough to look."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Phi3Config, Qwen3Config

from tools import footprint

SMALL: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS = (LlamaConfig(**SMALL), Qwen3Config(**SMALL, head_dim=24, tie_word_embeddings=True), Phi3Config(**SMALL),
           Gemma3TextConfig(**SMALL, head_dim=24, sliding_window=8))  # fmt: skip
RANK, ROWS, LENGTH = 4, 2, 32


@pytest.fixture(params=CONFIGS, ids=lambda config: config.model_type)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(request.param)


def lora(model: Any, dropout: float = 0.0) -> Any:
    return get_peft_model(model, LoraConfig(r=RANK, lora_dropout=dropout, target_modules="all-linear",
                                            task_type="CAUSAL_LM")).train()  # fmt: skip


def held(tensors: Any) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def test_weights_adapter_gradients_and_optimizer_are_as_many_bytes_as_predicted(model: Any, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    shape = footprint.shape(tmp_path)
    assert shape == footprint.shape_of(model)
    assert footprint.weights(shape, width=footprint.WHOLE) == held(model.parameters())
    tuned = lora(model)
    mine = [one for one in tuned.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(mine)
    tuned(input_ids=torch.ones(1, 8, dtype=torch.long), labels=torch.ones(1, 8, dtype=torch.long)).loss.backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    assert footprint.trained(shape, "lora", RANK) == {
        "adapter": held(mine), "gradients": held(one.grad for one in mine), "optimizer": held(moments),
    }  # fmt: skip


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_what_the_forward_pass_keeps_is_predicted_to_a_quarter(model: Any, dropout: float) -> None:
    shape, tuned = footprint.shape_of(model), lora(model, dropout)
    own = {one.untyped_storage().data_ptr() for one in tuned.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tuned.get_base_model().model(input_ids=torch.ones(ROWS, LENGTH, dtype=torch.long), use_cache=False)
    real = sum(one.untyped_storage().nbytes() for one in kept.values())
    predicted = footprint.activations(shape, ROWS * LENGTH, False, dropout > 0, footprint.WHOLE)
    assert 0.9 < predicted / real < 1.25  # Gemma has four norms in a layer, and the others two
    assert footprint.activations(shape, ROWS * LENGTH, True, dropout > 0, footprint.WHOLE) < predicted


def test_keys_and_values_of_a_request_are_as_many_bytes_as_predicted(model: Any) -> None:
    cache = model(input_ids=torch.ones(1, LENGTH, dtype=torch.long), use_cache=True).past_key_values
    real = sum(held((layer.keys, layer.values)) for layer in cache.layers)
    shape = footprint.shape_of(model)
    assert real <= footprint.cache(shape, LENGTH, footprint.WHOLE) <= 1.2 * real


def test_four_bits_dpo_and_several_cards_change_what_they_should() -> None:
    shape = footprint.shape_of(AutoModelForCausalLM.from_config(CONFIGS[0]))
    sft, dpo, halves = (footprint.training(shape, stage, ROWS, LENGTH, RANK, shards=shards)
                        for stage, shards in (("sft", 1), ("dpo", 1), ("dpo", 2)))  # type: ignore[arg-type]  # fmt: skip
    assert dpo["activations"] == 2 * sft["activations"]
    assert dpo["reference"] == dpo["adapter"]
    assert (halves["weights"], halves["activations"]) == (dpo["weights"] // 2, dpo["activations"])
    packed = sum(inputs * outputs for inputs, outputs in shape.linear)
    rest = shape.parameters - packed
    assert footprint.weights(shape, "qlora") == pytest.approx(0.516 * packed + 4 * rest, rel=1e-3)
    whole = footprint.training(shape, "dpo", ROWS, LENGTH, RANK, "full")
    assert whole["weights"] + whole["gradients"] + whole["optimizer"] == 16 * shape.parameters
    assert whole["reference"] == whole["weights"]
