"""The rows a stage is trained on: deduplicated, mixed by share, and shaped for TRL."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.records import Example, Kind, digest

if TYPE_CHECKING:
    from datasets import Dataset


class Shares(BaseModel):
    """How much of the rows is of each kind. Help and retain are in proportion to the refusals there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refuse: float = Field(default=0.2, gt=0, le=1)
    help: float = Field(default=0.4, ge=0, le=1)
    retain: float = Field(default=0.4, ge=0, le=1)

    @model_validator(mode="after")
    def add_up(self) -> "Shares":
        total = self.refuse + self.help + self.retain
        if abs(total - 1) > 1e-6:
            raise ValueError(f"training.shares add up to {total:g}; refuse, help and retain must add up to 1")
        return self

    def of(self, kind: Kind) -> float:
        return {"refuse": self.refuse, "help": self.help, "retain": self.retain}[kind]


def mix(examples: Iterable[Example], shares: Shares, seed: int, most: int) -> list[Example]:
    """At most `most` rows, no two with the same prompt and chosen text, whatever the order they came in.

    The refusals decide the size: the other kinds are taken in their declared proportion to them, as far as there are
    any. (To cut the refusals to what a scarcer kind allows would throw away the fix.) Where a kind has rows to spare,
    every cycle keeps its part, so that the newest rows and the replay stay in proportion.
    """
    rows = unique(examples)
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in get_args(Kind)}
    size = min(most, round(len(kinds["refuse"]) / shares.refuse)) if kinds["refuse"] else most
    kept = [row for kind, of in kinds.items() for row in thinned(of, int(size * shares.of(kind) + 1e-9), seed)]
    return sorted(kept, key=lambda row: digest(seed, row.id))


def unique(examples: Iterable[Example]) -> list[Example]:
    """One row for each prompt and chosen text: one with a rejected text if there is any, the newest of them."""
    best: dict[tuple[object, ...], Example] = {}
    for row in sorted(examples, key=lambda row: (not row.rejected, -row.cycle, row.id)):
        best.setdefault((row.prompt, row.chosen), row)
    return list(best.values())


def thinned(rows: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most `most` of the rows, evenly from every kind and cycle."""
    ranked = sorted(rows, key=lambda row: (row.kind, row.cycle, digest(seed, row.id)))
    return ranked if len(ranked) <= most else [ranked[index * len(ranked) // most] for index in range(most)]


def pairs(examples: Sequence[Example]) -> list[Example]:
    """The rows to prefer by: `chosen` over `rejected`, and never one refusal over another.

    Pairs of two refusals teach a model to refuse *less* (https://arxiv.org/abs/2410.08847). A text is a refusal when
    some row has it as one: chosen in a `refuse` row, rejected in a `help` row.
    """
    refusals = {folded(row.chosen) for row in examples if row.kind == "refuse"}
    refusals |= {folded(row.rejected) for row in examples if row.kind == "help"}

    def apart(row: Example) -> bool:
        chosen, rejected = folded(row.chosen), folded(row.rejected)
        return bool(rejected) and chosen != rejected and not {chosen, rejected} <= refusals

    return [row for row in examples if apart(row)]


def folded(text: str) -> str:
    return " ".join(text.casefold().split())


def sft_rows(examples: Sequence[Example]) -> "Dataset":
    """Rows of `prompt` and `completion`, which TRL puts the loss on: the last assistant turn alone."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": asked(row), "completion": said(row.chosen)} for row in examples])


def dpo_rows(examples: Sequence[Example]) -> "Dataset":
    """Rows of `prompt`, `chosen` and `rejected`, of the examples that are pairs."""
    from datasets import Dataset

    return Dataset.from_list(
        [{"prompt": asked(row), "chosen": said(row.chosen), "rejected": said(row.rejected)} for row in pairs(examples)]
    )


def asked(row: Example) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in row.prompt]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
