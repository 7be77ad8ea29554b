"""How adapters are trained: what a recipe may say of it, and what is usual for a model's size."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.bounds import Bound, Choice
from training.curve import NOBODY
from training.dataset import Shares

SftLoss = Literal["nll", "dft"]
DpoLoss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
"""Every loss of the installed TRL, by its name there."""
LARGE = 7_000_000_000
"""Parameters from which a model wants a lower rate."""


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sft(Choice):
    """Low, default and high of what the trainer may choose for SFT, and what is fixed."""

    epochs: Bound = (1.0, 2.0, 3.0)
    rate: Bound = (2e-5, 1e-4, 3e-4)
    """5e-5 is a better default from 7 B on."""
    loss: SftLoss = "nll"


class Dpo(Choice):
    """Low, default and high of what the trainer may choose for DPO, and what is fixed."""

    epochs: Bound = (1.0, 1.0, 2.0)
    rate: Bound = (1e-6, 5e-6, 2e-5)
    beta: float = Field(default=0.1, gt=0)
    loss: DpoLoss = "sigmoid"
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the SFT term, which keeps chosen text likely; 0 leaves it out."""
    most_pairs: int = Field(default=3000, gt=0)
    likeness: float = Field(default=0.1, ge=0, lt=1)
    """The share of the pairs, the most alike by the model's own states, that is left out."""


class Watch(Closed):
    """How a stage is looked at while it is trained, and when it has run away. Bounds are nats for a chosen token."""

    looks: int = Field(default=8, ge=0)
    """Most looks at a stage, spread evenly; 0 is none. A short stage has fewer."""
    rows: int = Field(default=32, gt=0)
    """Most of its own rows that are looked at; fewer where that would take more than a fiftieth of the stage."""
    fall: float = Field(default=0.5, gt=0)
    """How far the log-probability of what was chosen may be below that at the start of the stage, two looks running."""
    kl: float | None = Field(default=None, gt=0)
    """How far the model may be from its base, two looks running; None is any distance."""


class Training(Closed):
    """How adapters are trained. The defaults are for models of 1-14 B."""

    method: Literal["lora", "qlora", "full"] = "lora"
    """LoRA; LoRA on weights in four bits; or the whole weights."""
    start: Literal["base", "champion"] = "base"
    """What each cycle's SFT starts from. Retraining from the base on the whole pool does not drift."""
    rank: int = Field(default=32, gt=0)
    batch: int = Field(default=16, gt=0)
    """Rows for each step."""
    at_once: int = Field(default=8, gt=0)
    """Most rows in a card's memory at a time; a larger batch is gone through in equal parts."""
    length: int = Field(default=1024, gt=0)
    """Tokens; the end of a longer row is cut off."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    prefix_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the refusals in SFT that come after the first tokens of the harmful answer: safety that is not in the
    first tokens alone."""
    prefix_most: int = Field(default=100, gt=0)
    """Most of these tokens."""
    attn: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "kernels"] = "auto"
    """`auto` takes flash attention where it is installed and a GPU is there, else sdpa. `kernels` fetches it compiled,
    from the Hub."""
    packing: bool = False
    """Whether SFT puts several rows into one sequence, which wants flash attention."""
    gradient_checkpointing: bool | None = None
    """Less memory for a third more time. None is on a GPU alone."""
    threads: int | None = Field(default=None, gt=0)
    """None takes all that the machine has."""
    devices: str = Field(default="", pattern=r"^(\d+(,\d+)*)?$")
    """The cards that training may use, such as `0,1`. Empty is the first; with `launch`, all that accelerate takes."""
    launch: Path | None = None
    """A configuration of accelerate's: each stage is then `accelerate launch`ed with it."""
    shares: Shares = Shares()
    most_rows: int = Field(default=6000, gt=0)
    held_out: float = Field(default=0.0, ge=0, le=0.5)
    """Share of a stage's rows that is kept back; the step with the lowest loss on them is what the stage makes."""
    patience: int = Field(default=3, gt=0)
    """Looks without a lower loss on what is kept back, after which the stage ends."""
    watch: Watch = Watch()
    within: int = Field(default=0, ge=0)
    """Checkpoints within each stage that compete with the one at its end."""
    report_to: str = NOBODY
    """Who else is told of every step: `tensorboard`, `wandb`, or another that transformers reports to."""
    sft: Sft = Sft()
    dpo: Dpo = Dpo()

    @model_validator(mode="after")
    def looked_at(self) -> "Training":
        if self.held_out and not self.watch.looks:
            raise ValueError("training.held_out wants training.watch.looks above 0: it is at a look that it is used")
        if self.watch.kl and self.method == "full":
            raise ValueError("training.watch.kl is the distance from a base that is there, beside an adapter; with "
                             "training.method = 'full' leave it out")  # fmt: skip
        return self

    def planned(self) -> dict[str, dict[str, Any]]:
        """What a plan says of each stage alone, beside what the trainer decides."""
        return {
            "sft": {"loss": self.sft.loss, "prefix_share": self.prefix_share, "prefix_most": self.prefix_most,
                    "packing": self.packing},
            "dpo": {"loss": self.dpo.loss, "likeness": self.dpo.likeness},
        }  # fmt: skip


def usual(parameters: int) -> dict[str, Any]:
    """What a recipe says under `[training]` for a model of this many parameters, where it differs from the defaults.

    By what recipes for LoRA on 1-14 B agree on: from 7 B on, SFT at half the rate (5e-5), as wider layers answer more
    to the same step, and the upper end of the ranks in use (64). DPO (5e-6, one epoch, beta .05-.3) is the same at all
    of these sizes. Smaller models want higher rates, which are to be tried out.
    """
    return {} if parameters < LARGE else {"rank": 64, "sft": {"rate": (1e-5, 5e-5, 2e-4)}}
