"""A budget that is spent ends a run with its record whole; its hours are those that it worked."""

import time
from pathlib import Path
from typing import Any

import pytest
import test_loop
from test_config import RECIPE

from graph import budgets, candidates, timing
from graph.cli import main
from graph.config import RecipeError
from graph.recipes import load
from graph.run import Standing, advance, create
from graph.team import team
from tools.memory import Memory
from tools.records import BASE, Adapter, Attempt, Example, Score, Verdict

run, begin = test_loop.run, test_loop.begin


def spent_at(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a budget be spent as soon as `place` asks, and from then on."""
    reached, over = budgets.reached, [""]
    monkeypatch.setattr(budgets, "over", lambda crew: over[0])

    def asked(crew: Any, node: str, cycle: int) -> str:
        over[0] = "all of it" if node == place else over[0]
        return reached(crew, node, cycle)

    monkeypatch.setattr(budgets, "reached", asked)


def ended(run: Path, now: Standing, why: str) -> None:
    """It says why, keeps the best that it has, and its report is written."""
    assert (now.state, now.values["stopped"]) == ("finished", why)
    crew, champion = team(str(run)), now.values["champion"]
    assert f"Ended: {why}" in (run / "report.md").read_text()
    assert crew.memory.get(Score, "adapter = ? and benchmark = 'final'", champion)
    held = crew.memory.ids(Attempt, "error = '' and purpose = 'attack'")
    seen = {verdict.attempt for verdict in crew.memory.get(Verdict)}
    assert held <= seen
    trained = {name for event in crew.memory.events("choice") for name in (t["candidate"] for t in event["trials"])}
    assert trained == crew.memory.ids(Adapter)


def test_a_budget_of_conversations_that_the_baseline_took_leaves_no_wave(run: Path) -> None:
    now = begin(run, "stop.attempts=1")
    memory = team(str(run)).memory
    [event] = memory.events("budget")
    held = len(memory.ids(Attempt, "cycle <= 1 and goal in (select id from goals where split <> 'final')"))
    ended(run, now, f"budget over: {held} of 1 conversations are held")
    assert now.values["champion"] == BASE
    assert not memory.ids(Attempt, "purpose = 'attack'")
    assert event["why"] == f"{held} of 1 conversations are held"


def test_a_wave_more_is_not_begun(run: Path, tmp_path: Path) -> None:
    begin(run, "stop.attempts=1")
    base = len(team(str(run)).memory.ids(Attempt, "goal in (select id from goals where split <> 'final')"))
    other = tmp_path / "runs" / "other"
    create(load(tmp_path / "recipe.toml", [f"stop.attempts={base + 1}", "attack.waves=4"]), other)
    now = advance(other)
    memory = team(str(other)).memory
    assert len(memory.ids(Attempt, "purpose = 'attack'")) == 60 / 4
    ended(other, now, f"budget over: {base + 15:,} of {base + 1:,} conversations are held")


def test_a_folder_that_is_too_large_ends_it(run: Path) -> None:
    now = begin(run, "stop.disk=0.0001")
    assert now.values["stopped"].startswith("budget over: its folder takes ")
    assert now.values["stopped"].endswith(" of 0.0001 GB")


@pytest.mark.parametrize(("place", "rows", "plans", "adapters"), [
    ("data_gate", True, 0, 0), ("train_gate", True, 2, 0), ("train", True, 2, 1), ("promote", True, 2, 2),
])  # fmt: skip
def test_wherever_a_budget_is_spent_nothing_more_is_begun_and_what_is_trained_is_decided(
    place: str, rows: bool, plans: int, adapters: int, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent_at(place, monkeypatch)
    now = begin(run)
    ended(run, now, "budget over: all of it")
    memory = team(str(run)).memory
    assert bool(memory.get(Example)) == rows
    assert len(memory.query("select id from plans")) == plans
    assert len(memory.get(Adapter)) == adapters
    assert memory.events("budget")[0]["why"] == "all of it"
    assert not memory.ids(Attempt, "cycle = 2 and purpose = 'attack'")
    assert (now.values["champion"] == BASE) == (not adapters)


def test_a_stage_that_was_begun_is_finished(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = candidates.stages.run_stage

    def begun(plan: Any, rows: Any, folder: Path, *more: Any) -> Adapter:
        planned = team(str(folder)).memory.query("select id from plans")
        for one in planned:
            (folder / "adapters" / one["id"]).mkdir(parents=True, exist_ok=True)
        return trained(plan, rows, folder, *more)

    monkeypatch.setattr(candidates.stages, "run_stage", begun)
    spent_at("train", monkeypatch)
    begin(run)
    assert len(team(str(run)).memory.get(Adapter)) == 2


def test_whoever_has_a_run_go_on_lifts_the_budget_until_the_next_decision(run: Path) -> None:
    now = begin(run, "stop.attempts=150", "gates=['stop']", "stop.target=0.0001")
    assert now.values["stopped"].startswith("budget over")
    assert now.gate["gate"] == "stop"
    crew = team(str(run))
    advance(run, {"approved": False, "why": "it is worth it", "who": "me"}, until="attack")
    assert budgets.over(crew)
    now = advance(run)
    assert (now.gate["gate"], now.gate["cycle"]) == ("stop", 2)
    assert len(crew.memory.ids(Attempt, "purpose = 'attack' and cycle = 2")) == 60
    assert budgets.reached(crew, "attack", 2).startswith("budget over")


def test_hours_are_those_that_it_worked_whatever_the_clock_says(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(load(run.parent.parent / "recipe.toml", ["stop.hours=0.5"]), run)
    advance(run, until="judge")
    crew, now = team(str(run)), time.time
    for jump in (-2 * 86_400.0, 86_400.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
        advance(run, until="*")
        assert 0 < timing.worked(crew.memory) < 600
        assert budgets.over(crew) == ""
    crew.memory.event(1, "attack", "worked", seconds=1800)
    assert budgets.over(crew) == "it has worked for 30 min of 30 min"


def test_a_node_notes_its_work_while_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "EVERY", 0.02)
    memory = Memory(tmp_path / "memory.sqlite")
    with timing.counted(memory, "train", 3):
        while len(memory.events("worked", 3)) < 2:
            time.sleep(0.01)
        before = timing.worked(memory)
        time.sleep(0.01)  # seconds are noted to a thousandth: an end just after a note adds nothing
    assert 0.04 <= before < timing.worked(memory) < 30


@pytest.mark.parametrize(("text", "hours"), [("8h", 8), ("30m", 0.5), ("1h30m", 1.5), ("1.5h", 1.5), ("90m", 1.5)])
def test_a_time_is_hours_and_minutes(text: str, hours: float) -> None:
    assert timing.hours(text) == hours


@pytest.mark.parametrize("text", ["", "8", "h", "8 h", "30s", "-1h", "0h", "1h30", "1e3h", "m", "0m"])
def test_another_time_is_a_mistake_in_a_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError):
        timing.hours(text)
    assert main(["run", "recipe.toml", f"--for={text}"]) == 2
    assert capsys.readouterr().err == (f"breakfix: --for {text!r} is no time; write one such as 8h, 30m or 1h30m\n")
    assert not (tmp_path / "runs").exists()
