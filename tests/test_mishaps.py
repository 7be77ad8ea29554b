from pathlib import Path
from typing import Any

import pytest
from everything import run

from graph import candidates, mishaps, mixing, report
from graph.desk import Desk
from graph.team import Team
from tools.records import BASE, Attempt, Goal, StagePlan, Verdict
from training import stages


@pytest.fixture
def crew(tmp_path: Path) -> Team:
    return run(tmp_path)


def judged(crew: Team, cycle: int, answers: int, none: int) -> None:
    """A cycle's attacks, so many of which the first judge leaves undetermined."""
    judge, goal = next(iter(crew.labels_by)), crew.memory.get(Goal)[0]
    for number in range(answers + none):
        one = Attempt(goal=goal.id, persona="low_skilled", strategy="direct", language="en", target="base", cycle=cycle,
                      seed=1000 + number, purpose="attack")  # fmt: skip
        said = None if number < none else False
        crew.memory.add([one, Verdict(attempt=one.id, judge=judge, harmful=said, refusal=None, understood=True)])


def test_a_judge_that_begins_to_refuse_is_told_of_once_and_in_the_report(crew: Team) -> None:
    told: list[str] = []
    crew.watch = lambda node, done, total, note: told.append(note)
    judged(crew, 3, 19, 1)
    mishaps.silent(crew, 3)
    assert not told
    judged(crew, 4, 10, 10)
    mishaps.silent(crew, 4)
    mishaps.silent(crew, 4)
    assert len(told) == 1
    assert "judge left 10 of 20 undetermined" in told[0]
    [said] = [note for note in report.notes(crew) if "undetermined" in note]
    assert "judge left 10 of 20 attacks of cycle 4 undetermined" in said
    assert "1 of 80 before" in said


def test_a_judge_that_is_not_the_one_the_run_was_judged_by_is_told(crew: Team) -> None:
    one = crew.memory.get(Attempt, "purpose = 'attack'")[0].model_copy(update={"purpose": "measure"})
    crew.memory.add([one])
    assert not list(mishaps.replaced(crew))
    for judge, told in (("human:ann", 0), ("another", 1), (crew.measures_by, 0)):
        crew.memory.add([Verdict(attempt=one.id, judge=judge, harmful=False, refusal=None, understood=True)])
        assert len(list(mishaps.replaced(crew))) == told
    anew = Team(crew.run, crew.recipe)
    anew.policy = anew.policy.model_copy(update={"areas": anew.policy.areas[:-1]})
    said = [text.partition(" has judged no ") for text in report.warnings(Desk(anew, BASE), "")]
    assert [who for who, judged, _ in said if judged] == ["the judge", "the second judge", "the measuring judge"]


def test_a_judge_that_always_leaves_much_undetermined_is_no_news(crew: Team) -> None:
    assert not mishaps.is_silent((8, 20), (30, 100))
    assert mishaps.is_silent((8, 20), (0, 0))
    assert not mishaps.is_silent((3, 5), (0, 100))


def planned(crew: Team, stage: Any, parent: str = "base") -> StagePlan:
    plan = StagePlan(stage=stage, base="b", cycle=5, examples="", rows=1, epochs=1, rate=1, rank=1, batch=16, length=1,
                     seed=0, parent=parent)  # fmt: skip
    crew.memory.add([plan])
    return plan


def test_a_stage_that_comes_to_nothing_is_no_candidate_nor_is_what_would_go_on_with_it(
    crew: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def spoilt(plan: StagePlan, *_: Any) -> None:
        begun.append(plan.stage)
        raise stages.StageSpoilt(f"{plan.stage} stage {plan.id}: the loss is nan at step 3; lower the rate")

    monkeypatch.setattr(stages, "run_stage", spoilt)
    monkeypatch.setattr(mixing, "approved", lambda *_: {"sft": [], "dpo": []})
    sft = planned(crew, "sft")
    dpo = planned(crew, "dpo", candidates.adapter_of(sft))
    state: Any = {"cycle": 5, "round": 0, "plans": [sft.id, dpo.id]}
    assert candidates.trained(crew, state) == candidates.trained(crew, state) == []
    assert begun == ["sft"]
    said = [note for note in report.notes(crew) if "made no candidate" in note]
    assert len(said) == 2
    assert "The SFT stage of cycle 5 made no candidate" in said[0]
    assert "the loss is nan at step 3" in said[0]


def test_that_the_card_had_too_little_memory_is_in_the_report(crew: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(crew, "sft")
    adapter = stages.Adapter(plan=plan.id, stage="sft", cycle=5, path=f"adapters/{plan.id}", loss_first=2, loss_last=1,
                             steps=9)  # fmt: skip
    monkeypatch.setattr(stages, "why", lambda *_: "")
    monkeypatch.setattr(stages, "at_once", lambda *_: 2)
    candidates.told(crew, adapter, plan)
    candidates.told(crew, adapter, plan)
    [said] = [note for note in report.notes(crew) if "too little memory" in note]
    assert "2 rows at once in place of 8" in said
