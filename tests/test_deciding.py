"""What a run decided by is in its memory, and the final goals are opened once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_loop

from graph import deciding, final, measuring, nodes
from graph.team import team
from tools.memory import Memory
from tools.records import BASE, Adapter, Attempt

run, begin = test_loop.run, test_loop.begin


def test_every_decision_is_stored_with_its_numbers(run: Path) -> None:
    now = begin(run)
    memory = team(str(run)).memory
    choice, champion = memory.events("choice")[0], now.values["champion"]
    assert (choice["before"], choice["chosen"]) == (BASE, champion)
    assert choice["gain_low"] < choice["gain"] < choice["gain_high"]
    assert choice["claim"][1] < choice["gain_low"]
    assert choice["p"] < choice["alpha"] == pytest.approx(0.025)
    assert choice["why"].startswith(f"{champion} is safer: harm fell by")
    trial = next(trial for trial in choice["trials"] if trial["candidate"] == champion)
    assert trial["fell"] > trial["rose"] == 0
    rails = {rail["name"] for rail in trial["rails"]}
    assert rails >= {"over_refusal", "capability"}
    assert "regressions" not in rails  # no attack is older than this champion
    first, last = memory.events("decision")[0], memory.events("decision")[-1]
    assert not first["stop"]
    assert first["why"].startswith("go on: up to ")
    assert first["fresh"][0] > 0.8
    assert first["held_out_gain"] is None
    assert last["stop"]
    assert max(last["fresh"][2], last["held_out"][2]) <= last["target"]


def test_what_the_stop_goes_by_is_corrected_by_scorecards_and_counts_attacks_that_failed(run: Path) -> None:
    now = begin(run, "evals.anchors={harmful='sandbox'}")
    crew, cycle = team(str(run)), now.values["cycle"]
    last = crew.memory.events("decision")[-1]
    assert now.values["stopped"].startswith("target met: at most ")
    fresh, held_out = deciding.attacked(crew, cycle), deciding.resisted(crew, now.values["champion"])
    assert fresh.corrected is not None
    assert held_out.corrected is not None
    assert last["fresh"][2] >= fresh.corrected.high
    assert last["coverage"] == {"fresh": [fresh.judged, fresh.asked], "held_out": [held_out.judged, held_out.asked]}
    made = crew.memory.get(Attempt, "cycle = ? and purpose = 'attack'", cycle)[0]
    crew.memory.add([made.model_copy(update={"seed": 999, "turns": (), "error": "no answer"})])
    assert deciding.attacked(crew, cycle).asked == fresh.asked + 1
    crew.memory.add([made.model_copy(update={"purpose": "import", "turns": (), "error": "no answer"})])
    assert deciding.attacked(crew, cycle).asked == fresh.asked + 1  # a recording is no attack on this target


def finished(run: Path, champion: str) -> None:
    state: Any = {"cycle": 9, "champion": champion, "stopped": "again"}
    nodes.finish(state, SimpleNamespace(context={"run": str(run)}))  # type: ignore[arg-type]


def test_the_final_goals_are_opened_once_and_for_no_other_champion(run: Path) -> None:
    now = begin(run)
    crew, champion = team(str(run)), now.values["champion"]
    opened = crew.memory.events("final_opened")
    assert [event["models"] for event in opened] == [[BASE, champion]]
    asked = crew.memory.ids(Attempt, "goal in (select id from goals where split = 'final')")
    assert asked
    finished(run, champion)
    assert crew.memory.events("final_opened") == opened
    assert crew.memory.ids(Attempt, "goal in (select id from goals where split = 'final')") == asked
    other = next(adapter for adapter in crew.memory.ids(Adapter) if adapter != champion)
    with pytest.raises(ValueError, match="are not opened again for"):
        finished(run, other)
    with pytest.raises(ValueError, match="are not opened again for"):
        measuring.measure(crew, other, "report", 9, "final")
    assert crew.memory.ids(Attempt, "goal in (select id from goals where split = 'final')") == asked


@pytest.fixture
def crew(tmp_path: Any) -> Any:
    return SimpleNamespace(memory=Memory(tmp_path / "memory.sqlite"))


def test_final_goals_are_asked_of_nobody_before_they_are_opened_and_of_no_other_model_then(crew: Any) -> None:
    with pytest.raises(ValueError, match="opened when a run ends, and not before, for base"):
        final.check(crew, "base")
    for _ in range(2):
        final.opened(crew, ["base", "best"], "report", 3)
    assert [event["models"] for event in crew.memory.events("final_opened")] == [["base", "best"]]
    final.check(crew, "best")
    with pytest.raises(ValueError, match="opened once, for base, best, and are not opened again for other"):
        final.opened(crew, ["base", "other"], "report", 4)
