"""The trainer: proposes a cycle's stages, within bounds, and says why."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, create_model

from tools.bounds import Bound, Choice
from tools.llm import ask, prompt_of, section
from tools.records import Adapter, Example, Score, StagePlan, digest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

PROMPT = prompt_of(__file__)
DEFAULTS = "the recipe's defaults: there is no trainer"
UNREADABLE = "the recipe's defaults: the trainer's replies could not be read, or were out of bounds"


class Chosen(BaseModel):
    """What the trainer decides of one stage."""

    epochs: float
    rate: float


class Proposal(BaseModel):
    """The trainer's answer."""

    sft: Chosen
    dpo: Chosen
    why: str = Field(min_length=1)


async def propose(
    model: "BaseChatModel | None",
    rows: Mapping[str, Sequence[Example]],
    scores: Sequence[Score],
    bounds: Mapping[str, Choice],
    feedback: str = "",
) -> Proposal:
    """The trainer's choices. One out of bounds is asked for again; without any, the defaults, and `why` says so."""
    usual = {stage: Chosen(epochs=bound.epochs[1], rate=bound.rate[1]) for stage, bound in bounds.items()}
    defaults = Proposal(**usual, why=UNREADABLE if model else DEFAULTS)
    if model is None:
        return defaults
    pool = {stage: Counter(f"{row.kind}, cycle {row.cycle}" for row in some) for stage, some in rows.items()}
    measured = [score.model_dump(include={"benchmark", "adapter", "value", "low", "high", "n"}) for score in scores]
    limits = {stage: {"epochs": bound.epochs, "rate": bound.rate} for stage, bound in bounds.items()}
    parts = {"pool": pool, "scores": measured, "bounds": limits} | ({"feedback": feedback} if feedback else {})
    user = "\n".join(section(name, json.dumps(part)) for name, part in parts.items())
    held = within(*((stage, bound.epochs, bound.rate) for stage, bound in bounds.items()))
    return await ask(model, PROMPT, user, held) or defaults


@cache
def within(*bounds: tuple[str, Bound, Bound]) -> type[Proposal]:
    """A proposal whose numbers are held to the bounds: of each stage its epochs' and its rate's.

    Made once: classes are garbage of the kind that Python seldom looks for.
    """
    stages: dict[str, Any] = {}
    for stage, epochs, rate in bounds:
        held: dict[str, Any] = {name: (float, Field(ge=low, le=high)) for name, (low, _, high) in
                                (("epochs", epochs), ("rate", rate))}  # fmt: skip
        stages[stage] = (create_model(f"{stage}_chosen", __base__=Chosen, **held), ...)
    return create_model("Bounded", __base__=Proposal, **stages)


def plans(
    proposal: Proposal,
    rows: Mapping[str, Sequence[Example]],
    common: StagePlan,
    own: Mapping[str, Mapping[str, Any]] = {},
) -> list[StagePlan]:
    """A cycle's stages: SFT from the parent in `common`, and DPO from what it makes, if there are pairs.

    `common` holds what the trainer does not decide, and `own` what of that is each stage's alone.
    """
    made: list[StagePlan] = []
    for stage, choice in (("sft", proposal.sft), ("dpo", proposal.dpo)):
        if rows[stage]:
            changes = {
                "stage": stage, "epochs": choice.epochs, "rate": choice.rate, "rows": len(rows[stage]),
                "examples": digest(sorted(row.id for row in rows[stage])), "why": proposal.why,
                "parent": digest(Adapter.__name__, made[-1].id) if made else common.parent, **own.get(stage, {}),
            }  # fmt: skip
            made.append(common.model_copy(update=changes))
    return made
