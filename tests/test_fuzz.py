"""A short slice of the fuzzing: what was found by it has tests of its own beside what was mended."""

import random
import signal
from functools import cache
from typing import Any

import pytest
from fuzzing import Parser, spoilt
from parsers import PARSERS

DEEP = b'{"a":' * 3000
FOUND: tuple[tuple[str, bytes], ...] = (
    ("answers", b'chat\n{"choices": [{"text": "x"}], "usage": {"prompt_tokens": Infinity}}'),
    ("answers", b'chat\n{"choices": [{"message": {"tool_calls": [{"id": {}, "function": '
                b'{"name": "a", "arguments": "{}"}}]}}]}'),
    ("answers", b'chat\n{"choices": [{"text": "x", "logprobs": {"tokens": [[]], "token_logprobs": [0], '
                b'"top_logprobs": "a"}}]}'),
    ("answers", b"chat\n" + DEEP), ("answers", b"reason\n" + DEEP),
    ("answers", b"later\nWed, 21 Oct 99999999999999999999999999 07:28:00 -0000"),
    ("tables", b'coconot.jsonl\n{"prompt": "a", "category": "[(", "subcategory": "b", "response": "c"}'),
    ("tables", b"goals.jsonl\n" + DEEP), ("tables", b"rows.json\n" + DEEP), ("tables", b"policy\nx = " + b"[" * 9000),
    ("encodings", b"name\naffine(a=5, b" + b"[" * 3000), ("recipes", b"file\nx = " + b"[" * 9000),
    ("recipes", b"set\npolicy=" + b"[" * 9000), ("recipes", b'set\npolicy="\\u0000"'),
    ("recipes", b'set\ntarget.model="hf:\\u0000"'), ("suites", b'truthfulqa.json\n["a", {"question": "b"}]'),
    ("logs", b"log\nInfinity\n{}\n" + DEEP), ("logs", b'log\n{"at": 1, "what": "begins", "node": "a"}'),
    ("logs", b'told\n{"a "b"}\n[]\n' + DEEP), ("logs", b"curve\n\xed\xa0\x80\n" + DEEP), ("logs", b'lm_eval\n{"x": 1}'),
    ("adapters", b'config\n{"peft_type": "LORA", "r": 1000000000}'), ("adapters", b'config\n{"r": 2}'),
    ("adapters", b"config\n" + DEEP), ("adapters", b"weights\n\x98\x06"), ("adapters", b"weights\n" + b"\xff" * 9),
    ("fitted", b"settings\n" + DEEP), ("recipes", b"spec\n" + b"9" * 5000), ("recipes", b"file\nx = " + b"9" * 5000),
    ("recipes", b"set\n" + b"a." * 2000 + b"b=1"), ("recipes", b"file\n" + b"a." * 1500 + b"b = 1"),
    ("tables", b"policy\nx = " + b"9" * 5000), ("folders", b"card\n---\nlicense: " + b"[" * 3000),
    ("experiments", b"vary\nattack.attempts=3,4\nattempts=3,4"), ("folders", b"tokenizer\n" + DEEP),
    ("experiments", b"vary\ndata.chosen=" + b"writer," * 40 + b"target"),
)  # fmt: skip
"""What brought a parser down once, shortened."""
TIMES = 100
"""Inputs for each parser."""
SECONDS = 10
"""For one input."""


@cache
def parser(name: str) -> Parser:
    return PARSERS[name]()


def late(*_: Any) -> None:
    raise TimeoutError(f"one input took {SECONDS} s")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_once_brings_nothing_down_again(name: str, data: bytes) -> None:
    parser(name).once(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARSERS)
def test_no_text_from_outside_brings_down_what_reads_it(name: str) -> None:
    read, dice = parser(name), random.Random(0)
    signal.signal(signal.SIGALRM, late)
    seeds = read.inputs()
    for number in range(TIMES):
        data = spoilt(dice.choice(seeds), dice) if number >= len(seeds) else seeds[number]
        signal.alarm(SECONDS)
        try:
            read.once(data)
        except Exception as error:
            raise AssertionError(f"{name} on {data[:400]!r}") from error
        finally:
            signal.alarm(0)
