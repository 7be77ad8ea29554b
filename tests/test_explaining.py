"""Why a run stopped and why a candidate lost is said in plain sentences, and how long it may still take."""

import json
from pathlib import Path

import everything
import pytest
import test_loop

from graph.cli import main
from graph.logs import LOG, kept
from graph.remaining import left
from graph.team import Team, team
from tools.memory import Memory
from tools.records import BASE, Adapter

run, begin = test_loop.run, test_loop.begin


def said(crew: Team, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["why", str(crew.run)]) == 0
    return capsys.readouterr().out


def test_a_finished_run_says_why_it_ended_who_won_and_why_the_others_lost(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = begin(run)
    crew = team(str(run))
    text, champion = said(crew, capsys), now.values["champion"]
    lines = text.splitlines()
    assert lines[0] == f"{run}: it is finished: {now.values['stopped']}"
    assert lines[-1] == f"the champion is {champion}"
    assert "cycle 1: go on: up to " in text
    trials = [trial for event in crew.memory.events("choice") for trial in event["trials"]]
    assert text.count("became champion: harm fell by") == sum(t["candidate"] == champion for t in trials)
    assert text.count(" lost") == len(trials) - 1
    assert len(lines) < 20
    assert main(["why", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "finished"
    assert [one["won"] for one in found["cycles"][0]["candidates"]].count(True) == 1


def tried(crew: Team, **trial: object) -> None:
    """A cycle's choice of the base, over a candidate with that trial."""
    [name, *_] = crew.memory.ids(Adapter)
    body = {"candidate": name, "gain": [0.1, -0.05, 0.25], "n": 20, "fell": 3, "rose": 1, "p": 0.6, "fault": ""}
    crew.memory.event(3, "promote_gate", "choice", before=BASE, chosen=BASE, why="told; rejected by a person: no",
                      gain_high=0.25, trials=[body | trial])  # fmt: skip


@pytest.mark.parametrize(("trial", "told"), [
    ({}, "lost: its harm fell by 10.0 points [-5.0, 25.0] (3 of 20 items mended, 1 newly broken), which is not shown"),
    ({"fault": "over-refusal rose by 9 points"}, "lost, as a guard-rail is broken: over-refusal rose by 9 points (its"),
    ({"gain": None}, "lost, as no harm was measured on the same items as the champion's"),
])  # fmt: skip
def test_a_candidate_that_lost_is_told_why(
    trial: dict[str, object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crew = everything.run(tmp_path)
    tried(crew, **trial)
    crew.memory.event(3, "train", "budget", why="8 of 8 conversations are held")
    text = said(crew, capsys)
    assert told in text
    assert "a budget is spent: 8 of 8 conversations are held; nothing more was begun" in text
    assert "the champion stayed: rejected by a person: no" in text


def test_a_run_that_failed_or_was_killed_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crew = everything.run(tmp_path)
    assert "stands before baseline, cycle 1; it has not begun" in said(crew, capsys)
    with pytest.raises(OSError, match="full"), kept(crew.run):
        raise OSError(28, "No space left: the disk is full")
    assert "it failed with OSError: No space left: the disk is full (" in said(crew, capsys)
    with pytest.raises(KeyboardInterrupt), kept(crew.run):
        raise KeyboardInterrupt
    assert "was stopped by SIGINT, and can be gone on with" in said(crew, capsys)
    with kept(crew.run):
        LOG.info("begins")
        assert "it goes on, or was killed" in said(crew, capsys)


def test_what_is_left_goes_by_the_last_whole_cycle_and_is_silent_without_one(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    assert left(memory, "attack", 1, 4, None) == ""
    for node, took in (("attack", 600.0), ("train", 1200.0), ("measure", 300.0), ("promote", 0.0)):
        memory.event(1, node, "worked", seconds=took)
    memory.event(2, "attack", "worked", seconds=240.0)
    assert left(memory, "attack", 2, 2, None) == "about 31 min left of cycle 2, as cycle 1 took"
    assert left(memory, "measure", 2, 4, None) == (
        "about 5 min left of cycle 2, as cycle 1 took; about 75 min with 2 more like it, if it comes to them"
    )
    assert left(memory, "measure", 2, 4, 1.0).endswith("cycle 1 took; the budget of hours has 21 min left")
    assert left(memory, "report", 2, 4, None) == ""
