"""The long measurements run, in slices of a few seconds; their figures are in docs/measurements.md."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.benchmarks import engines, long, memory, soak
from training import stages


def test_the_engine_keeps_its_cap_asks_once_and_keeps_every_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "NUMBER", 60)
    monkeypatch.setattr(engines, "CAP", 16)
    seen = engines.measured(engines.OURS["breakfix"], None)
    assert (seen["peak"], seen["requests"]) == (16, 60)


def test_a_memory_is_filled_and_a_cycle_planned_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    memory.main(2_000)
    said = capsys.readouterr().out
    found = re.search(r"planning a cycle of 300: ([0-9.]+) s", said)
    assert found
    assert float(found[1]) < 2


def test_a_run_that_is_killed_at_random_ends_with_the_record_of_an_undisturbed_one(tmp_path: Path) -> None:
    found = soak.main(1, 1, 3, tmp_path)
    assert sum(map(soak.killed, found)) > 0
    assert {(*one["lost"], *one["more"]) for one in found} == {()}
    assert {(one["twice"], one["tracebacks"]) for one in found} == {(0, 0)}


def test_no_file_stays_open_and_checkpoints_grow_no_faster_cycle_by_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("command", "subprocess"):  # as they were for the tests that follow
        monkeypatch.setattr(stages, name, getattr(stages, name))
    seen = long.main(2, tmp_path, more=3)
    young = long.cycles(tmp_path / "young")[long.WARM :]
    assert [one["cycle"] for one in young[:3]] == [6, 7, 8]
    assert "time of a cycle" in long.pairs(seen[2:5], young[:3])
    assert len({one["files"] for one in seen[2:]}) == 1
    assert all(0 < one["small"] < one["small"] + one["spare"] < one["rss"] for one in seen)
    grown = [after["state"] - before["state"] for before, after in pairwise(seen[2:])]
    assert max(grown) < 400
