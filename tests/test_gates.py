"""The gates of the whole loop, on fakes: what is decided there, by whom, once, and what follows."""

import threading
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_loop
from test_loop import begin

from evals.report.shapes import Report
from graph import candidates, gates, mixing, report
from graph.cli import main
from graph.editing import edit
from graph.gates import Decided, Decision, Place
from graph.recipes import load
from graph.run import advance, create
from graph.team import team
from tools.records import BASE, Adapter, Example, Score, StagePlan, Verdict

run = test_loop.run
ALL = "gates=['data','train','promote','stop']"
YES = {"approved": True, "who": "me"}


def test_every_gate_waits_and_what_was_decided_is_kept_with_who_and_when(run: Path) -> None:
    began, now, seen = time.time(), begin(run, ALL), list[str]()
    while now.state == "waiting":
        seen.append(now.gate["gate"])
        now = advance(run, YES)
    assert (now.state, seen[:3], seen[-1]) == ("finished", ["data", "train", "promote"], "stop")
    told = team(str(run)).memory.events("gate")
    assert [event["gate"] for event in told] == seen
    assert all(event["who"] == "me" and began < event["at"] < time.time() for event in told)


def test_a_run_that_would_end_goes_on_when_its_end_is_rejected(run: Path) -> None:
    now = begin(run, "gates=['stop']", "stop.cycles=1")
    assert (now.gate["gate"], now.values["cycle"]) == ("stop", 2)
    now = advance(run, {"approved": False, "why": "one more", "who": "Ana"})
    assert (now.state, now.gate["gate"], now.values["cycle"]) == ("waiting", "stop", 3)
    memory = team(str(run)).memory
    assert "Ana has it go on (one more), though: " in memory.by_cycle("decision")[2]["why"]
    assert memory.ids(Adapter, "cycle = 2")
    assert advance(run, YES).state == "finished"


@pytest.mark.parametrize(("gate", "cycle"), [("data", 1), ("train", 1), ("promote", 2)])
def test_a_run_can_be_ended_at_any_gate_with_what_it_has(run: Path, gate: str, cycle: int) -> None:
    begin(run, f"gates=['{gate}']")
    now = advance(run, {"approved": gate == "promote", "why": "enough", "who": "Ana", "end": True})
    assert (now.state, now.values["cycle"]) == ("finished", cycle)
    assert now.values["stopped"] == f"ended at the {gate} gate by Ana: enough"
    assert (now.values["champion"] != BASE) == (gate == "promote")
    assert "ended at the" in (run / "report.md").read_text()


@pytest.mark.parametrize("anew", [False, True])
def test_what_passed_the_data_gate_is_trained_on_whatever_people_say_since_and_whichever_process_trains(
    run: Path, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    seen = list[tuple[StagePlan, list[Example]]]()

    def training(plan: StagePlan, rows: list[Example], *rest: Any) -> Adapter:
        seen.append((plan, list(rows)))
        return test_loop.trained(plan, rows, *rest)

    monkeypatch.setattr(candidates.stages, "run_stage", training)
    begin(run, "gates=['data', 'train']", "stop.cycles=1")
    assert advance(run, YES).gate["gate"] == "train"
    crew = team(str(run))
    passed = mixing.approved(crew, 1, 0)
    attempt = next(row.attempt for row in passed["sft"] if row.kind == "refuse")
    crew.memory.add([Verdict(attempt=attempt, judge="human:Ben", harmful=False, refusal="full", understood=True)])
    if anew:
        team.cache_clear()
    assert advance(run, YES).state == "finished"
    assert {plan.stage: rows for plan, rows in seen} == passed
    assert all(len(rows) == plan.rows for plan, rows in seen)
    assert attempt not in {row.attempt for row in mixing.usable(crew, 1, 0)}


def test_what_a_person_calls_no_harm_at_the_data_gate_is_not_trained_on(run: Path) -> None:
    now = begin(run, "gates=['data', 'train']", "stop.cycles=1")
    crew = team(str(run))
    attempt = next(row.attempt for row in mixing.staged(crew, 1, 0)["sft"] if row.kind == "refuse")
    edit(crew, gates.place_of(now.gate), "Ana", {"what": "judge", "attempt": attempt, "harmful": False})
    assert advance(run, YES).gate["gate"] == "train"
    kept = mixing.approved(crew, 1, 0)
    assert attempt not in {row.attempt for row in kept["sft"]}
    team.cache_clear()
    assert mixing.approved(team(str(run)), 1, 0) == kept


def test_whoever_decides_reads_a_report_of_what_there_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "keep", lambda crew, now: None)
    now = begin(run, ALL)
    while now.state == "waiting":
        found = Report.model_validate_json((run / "report.json").read_text())
        assert found.champion == now.values["champion"]
        assert found.ended == (now.gate["why"] if now.gate["gate"] == "stop" else "not ended yet")
        (run / "report.json").unlink()
        now = advance(run, YES)
    assert found.champion != BASE


def test_a_new_champion_and_an_end_are_reported_at_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = list[bool]()
    monkeypatch.setattr(report, "keep", lambda crew, now: at_once.append(now))
    assert begin(run).values["cycle"] == 2
    assert at_once == [False, True, True]


def test_the_second_to_decide_is_told_and_changes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(run, "gates=['data']")
    memory, place = team(str(run)).memory, Place("data", 1, 0)
    gates.decide(memory, place, Decision(approved=False, why="too short", who="Ana"))
    with pytest.raises(Decided, match="Ana was first, 0 minutes ago: rejected: too short"):
        gates.decide(memory, place, Decision(approved=True, who="Ben"))
    assert main(["approve", str(run), "--as", "Ben"]) == 2
    assert "Ana was first" in capsys.readouterr().err
    now = advance(run, YES)
    assert (now.gate["round"], [event["who"] for event in memory.events("gate")]) == (1, ["Ana"])


def test_of_many_who_decide_at_once_one_counts(run: Path) -> None:
    begin(run, "gates=['data']")
    memory, place, won = team(str(run)).memory, Place("data", 1, 0), list[str]()

    def hurry(who: str) -> None:
        try:
            gates.decide(memory, place, Decision(approved=True, who=who))
        except Decided:
            return
        won.append(who)

    people = [threading.Thread(target=hurry, args=(f"p{n}",)) for n in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert won == [event["who"] for event in memory.events("gate")]
    assert len(won) == 1


@pytest.mark.parametrize(
    ("otherwise", "state", "decided"),
    [("approve", "finished", [True]), ("reject", "waiting", [False]), ("wait", "waiting", [])],
)
def test_where_nobody_comes_in_time_the_recipe_decides(
    run: Path,
    otherwise: str,
    state: str,
    decided: list[bool],
) -> None:
    now = begin(run, "gates=['data']", f"wait.data={{minutes=0.001, otherwise='{otherwise}'}}")
    assert now.state == state
    told = team(str(run)).memory.events("gate", 1)
    assert [event["approved"] for event in told] == decided
    assert {event["who"] for event in told} <= {gates.NOBODY}
    if otherwise == "reject":
        assert now.gate["round"] == 1  # rejected once, and then it waits


def test_who_comes_in_time_decides_for_the_process_that_waits(run: Path) -> None:
    create(
        load(
            run.parent.parent / "recipe.toml",
            [
                "gates=['data']",
                "wait.data={minutes=0.05, otherwise='approve'}",
                "stop.cycles=1",
            ],
        ),
        run,
    )

    def come() -> None:
        memory, place = team(str(run)).memory, Place("data", 1, 0)
        while gates.reached(memory, place) is None:
            time.sleep(0.05)
        gates.decide(memory, place, Decision(approved=False, why="too short", who="Ana"))

    visitor = threading.Thread(target=come)
    visitor.start()
    now = advance(run)
    visitor.join()
    told = team(str(run)).memory.events("gate")
    assert [(event["who"], event["approved"], event["round"]) for event in told[:2]] == [
        ("Ana", False, 0), (gates.NOBODY, True, 1)
    ]  # fmt: skip
    assert now.state == "finished"


def test_a_clock_that_is_put_forward_brings_nobody_to_a_gate_sooner(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = count()
    clock = SimpleNamespace(time=lambda: time.time() + 86400 * next(days), monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(gates, "time", clock)
    begin(run, "gates=['data']", "wait.data={minutes=0.02, otherwise='approve'}", "stop.cycles=1")
    memory = team(str(run)).memory
    [waits], [gate] = memory.events("waits"), memory.events("gate")
    assert gate["who"] == gates.NOBODY
    assert gate["at"] - waits["at"] >= 1.1


def test_an_answer_that_says_nothing_is_asked_for_again(run: Path) -> None:
    begin(run, "gates=['data']")
    now = advance(run, {"why": "hm"})
    assert (now.state, now.gate["gate"]) == ("waiting", "data")
    assert "approved" in now.gate["mistake"]
    assert advance(run, YES).values["champion"] != BASE
    assert team(str(run)).memory.get(Score, "benchmark = 'harm'")
