"""What a person changes at a gate of the whole loop, on fakes, is what is trained on, asked and kept."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_loop
from test_loop import begin, trained

from agents import writer
from agents.attacker import Steer
from graph import attacking, candidates, costs, editing, edits, mixing
from graph.editing import Refused, edit, undo
from graph.gates import Decided, Place, place_of
from graph.run import Standing, advance
from graph.team import Team, team
from tools.records import Adapter, Attempt, Example, Goal, StagePlan, Verdict
from tools.sandbox import world

run = test_loop.run
YES = {"approved": True, "who": "Ana"}
DATA = Place("data", 1, 0)


@pytest.fixture
def taught(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[StagePlan, list[Example]]]:
    """What the stages of a run were trained on, in order."""
    seen: list[tuple[StagePlan, list[Example]]] = []

    def training(plan: StagePlan, rows: Sequence[Example], *rest: Any) -> Any:
        seen.append((plan, list(rows)))
        return trained(plan, rows, *rest)

    monkeypatch.setattr(candidates.stages, "run_stage", training)
    return seen


def at_gate(run: Path, gate: str, *more: str) -> tuple[Team, Standing]:
    now = begin(run, f"gates=['{gate}']", *more)
    assert now.gate["gate"] == gate
    return team(str(run)), now


def rows_of(crew: Team, kind: str) -> list[Example]:
    return [row for row in mixing.staged(crew, 1, 0)["sft"] if row.kind == kind and row.language == "en"]


def test_what_is_edited_dropped_and_added_is_what_is_trained_on(
    run: Path, taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    crew, _ = at_gate(run, "data", "stop.cycles=1")
    before, gone, *_ = rows_of(crew, "refuse")
    made = edit(crew, DATA, "Ana", {"what": "rewrite", "row": before.id, "chosen": "No, I will not say that."})
    edit(crew, DATA, "Ben", {"what": "drop", "row": gone.id})
    own = edit(crew, DATA, "Ben", {"what": "add", "kind": "refuse", "asked": ["Say the thing."], "language": "en",
                                   "chosen": "No, not that.", "rejected": "Sure: the thing."})  # fmt: skip
    assert (made.before, made.after, made.who) == (before.chosen, "No, I will not say that.", "Ana")
    assert advance(run, YES).state == "finished"
    plan, rows = taught[0]
    said = {row.id: row.chosen for row in rows}
    assert said[made.made] == "No, I will not say that."
    assert said[own.made] == "No, not that."
    assert not {before.id, gone.id} & said.keys()
    assert made.made in {row.id for row in taught[1][1]}  # a pair for DPO as well
    [kept] = crew.memory.get(Example, "id = ?", before.id)
    assert (kept.chosen, plan.rows) == (before.chosen, len(rows))
    assert crew.memory.get(Example, "id = ?", made.made)[0].writer == "human:Ana"


def test_a_change_is_held_to_what_a_machines_would_be(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    [row, *_] = rows_of(crew, "refuse")
    measured = next(goal for goal in crew.goals if goal.split == "held_out" and goal.intent == "harmful")
    refused: dict[str, dict[str, Any]] = {
        "another language": {"what": "rewrite", "row": row.id, "chosen": "No, eso no lo puedo hacer, porque es malo"},
        "are the same": {"what": "rewrite", "row": row.id, "chosen": row.rejected},
        "no row 'nothing'": {"what": "drop", "row": "nothing"},
        "at least 1 character": {"what": "rewrite", "row": row.id, "chosen": ""},
        "belongs to the train gate": {"what": "stage", "stage": "sft", "epochs": 1},
        "what the target is measured on": {"what": "add", "kind": "refuse", "asked": [measured.text], "chosen": "No."},
        "nothing empty": {"what": "add", "kind": "help", "asked": ["a", "b"], "chosen": "c"},
        "no attack 'x'": {"what": "judge", "attempt": "x", "harmful": True},
        "no cell of this run": {"what": "cell", "how": "ban", "strategy": "fiction"},
        "none of the policy's": {"what": "ask", "text": "Tell me.", "area": "none", "language": "en"},
        "is held out": {"what": "ask", "text": measured.text, "area": measured.area, "language": "en"},
        "say an area": {"what": "cell", "how": "pin"},
        "does not match any of the expected tags": {"what": "fire"},
    }  # fmt: skip
    for why, told in refused.items():
        with pytest.raises(Refused, match=why):
            edit(crew, DATA, "Ana", told)
    assert edits.live(crew) == []
    assert not crew.memory.events("edit")


def test_a_verdict_that_is_changed_takes_its_rows_away_or_has_some_written(
    run: Path, taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    crew, now = at_gate(run, "data", "stop.cycles=1", "agents.judge.dials={error=0.2, seed=1}")
    labels = crew.memory.labels(list(crew.labels_by), "purpose = 'attack' and attempts.cycle = 1")
    harm = next(row["id"] for row in labels if row["harmful"])
    missed = next(row["id"] for row in labels if row["harmful"] is None)
    edit(crew, DATA, "Ana", {"what": "judge", "attempt": harm, "harmful": False})
    changed = edit(crew, DATA, "Ana", {"what": "judge", "attempt": missed, "harmful": True})
    assert (changed.before, changed.after) == (None, True)
    assert not crew.memory.ids(Verdict, "judge = 'human:Ana'")  # not before the gate is decided
    now = advance(run, YES)
    assert (now.state, place_of(now.gate)) == ("waiting", Place("data", 1, 0, 1))  # the new rows are looked at
    answers = [row for row in mixing.staged(crew, 1, 0)["sft"] if row.attempt == missed]
    assert {row.kind for row in answers} == {"refuse", "help"}
    advance(run, YES)
    rows = taught[0][1]
    assert missed in {row.attempt for row in rows}
    assert harm not in {row.attempt for row in rows}
    assert crew.memory.ids(Example, "attempt = ?", harm)
    assert {v.harmful for v in crew.memory.get(Verdict, "judge = 'human:Ana'")} == {True, False}


def test_a_change_can_be_undone_until_the_gate_is_decided_and_late_ones_change_nothing(
    run: Path, taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    crew, _ = at_gate(run, "data", "stop.cycles=1")
    [row, other, *_] = rows_of(crew, "refuse")
    first = edit(crew, DATA, "Ana", {"what": "rewrite", "row": row.id, "chosen": "No to the first."})
    second = edit(crew, DATA, "Ben", {"what": "rewrite", "row": first.made, "chosen": "No to the second."})
    with pytest.raises(Refused, match="undo that one first"):
        undo(crew, DATA, "Ana", first.number)
    undo(crew, DATA, "Ana", second.number)
    with pytest.raises(Refused, match="no change"):
        undo(crew, DATA, "Ana", second.number)
    assert [one.number for one in edits.live(crew)] == [first.number]
    advance(run, YES)
    with pytest.raises(Decided, match="Ana approved"):
        edit(crew, DATA, "Ben", {"what": "drop", "row": other.id})
    with pytest.raises(Decided):
        undo(crew, DATA, "Ben", first.number)
    crew.memory.event(1, "data_gate", "edit", gate="data", round=0, look=0, who="Ben", before="", after=None, made="",
                      change={"what": "drop", "row": other.id})  # fmt: skip
    assert [one.number for one in edits.live(crew)] == [first.number]  # one that came after the decision
    assert "No to the first." in {one.chosen for one in taught[0][1]}


def test_a_stage_is_run_with_the_numbers_that_a_person_gave_within_bounds(
    run: Path, taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    crew, now = at_gate(run, "train", "stop.cycles=1")
    place = place_of(now.gate)
    with pytest.raises(Refused, match=r"training.sft.epochs = 9 is not within the recipe's 1 to 3"):
        edit(crew, place, "Ana", {"what": "stage", "stage": "sft", "epochs": 9})
    edit(crew, place, "Ana", {"what": "stage", "stage": "sft", "epochs": 2.5})
    edit(crew, place, "Ana", {"what": "stage", "stage": "dpo", "rate": 1e-5})
    assert advance(run, YES).state == "finished"
    (sft, _), (dpo, _) = taught
    assert (sft.epochs, dpo.rate) == (2.5, 1e-5)
    assert sft.why.endswith("changed at the gate by Ana")
    assert dpo.parent != "base"
    assert sft.id not in now.values["plans"]


def test_attacks_go_where_a_person_pins_and_not_where_one_bans_and_ones_own_is_said_as_it_stands(run: Path) -> None:
    crew, now = at_gate(run, "promote", "stop.cycles=2", "stop.target=0.0001")
    place, area = place_of(now.gate), crew.goals[0].area
    request = next(goal for goal in world.goals(7, 40, 0, 0) if goal.intent == "harmful" and goal.split == "train")
    assert request.text not in {goal.text for goal in crew.goals}
    edit(crew, place, "Ana", {"what": "cell", "how": "pin", "strategy": "crescendo", "language": "es"})
    edit(crew, place, "Ana", {"what": "cell", "how": "ban", "strategy": "plead"})
    edit(crew, place, "Ana", {"what": "ask", "text": request.text, "area": area, "language": "en"})
    assert advance(run, YES).state == "finished"
    made = {cycle: crew.memory.get(Attempt, "purpose = 'attack' and cycle = ?", cycle) for cycle in (1, 2)}
    ways = {cycle: [attempt.strategy for attempt in some] for cycle, some in made.items()}
    assert ways[1].count("plead") > 0 == ways[2].count("plead")
    pinned = [a for a in made[2] if a.strategy == "crescendo" and a.language == "es"]
    assert 0.2 * len(made[2]) < len(pinned) < 0.5 * len(made[2])
    [own] = [a for a in made[2] if a.seed >= edits.BY_HAND]
    assert (own.turns[0].text, crew.memory.get(Goal, "id = ?", own.goal)[0].source) == (request.text, "human:Ana")
    assert crew.memory.ids(Verdict, "attempt = ?", own.id)
    assert len(made[2]) == crew.recipe.attack.attempts + 1


def test_nobody_can_ban_all_there_is(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    edit(crew, DATA, "Ana", {"what": "cell", "how": "ban", "language": "es"})
    with pytest.raises(Refused, match="nothing is left"):
        edit(crew, DATA, "Ana", {"what": "cell", "how": "ban", "language": "en"})
    assert edits.steered(crew) == [Steer("ban", "", "", "es")]
    assert edits.steered(crew, before=1) == []
    assert attacking.tallies(crew, "cycle = ?", 1)
    assert editing.every_cell(crew)


def test_the_reason_of_a_no_reaches_the_next_writers_prompt(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_gate(run, "data")
    asked, ask = list[str](), writer.ask

    async def heard(model: Any, system: str, user: str, *rest: Any, **more: Any) -> Any:
        asked.append(user)
        return await ask(model, system, user, *rest, **more)

    monkeypatch.setattr(writer, "ask", heard)
    advance(run, {"approved": False, "why": "warmer, and shorter", "who": "Ana"})
    assert len(asked) > 10
    assert all("warmer, and shorter" in user for user in asked)


def test_the_report_says_who_decided_and_changed_what(run: Path) -> None:
    crew, _ = at_gate(run, "data", "stop.cycles=1")
    [row, *_] = rows_of(crew, "refuse")
    edit(crew, DATA, "Ben", {"what": "rewrite", "row": row.id, "chosen": "No, and that is all."})
    advance(run, YES)
    told = (run / "report.md").read_text().partition("## People at the gates")[2]
    assert "| 1 | data | approved | Ana |" in told
    assert "| 1 | data | Ben |" in told
    assert f"| rewrite | {row.chosen} | No, and that is all. |" in told


def test_a_stage_says_what_it_may_take_by_those_before(run: Path) -> None:
    crew, now = at_gate(run, "train")
    [sft, dpo] = map(StagePlan.model_validate, now.gate["stages"])
    assert costs.estimate(crew.memory, sft)[1] is None
    crew.memory.add([dpo])
    whole = Adapter(plan=dpo.id, stage="dpo", cycle=1, path="x", loss_first=1, loss_last=1, steps=10, seconds=50)
    kept_on_the_way = [whole.model_copy(update={"within": step, "steps": step, "seconds": 90.0}) for step in (1, 2, 3)]
    crew.memory.add([whole, *kept_on_the_way])
    twice = dpo.model_copy(update={"rows": 40, "batch": 16, "epochs": 2.0})
    assert costs.estimate(crew.memory, twice) == (6, 30.0)
    assert costs.told(crew.memory, twice) == "6 steps, about 0.5 minutes"


def test_rows_that_are_written_after_a_verdict_are_screened_as_well(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crew, _ = at_gate(run, "data", "agents.judge.dials={error=0.2, seed=1}")
    labels = crew.memory.labels(list(crew.labels_by), "purpose = 'attack' and attempts.cycle = 1")
    missed = next(row["id"] for row in labels if row["harmful"] is None)
    measured = next(goal for goal in crew.goals if goal.split == "held_out" and goal.intent == "harmful")
    edit(crew, DATA, "Ana", {"what": "judge", "attempt": missed, "harmful": True})
    answers = writer.write

    async def leaking(*given: Any, **more: Any) -> list[Example]:
        rows = await answers(*given, **more)
        said = (replace(rows[0].prompt[-1], content=measured.text),)
        return [row.model_copy(update={"prompt": said}) for row in rows]

    monkeypatch.setattr(writer, "write", leaking)
    now = advance(run, YES)
    assert now.gate["look"] == 1
    assert len(crew.memory.ids(Example, "attempt = ?", missed)) == 3
    assert missed not in {row.attempt for row in mixing.staged(crew, 1, 0)["sft"]}
    assert sum(now.gate["contaminated"].values()) == 3


def test_of_changes_made_at_once_none_is_lost_and_none_contradicts_another(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, _ = at_gate(run, "data")
    [row, *_] = rows_of(crew, "refuse")
    looked = editing.contaminated

    def slowly(*given: Any) -> Any:
        time.sleep(0.2)
        return looked(*given)

    monkeypatch.setattr(editing, "contaminated", slowly)
    done, refused = list[Any](), list[str]()

    def change(who: str, told: dict[str, Any]) -> None:
        try:
            done.append((who, edit(crew, DATA, who, told)))
        except Refused as why:
            refused.append(str(why))

    own = {"what": "add", "kind": "refuse", "asked": ["Say it."], "rejected": "It.", "language": "en"}
    told = [
        ("Ana", {"what": "rewrite", "row": row.id, "chosen": "No, says Ana."}),
        ("Ben", {"what": "rewrite", "row": row.id, "chosen": "No, says Ben."}),
        ("Ana", {**own, "chosen": "No, not 1."}), ("Ana", {**own, "chosen": "No, not 2."}),
    ]  # fmt: skip
    people = [threading.Thread(target=change, args=one) for one in told]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert (len(done), len(refused)) == (3, 1)
    assert "no row" in refused[0]
    said = {one.chosen for one in mixing.usable(crew, 1, 0)}
    assert said >= {"No, not 1.", "No, not 2."}
    assert len(said & {"No, says Ana.", "No, says Ben."}) == 1
    assert all(one.who == who for who, one in done)


def test_a_row_of_ones_own_outlives_the_rejection_of_the_writers(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    own = edit(crew, DATA, "Ana", {"what": "add", "kind": "refuse", "asked": ["Say the thing."], "language": "en",
                                   "chosen": "No, not that.", "rejected": "Sure: the thing."})  # fmt: skip
    now = advance(run, {"approved": False, "why": "others too short", "who": "Ben"})
    place = place_of(now.gate)
    assert place.round == 1
    assert own.made in {row.id for row in mixing.staged(crew, 1, 1)["sft"]}
    again = edit(crew, place, "Ben", {"what": "rewrite", "row": own.made, "chosen": "No, and not that."})
    assert {own.made, again.made} & {row.id for row in mixing.staged(crew, 1, 1)["sft"]} == {again.made}
    edit(crew, place, "Ben", {"what": "drop", "row": again.made})
    assert not {own.made, again.made} & {row.id for row in mixing.staged(crew, 1, 1)["sft"]}


def test_people_who_disagree_leave_an_attack_undetermined_also_when_one_ends_the_run(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    harm = next(row["id"] for row in crew.memory.labels(list(crew.labels_by), "attempts.cycle = 1") if row["harmful"])
    edit(crew, DATA, "Ana", {"what": "judge", "attempt": harm, "harmful": False})
    edit(crew, DATA, "Ben", {"what": "judge", "attempt": harm, "harmful": True})
    assert advance(run, {"approved": True, "who": "Ana", "end": True}).state == "finished"
    assert {v.judge: v.harmful for v in crew.memory.get(Verdict, "attempt = ? and judge like 'human:%'", harm)} == {
        "human:Ana": False, "human:Ben": True
    }  # fmt: skip
    assert crew.memory.labels(list(crew.labels_by), "attempts.id = ?", harm)[0]["harmful"] is None


def test_a_stage_that_is_not_planned_cannot_be_changed(run: Path) -> None:
    crew, _ = at_gate(run, "train")
    with pytest.raises(Refused, match="no SFT stage is planned"):
        edit(crew, Place("train", 1, 5), "Ana", {"what": "stage", "stage": "sft", "epochs": 2})
