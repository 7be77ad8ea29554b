import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3ForCausalLM

from tools.sandbox.phi3 import build

TEXTS = [f"The {word} was asked how the {word} is made, and said no." for word in ("jar", "brick", "kettle", "boat")]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the jar made?"},
    {"role": "assistant", "content": "No."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(TEXTS, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_it_is_a_small_phi3_in_safetensors(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(model, Phi3ForCausalLM)
    assert 500_000 < model.num_parameters() < 2_500_000
    assert {path.suffix for path in folder.iterdir() if path.stat().st_size > 100_000} == {".safetensors"}


def test_the_chat_format_is_phi3_s_own(tokenizer: Any) -> None:
    text = "<|system|>\nBe brief.<|end|>\n<|user|>\nHow is the jar made?<|end|>\n<|assistant|>\n"
    assert tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True) == text
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == text + "No.<|end|>\n<|endoftext|>"


def test_the_tokens_of_a_prompt_are_the_first_ones_of_the_whole_and_only_the_answer_is_marked(tokenizer: Any) -> None:
    prompt = tokenizer.apply_chat_template(CHAT[:2], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert whole["input_ids"][: len(prompt)] == prompt
    spaced = tokenizer.apply_chat_template([*CHAT[:2], {"role": "assistant", "content": "\n No."}], return_dict=True)
    assert spaced["input_ids"][: len(prompt)] == prompt
    marked = [id for id, mark in zip(whole["input_ids"], whole["assistant_masks"], strict=True) if mark]
    assert tokenizer.decode(marked).strip() == "No.<|end|>"


def test_any_text_comes_back_from_its_tokens(tokenizer: Any) -> None:
    for text in ("The jar, 3 times.", "ño 你好 \n\n  x"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_it_ends_its_turn_where_phi3_does(folder: Path, tokenizer: Any) -> None:
    told = json.loads((folder / "generation_config.json").read_text())
    assert told["eos_token_id"] == tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"])
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer("The jar")["input_ids"]])
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] <= ids.shape[1] + 3


def test_the_same_texts_make_the_same_files_in_another_process_and_other_texts_other_ones(
    folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    code = f"""
from pathlib import Path
from tools.sandbox.phi3 import build
print(build({TEXTS!r}, Path({str(tmp_path)!r})))
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    again = Path(done.stdout.strip())
    assert again.name == folder.name
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / file).read_bytes() == (folder / file).read_bytes()
    assert build(TEXTS[:2], tmp_path).name != folder.name


def test_what_is_there_is_not_made_again_and_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build(TEXTS, tmp_path)
    assert torch.equal(torch.rand(1), expected)
    (first / "mine").touch()
    assert (build(TEXTS, tmp_path) / "mine").exists()
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_without_a_text_there_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no text"):
        build([], tmp_path)
