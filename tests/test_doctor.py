"""What the doctor says of a recipe before anything is made or asked."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_recipes import LLAMA

from graph import doctor, sizing
from graph.cli import main
from graph.recipes import load

RECIPE = """
[target]
model = "hf:models/meta-llama/Llama-3.1-8B-Instruct"
[agents]
attacker = { model = "openai:a", base_url = "http://localhost:8000/v1" }
judge.model = "rules"
measuring_judge.model = "openai:m"
same_judge = true
writer.model = "openai:gpt-4o"
[goals]
source = "goals.csv"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def said(recipe: Path, card: float | None = None) -> list[tuple[bool | None, str]]:
    return list(doctor.needs(recipe, card))


def shaped(recipe: Path, **settings: Any) -> None:
    folder = recipe.parent / "models" / "meta-llama" / "Llama-3.1-8B-Instruct"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA | settings))


def test_weights_that_are_not_here_are_to_be_downloaded_first_and_a_licence_to_be_accepted(recipe: Path) -> None:
    [line] = [text for fine, text in said(recipe) if fine is False and "download" in text]
    folder = recipe.parent / "models" / "meta-llama" / "Llama-3.1-8B-Instruct"
    assert f"`hf download meta-llama/Llama-3.1-8B-Instruct --local-dir {folder}`" in line
    assert "licence" in line
    shaped(recipe)
    assert any("no *.safetensors" in text for _, text in said(recipe))


def test_where_a_vendors_model_is_trained_on_its_terms_are_to_be_read(recipe: Path) -> None:
    noted = [text for fine, text in said(recipe) if fine is None]
    assert [text.partition(":")[0] for text in noted if "terms" in text] == ["writer"]
    ours = load(recipe, ['agents.writer.base_url="http://localhost:8000/v1"'])
    vendor = load(recipe, ['agents.attacker.base_url="https://api.openai.com/v1"'])
    assert list(doctor.terms(ours)) == []
    assert [text.partition(":")[0] for _, text in doctor.terms(vendor)] == ["attacker", "writer"]


def test_what_has_to_be_installed_is_said_in_a_line_each(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = SimpleNamespace(util=SimpleNamespace(find_spec=lambda *_: None))  # its own: transformers keeps what it finds
    monkeypatch.setattr(doctor, "importlib", bare)
    monkeypatch.setattr("training.loading.find_spec", lambda *_: None)
    monkeypatch.setenv("BREAKFIX_VLLM_PYTHON", "/nowhere/python")
    settings = ["training.method=qlora", "training.report_to=nobody_knows", "evals.lm_eval.tasks=[\"gsm8k\"]",
                "target.model=vllm:x"]  # fmt: skip
    lines = [text for _, text in doctor.packages(load(recipe, settings))]
    for word in ("bitsandbytes", "nobody_knows", "/nowhere/python", "breakfix[lm-eval]"):
        assert len([line for line in lines if word in line]) == 1, (word, lines)


def test_a_card_can_be_given_and_what_does_not_fit_on_it_fails(recipe: Path, capsys: Any) -> None:
    shaped(recipe)
    assert main(["doctor", "--recipe", str(recipe), "--card", "16"]) == 1
    out = capsys.readouterr().out
    assert "note  Llama-3.1-8B-Instruct: 8.03 B parameters, 84 M in an adapter of rank 32" in out
    assert "note  SFT at a rate of 0.0001: for a model of this size 5e-05 is usual" in out
    assert "MISS  training, DPO" in out
    assert 'does not fit; training.method = "qlora"' in out
    assert main(["doctor", str(recipe), "--card", "80"]) == 1  # the weights are still to be downloaded
    assert "ok    training, DPO" in capsys.readouterr().out


def test_without_a_gpu_or_a_card_only_figures_are_given_for_vllm(recipe: Path) -> None:
    shaped(recipe)
    folder = recipe.parent / "models" / "meta-llama" / "Llama-3.1-8B-Instruct"
    lines = list(sizing.sized(load(recipe, [f"target.model=vllm:{folder}"])))
    assert {fine for fine, text in lines if not text.startswith("disk")} == {None}


@pytest.mark.parametrize(("settings", "shown"), [
    ('target.vllm={devices="0"}', "server keeps 15.0 GB of weights in the machine's memory"),
    ('target.vllm={devices="1"}', "cards of their own"),
    ("target.vllm={length=131072}", "target.vllm = { length = "),
    ("target.vllm={tensor_parallel=2}", "weights 7.5"),
])  # fmt: skip
def test_serving_is_sized_by_how_it_is_served(settings: str, shown: str, recipe: Path) -> None:
    shaped(recipe)
    folder = recipe.parent / "models" / "meta-llama" / "Llama-3.1-8B-Instruct"
    lines = sizing.sized(load(recipe, [f"target.model=vllm:{folder}", settings]), 24)
    assert any(shown in text for _, text in lines)


def test_a_folder_of_which_no_model_can_be_made_is_a_line_and_no_traceback(recipe: Path) -> None:
    shaped(recipe, model_type="of_mine")
    [line] = [text for fine, text in sizing.sized(load(recipe), 24) if fine is False]
    assert "is no model that transformers can make" in line
