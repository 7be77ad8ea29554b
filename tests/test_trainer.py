import asyncio
import json
from typing import Any

import pytest
from fakes import Scripted

from agents import trainer
from tools.bounds import Choice
from tools.records import BASE, Adapter, Example, Message, Score, StagePlan
from training.settings import Dpo, Training

BOUNDS = {
    "sft": Choice(epochs=(1, 2, 3), rate=(1e-5, 1e-4, 1e-3)),
    "dpo": Choice(epochs=(1, 1, 2), rate=(1e-6, 5e-6, 1e-5)),
}
POOL = [
    Example(kind="refuse", prompt=(Message(role="user", content="secret words"),), chosen="no", rejected="harm",
            language="en", cycle=cycle, writer="w", number=0)
    for cycle in (1, 2)
]  # fmt: skip
ROWS = {"sft": POOL, "dpo": POOL[:1]}
SCORES = [Score(benchmark="harm", adapter=BASE, value=0.9, low=0.8, high=0.95, n=100, coverage=1)]
COMMON = StagePlan(
    stage="sft", base="model", cycle=2, examples="", rows=0, epochs=1, rate=1, rank=8, batch=4, length=64, seed=7
)
GOOD: dict[str, Any] = {
    "sft": {"epochs": 3, "rate": 2e-4}, "dpo": {"epochs": 1, "rate": 1e-5}, "why": "harm is still high",
}  # fmt: skip
GREEDY = {**GOOD, "sft": {"epochs": 3, "rate": 0.5}}


def proposed(*replies: Any, feedback: str = "") -> tuple[trainer.Proposal, Scripted]:
    model = Scripted([reply if isinstance(reply, str) else json.dumps(reply) for reply in replies])
    return asyncio.run(trainer.propose(model, ROWS, SCORES, BOUNDS, feedback)), model


def test_a_proposal_within_bounds_is_taken() -> None:
    proposal, model = proposed(GOOD)
    assert proposal.model_dump() == GOOD
    assert len(model.asked) == 1


def test_the_trainer_sees_counts_scores_and_bounds_but_no_row() -> None:
    _, model = proposed(GOOD, feedback="fewer epochs")
    asked = model.asked[0][1]
    assert all(part in asked for part in ("<pool>", "refuse, cycle 2", "0.95", "[1.0, 2.0, 3.0]", "fewer epochs"))
    assert "secret words" not in asked


def test_a_proposal_out_of_bounds_is_asked_for_again_and_never_clamped() -> None:
    proposal, model = proposed(GREEDY, GOOD)
    assert proposal.sft.rate == 2e-4
    assert "sft.rate: Input should be less than or equal to 0.001" in model.asked[1][3]


def test_a_number_that_is_none_is_asked_for_again() -> None:
    assert (
        proposed('{"sft": {"epochs": NaN, "rate": 1e-4}, "dpo": {"epochs": 1, "rate": 1e-6}, "why": "x"}', GOOD)[
            0
        ].sft.epochs
        == 3
    )


def test_a_trainer_that_never_keeps_within_bounds_gives_the_defaults_and_says_so() -> None:
    proposal, model = proposed(GREEDY, "I would rather not", GREEDY)
    assert (proposal.sft.epochs, proposal.sft.rate, proposal.dpo.rate) == (2, 1e-4, 5e-6)
    assert "defaults" in proposal.why
    assert "bounds" in proposal.why
    assert len(model.asked) == 3


def test_without_a_trainer_the_defaults_are_taken() -> None:
    proposal = asyncio.run(trainer.propose(None, ROWS, SCORES, BOUNDS))
    assert (proposal.dpo.epochs, proposal.why) == (1, trainer.DEFAULTS)


def test_dpo_goes_on_with_what_sft_makes() -> None:
    sft, dpo = trainer.plans(trainer.Proposal(**GOOD), ROWS, COMMON)
    made = Adapter(plan=sft.id, stage="sft", cycle=2, path="", loss_first=0, loss_last=0, steps=0)
    assert (sft.parent, dpo.parent) == (BASE, made.id)
    assert (sft.rows, dpo.rows, dpo.rate, dpo.rank, dpo.seed) == (2, 1, 1e-5, 8, 7)
    assert sft.examples != dpo.examples
    assert StagePlan.model_validate(dpo.model_dump()) == dpo


def test_a_cycle_may_go_on_with_the_champion_and_each_stage_has_what_is_its_own() -> None:
    settings = Training(method="full", prefix_share=0.3, dpo=Dpo(loss="ipo", likeness=0.2))
    going_on = COMMON.model_copy(update={"parent": "the champion", "method": settings.method})
    sft, dpo = trainer.plans(trainer.Proposal(**GOOD), ROWS, going_on, settings.planned())
    made = Adapter(plan=sft.id, stage="sft", cycle=2, path="", loss_first=0, loss_last=0, steps=0)
    assert (sft.parent, dpo.parent) == ("the champion", made.id)
    assert (sft.loss, sft.prefix_share, sft.likeness, sft.method) == ("nll", 0.3, 0, "full")
    assert (dpo.loss, dpo.prefix_share, dpo.likeness, dpo.method) == ("ipo", 0, 0.2, "full")


def test_without_pairs_there_is_no_dpo_stage() -> None:
    assert [plan.stage for plan in trainer.plans(trainer.Proposal(**GOOD), {"sft": POOL, "dpo": []}, COMMON)] == ["sft"]


def test_what_holds_proposals_to_their_bounds_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[type[trainer.Proposal]] = []

    async def asked(model: Any, system: str, user: str, kind: type[trainer.Proposal]) -> None:
        kinds.append(kind)

    monkeypatch.setattr(trainer, "ask", asked)
    for _ in range(2):
        proposed(GOOD)
    assert kinds[0] is kinds[1]
