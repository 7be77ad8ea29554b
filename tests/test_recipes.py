"""The committed recipes: each is one, says what is usual for its model's size, and fits the card that it is for."""

from pathlib import Path
from typing import Any

import pytest

from graph import sizing
from graph.recipes import load
from graph.sizing import sized
from tools import footprint
from training.settings import Training, usual

RUNS = Path(__file__).parent.parent / "runs"
PHI3 = {
    "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32, "pad_token_id": 0,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
QWEN = {
    "model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN14 = QWEN | {
    "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40, "num_attention_heads": 40,
    "tie_word_embeddings": False,
}  # fmt: skip
SMOL = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}  # fmt: skip
FOR: dict[str, tuple[dict[str, Any], float, float | None]] = {
    "phi3-mini": (PHI3, 3.82, 24), "phi3-mini-80gb": (PHI3, 3.82, 80), "llama3-8b": (LLAMA, 8.03, 48),
    "qwen3-4b": (QWEN, 4.02, 24), "multi-gpu": (QWEN14, 14.77, 80), "smollm2-135m-cpu": (SMOL, 0.1345, None),
}  # fmt: skip
"""The shape of each recipe's model, as its published config.json has it, its parameters in billions, and its card."""


@pytest.mark.parametrize("file", sorted(RUNS.glob("*.toml")), ids=lambda file: file.stem)
def test_a_committed_recipe_is_one(file: Path) -> None:
    recipe = load(file)
    assert recipe.training.launch is None or recipe.training.launch.is_file()


def test_what_training_is_launched_with_is_read_by_accelerate_and_by_the_doctor() -> None:
    from accelerate.commands.config import load_config_from_file

    file = RUNS / "fsdp.yaml"
    told = load_config_from_file(str(file))
    assert (told.distributed_type, told.num_processes, told.fsdp_config["fsdp_version"]) == ("FSDP", 2, 2)
    assert sizing.launched(file) == (2, 2)


def at(name: str, tmp_path: Path, *settings: str) -> Any:
    """A recipe with the shape of its model in a folder, and no weights there."""
    import json

    (tmp_path / "config.json").write_text(json.dumps(FOR[name][0]))
    provider = load(RUNS / f"{name}.toml").target.provider
    return load(RUNS / f"{name}.toml", [f"target.model={provider}:{tmp_path}", *settings])


@pytest.mark.parametrize("name", FOR)
def test_a_recipe_fits_its_card_and_says_what_is_usual_for_its_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "memory", lambda: 16 * footprint.GIB)
    recipe, (_, billions, card) = at(name, tmp_path), FOR[name]
    model = footprint.shape(tmp_path)
    assert model.parameters / 1e9 == pytest.approx(billions, rel=0.005)
    lines = [line for line in sized(recipe, card) if not line[1].startswith("disk")]
    assert [text for fine, text in lines if fine is False] == []
    assert len([text for fine, text in lines if fine]) >= 3
    expected = Training.model_validate(usual(model.parameters))
    if billions > 1:
        assert recipe.training.sft.rate == expected.sft.rate
        assert recipe.training.dpo.rate == expected.dpo.rate
        assert recipe.training.rank >= expected.rank


def test_a_recipe_that_does_not_fit_says_what_would_and_that_does(tmp_path: Path) -> None:
    lines = [text for fine, text in sized(at("llama3-8b", tmp_path), 24) if fine is False]
    [dpo] = [line for line in lines if line.startswith("training, DPO")]
    change = dpo.partition("does not fit; ")[2].partition(" would take")[0].split(", ")
    settings = [one.replace(" = ", "=") for one in change]
    again = [text for fine, text in sized(at("llama3-8b", tmp_path, *settings), 24) if fine is False]
    assert not [line for line in again if line.startswith("training")]


def test_what_is_said_in_the_8b_recipe_of_a_24_gb_card_holds(tmp_path: Path) -> None:
    settings = ("training.method=qlora", "training.at_once=2", "target.vllm.length=4096")
    lines = sized(at("llama3-8b", tmp_path, *settings), 24)
    assert [text for fine, text in lines if fine is False and not text.startswith("disk")] == []
