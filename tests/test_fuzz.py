"""A short slice of the fuzzing: what was found by it has tests of its own beside what was mended."""

import random
import signal
from typing import Any

import pytest
from fuzzing import spoilt
from parsers import PARSERS

TIMES = 150
"""Inputs for each parser."""
SECONDS = 10
"""For one input."""


def late(*_: Any) -> None:
    raise TimeoutError(f"one input took {SECONDS} s")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARSERS)
def test_no_text_from_outside_brings_down_what_reads_it(name: str) -> None:
    parser, dice = PARSERS[name](), random.Random(0)
    signal.signal(signal.SIGALRM, late)
    seeds = parser.inputs()
    for number in range(TIMES):
        data = spoilt(dice.choice(seeds), dice) if number >= len(seeds) else seeds[number]
        signal.alarm(SECONDS)
        try:
            parser.once(data)
        except Exception as error:
            raise AssertionError(f"{name} on {data[:400]!r}") from error
        finally:
            signal.alarm(0)
