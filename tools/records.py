"""The nouns: frozen records whose ids say what was planned, never what came back."""

import hashlib
import json
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

Split = Literal["train", "held_out", "final"]
Refusal = Literal["none", "partial", "full"]
Kind = Literal["refuse", "help", "retain"]
Role = Literal["system", "user", "assistant"]
Severity = Annotated[int, Field(ge=0, le=7)]
BASE = "base"
"""The adapter id of the model as it came: no adapter at all."""

ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def digest(*parts: object) -> str:
    """Sixteen hex digits that name `parts`: equal parts, equal name, on any machine."""
    return hashlib.sha256(ENCODER.encode(parts).encode()).hexdigest()[:16]


class Record(BaseModel):
    """Frozen, closed, and named by the hash of the fields in `PLANNED`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    PLANNED: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def id(self) -> str:
        return digest(type(self).__name__, *(getattr(self, name) for name in self.PLANNED))

    def __copy__(self) -> Self:
        """The same fields, and not the id: `model_copy` is given others."""
        copied = super().__copy__()
        copied.__dict__.pop("id", None)
        return copied


class Goal(Record):
    """What an attack is after, its harmless twin, or a plain request with a known answer."""

    PLANNED = ("text", "area", "intent", "source")

    text: str = Field(min_length=1)
    area: str
    """The harm area of the policy in force; for a twin, the area that it resembles; else empty."""
    intent: Literal["harmful", "twin", "plain"]
    source: str
    split: Split
    reference: str = ""
    """The right answer of a plain request, for exact match; empty where there is none."""


class Turn(Record):
    role: Literal["user", "assistant"]
    text: str
    plain: str = ""
    """A user turn before the converters encoded it, or an answer that came in kind, decoded; empty where neither."""
    stack: tuple[str, ...] = ()
    """The converters that encoded a user turn, where the attempt planned none."""
    prefill: str = ""
    """What an answer was made to begin with; `text` begins with it."""
    dropped: str = ""
    """Why the turn is no part of the conversation that was judged: `backtracked`, or `pruned` and why."""


class Attempt(Record):
    """One conversation with a target. `error` is set when it could not be held to its end."""

    PLANNED = ("goal", "persona", "strategy", "converters", "language", "target", "cycle", "seed", "purpose")

    goal: str
    """Id of the goal."""
    persona: str
    strategy: str
    converters: tuple[str, ...] = ()
    language: str
    target: str
    """Id of the adapter that answered; `base` is none."""
    cycle: int
    seed: int
    purpose: Literal["attack", "measure", "import"]
    turns: tuple[Turn, ...] = ()
    """All that was said, in order; what was taken back or given up is there too, and says so."""
    error: str = ""
    note: str = ""
    """What else happened, such as an attacker's model that would not play."""
    parents: tuple[str, ...] = ()
    """Ids of the earlier attempts that it was made from."""
    propensity: float = 0.0
    """How likely its cell was to be drawn, so that rates can be reweighted; 0 where no draw was made."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def kept(self) -> tuple[Turn, ...]:
        """The conversation as the target saw it in the end."""
        return tuple(turn for turn in self.turns if not turn.dropped)

    def up_to(self, turn: int | None) -> "Attempt":
        """The conversation as far as one of the turns that were kept; the whole of it where that is None."""
        return self if turn is None else self.model_copy(update={"turns": self.kept[: turn + 1]})

    @property
    def response(self) -> str:
        """The last thing the target said."""
        return next((turn.text for turn in reversed(self.kept) if turn.role == "assistant"), "")


class Seen(Record):
    """What a judge saw in a conversation, on axes of their own. None is *undetermined*: neither yes nor no."""

    harmful: bool | None
    """Whether an answer does harm by the policy."""
    refusal: Refusal | None
    """What became of the request: `none` of it declined, all of it (`full`), or some (`partial`)."""
    understood: bool
    advanced: bool | None = None
    """Whether an answer advanced the goal, whatever the policy says of it; None where the judge was not asked."""
    severity: Severity | None = None
    """By the policy's anchors, 0 to 7, so that a defect rate DR-x is the share with x or more."""
    area: str = ""
    reason: str = ""
    evidence: str = ""
    """What the judge goes by, in the conversation's own words."""
    worst: int | None = None
    """The number of the worst answer among the turns that were kept, from 0; None where the judge looks at the last."""
    score: float | None = Field(default=None, ge=0, le=1)
    """How sure the judge is that it is harmful, where it gives that; how far to believe it is for calibration."""
    heard: str = ""
    """Of a panel, what each member said of harm: `1`, `0`, `?` undetermined or unsure, `-` not asked."""
    translation: str = ""
    """The last answer as it was translated for the judge; empty where the judge read it as it came."""


class Verdict(Seen):
    """What one judge saw in one attempt."""

    PLANNED = ("attempt", "judge")

    attempt: str
    judge: str
    """Identity of the judge: the hash of its prompt, model and settings; `human:NAME` for a person."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Message:
    """Slots hold it in a tenth of the memory: the rows of all cycles are looked through together."""

    role: Role
    content: str


class Example(Record):
    """One training row. `chosen` is what to say; `rejected`, when there is one, what was or might be said."""

    PLANNED = ("kind", "attempt", "goal", "cycle", "round", "writer", "number")

    kind: Kind
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = ""
    language: str
    cycle: int
    round: int = 0
    """How often the rows of this cycle had been rejected when it was written."""
    attempt: str = ""
    """The failure it answers; empty for a retained row."""
    goal: str = ""
    """The goal it was made from; empty for a retained row."""
    writer: str
    """Identity of what wrote it: the hash of prompt, model and settings, or the name of a data set."""
    number: int
    """Tells apart the rows of one kind made from one attempt."""


class StagePlan(Record):
    """How one checkpoint is to be made. The defaults are those usual for 1-14 B with LoRA."""

    PLANNED = ("stage", "base_name", "parent", "cycle", "round", "examples", "rows", "epochs", "rate", "rank",
               "beta", "sft_weight", "batch", "length", "seed")  # fmt: skip
    LATER: ClassVar[dict[str, tuple[object, ...]]] = {
        "method": ("lora",), "loss": ("sigmoid", "nll"), "prefix_share": (0.0,), "prefix_most": (100,),
        "packing": (False,), "likeness": (0.0,),
    }  # fmt: skip
    """What came to be planned later, and as it was before that: a plan keeps the name that it had."""

    stage: Literal["sft", "dpo"]
    base: str
    """Path of the model that the adapter belongs to."""
    parent: str = BASE
    """The adapter to start from: `base` for SFT, the SFT stage's for DPO."""
    cycle: int
    round: int = 0
    """How often the plans of this cycle had been rejected when it was made."""
    examples: str
    """Digest of the ids of the rows it is trained on."""
    rows: int
    epochs: float
    rate: float
    rank: int
    beta: float = 0.1
    sft_weight: float = 1.0
    batch: int
    length: int
    seed: int
    why: str = ""
    method: Literal["lora", "qlora", "full"] = "lora"
    loss: str = "sigmoid"
    """By TRL's name; to SFT, `sigmoid` is `nll`."""
    prefix_share: float = 0.0
    """The share of refusals whose answer begins with the harmful one, which carries no loss
    (https://arxiv.org/abs/2406.05946)."""
    prefix_most: int = 100
    packing: bool = False
    likeness: float = 0.0
    """The share of the pairs, the most alike, that DPO leaves out."""

    @property
    def id(self) -> str:
        later = {name: value for name, before in self.LATER.items() if (value := getattr(self, name)) not in before}
        return digest("StagePlan", *(getattr(self, name) for name in self.PLANNED), *([later] if later else []))

    @property
    def base_name(self) -> str:
        """What is planned is which model, not where it lies."""
        return PurePath(self.base).name


class Adapter(Record):
    """A checkpoint that exists: its plan, its folder, and what the training said of itself."""

    PLANNED = ("plan",)

    plan: str
    """Id of the `StagePlan`."""
    stage: Literal["sft", "dpo"]
    cycle: int
    path: str
    """Folder, relative to the run."""
    loss_first: float
    loss_last: float
    steps: int
    seconds: float = 0.0
    within: int = 0
    """The step of its stage that it was kept at; 0 is the end of the stage."""

    @property
    def id(self) -> str:
        """Named by its plan alone where it is the end of its stage: what goes on with it is planned before it is."""
        return digest("Adapter", self.plan, *([self.within] if self.within else []))


class Score(Record):
    """A measured share of one benchmark, with its 95 % interval."""

    PLANNED = ("benchmark", "adapter", "part")

    benchmark: str
    adapter: str
    part: str = ""
    """A slice of the benchmark, such as a language; empty for the whole."""
    value: float
    low: float
    high: float
    n: int
    """How many items had a verdict: the denominator."""
    coverage: float
    """The share of the items asked that had one."""
