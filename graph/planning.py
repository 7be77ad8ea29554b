"""A cycle's stages: what the trainer proposes, and what a person makes of it."""

from collections.abc import Mapping, Sequence

from agents import trainer
from graph import gates, mixing
from graph.state import State
from graph.team import Team
from tools.records import BASE, Example, Score, StagePlan


async def proposed(crew: Team, state: State) -> list[StagePlan]:
    """The stages as the trainer would have them."""
    settings, cycle = crew.recipe.training, state["cycle"]
    rows = mixing.approved(crew, cycle, state["round"])
    scores = crew.memory.get(Score, "adapter in (?, ?) and part = ''", BASE, state["champion"])
    feedback = "; ".join(gates.rejections(crew.memory, cycle, "train"))
    bounds = {"sft": settings.sft, "dpo": settings.dpo}
    return planned(crew, state, rows, await trainer.propose(crew.trainer, rows, scores, bounds, feedback))


def changed(
    crew: Team, state: State, plans: Sequence[StagePlan], wanted: Mapping[str, Mapping[str, float]], who: str
) -> list[StagePlan]:
    """The stages with other numbers, as somebody wants them."""
    stages = {one.stage: {"epochs": one.epochs, "rate": one.rate, **wanted.get(one.stage, {})} for one in plans}
    either, why = next(iter(stages.values())), f"{plans[0].why}; changed at the gate by {who or 'somebody'}"
    proposal = trainer.Proposal.model_validate({"sft": either, "dpo": either, **stages, "why": why})
    return planned(crew, state, mixing.approved(crew, state["cycle"], state["round"]), proposal)


def planned(
    crew: Team, state: State, rows: Mapping[str, Sequence[Example]], proposal: trainer.Proposal
) -> list[StagePlan]:
    settings = crew.recipe.training
    common = StagePlan(
        stage="sft", base=str(crew.base), cycle=state["cycle"], round=state["plan_round"], examples="", rows=0,
        epochs=1, rate=1, rank=settings.rank, beta=settings.dpo.beta, sft_weight=settings.dpo.sft_weight,
        batch=settings.batch, length=settings.length, seed=crew.recipe.seed, method=settings.method,
        parent=state["champion"] if settings.start == "champion" else BASE,
    )  # fmt: skip
    return trainer.plans(proposal, rows, common, settings.planned())
