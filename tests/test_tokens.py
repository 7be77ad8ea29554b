import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from public import DATA
from tiktoken import Encoding
from transformers import AutoTokenizer

from tools.sandbox.phi3 import build
from tools.tokens import at_hand, cached, count, encoding_of, marks_of_bytes
from tools.transcripts import read

TEXTS = ["Where does the jar stand?", "It's behind the 12 kettles; don't   touch them!", "¿Dónde? 壶在哪里?", "\n\n  x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer made from real conversations where they are at hand."""
    path = DATA / "phi3_attack_artifacts" / "past_tense_phi3.json"
    said = [turn.text for attempt in read(path, "phi3").attempts for turn in attempt.turns] if path.exists() else []
    return build([*TEXTS, *said], tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def encoding(folder: Path) -> Encoding:
    return encoding_of(folder)


def test_an_encoding_made_from_a_target_gives_its_tokens(encoding: Encoding, tokenizer: Any) -> None:
    path = DATA / "jailbreakbench" / "artifacts" / "PAIR__black_box__vicuna-13b-v1.5.json"
    unseen = [attempt.response for attempt in read(path, "jbb").attempts] if path.exists() else []
    for text in [*TEXTS, *unseen]:
        assert encoding.encode_ordinary(text) == tokenizer(text)["input_ids"]
    assert encoding.encode("<|end|>", allowed_special="all") == [tokenizer.convert_tokens_to_ids("<|end|>")]


@given(text=st.text())
def test_an_encoding_made_from_a_target_counts_any_text_as_it_does(
    encoding: Encoding, tokenizer: Any, text: str
) -> None:
    plain = text.replace("<|", "")
    assert len(encoding.encode_ordinary(plain)) == len(tokenizer(plain)["input_ids"])


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no byte-level BPE"):
        encoding_of(tmp_path)
    told = '{"model": {"type": "WordLevel"}, "pre_tokenizer": {"type": "Whitespace"}, "normalizer": null}'
    (tmp_path / "tokenizer.json").write_text(told)
    with pytest.raises(ValueError, match="Whitespace"):
        encoding_of(tmp_path)


def test_a_tokenizer_in_which_two_tokens_have_one_id_is_refused(folder: Path, tmp_path: Path) -> None:
    told = json.loads((folder / "tokenizer.json").read_text())
    vocab = told["model"]["vocab"]
    first, second = list(marks_of_bytes())[:2]
    vocab[second] = vocab[first]
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="two tokens have one id"):
        encoding_of(tmp_path)


def test_without_an_encoding_at_hand_tokens_are_estimated_and_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cached.cache_clear()
    for place in (str(tmp_path), ""):
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", place)
        for model in ("gpt-4o", "gpt-4", "gpt2", "text-davinci-003", "phi3"):
            assert count("It is a jar.", model) == 3
            assert count("", model) == 0
            assert count("壶", model) == 1
        cached.cache_clear()


def test_a_damaged_cache_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_text("half")
    assert not at_hand("cl100k_base")
