"""What may be chosen of a training stage, and between which bounds: what trainer and training agree on."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def rising(bound: tuple[float, float, float]) -> tuple[float, float, float]:
    low, default, high = bound
    if not 0 < low <= default <= high < float("inf"):
        raise ValueError(f"{list(bound)} is not low, default and high; give three numbers above 0 that do not fall")
    return bound


Bound = Annotated[tuple[float, float, float], AfterValidator(rising)]
"""Low, default, high."""


class Choice(BaseModel):
    """What the trainer proposes for one stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Bound
    rate: Bound
    """Peak learning rate."""
