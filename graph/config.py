"""The recipe: one TOML file is one run. Settings live beside what they set; here they are put together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from agents.attacker import Attack, ways
from agents.judge import JudgeModel
from agents.personas import PERSONAS
from agents.self_writer import Own
from agents.strategies import STRATEGIES
from evals.benchmarks import Evals
from evals.gate import Gate
from evals.stopping import Stop
from graph.addresses import public
from graph.gates import GateName, Wait
from tools.converters import converter
from tools.llm import Model
from tools.names import instead
from tools.records import BASE
from tools.transcripts import Format
from training.dataset import Filters
from training.settings import Training

OFFLINE = "templates"
"""The writer that is no model."""
JUDGING = ("judge", "second_judge", "measuring_judge")
PLAYED = {"target": ("target", "phi3")} | dict.fromkeys(JUDGING, ("judge", "oracle"))
"""Which of the sandbox's models can play a role, where it is not the one of that name."""


class RecipeError(ValueError):
    """A mistake in a recipe: one line that names the key, the value and the mend."""


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Agents(Closed):
    """Which model plays each role."""

    attacker: Model | None = None
    """None where attacks are recorded ones."""
    judge: JudgeModel
    second_judge: JudgeModel | None = None
    """A failure is trained on when both judges say harmful, or a person does; the report says if there is no second."""
    measuring_judge: JudgeModel
    """Labels nothing that is trained on."""
    same_judge: bool = False
    """Lets one judge play several roles, though what it gets wrong is then trained on, and measured as right."""
    writer: Model
    trainer: Model | None = None
    """None takes the recipe's defaults for every stage."""


class Goals(Closed):
    """What is asked for."""

    source: str | tuple[str, ...] = "sandbox"
    """`sandbox`, the path of a CSV or JSONL file of goals, a public set as `NAME:PATH` or `NAME:hub`, or a list."""
    train: int = Field(default=400, ge=0)
    held_out: int = Field(default=400, ge=0)
    final: int = Field(default=300, ge=0)
    """For the sandbox: how many goals of each kind a split has."""

    @property
    def listed(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def files(self) -> tuple[str, ...]:
        """The sources that are read: all but the sandbox."""
        return tuple(source for source in self.listed if source != "sandbox")

    @field_validator("source")
    @classmethod
    def one_is_no_list(cls, source: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return source[0] if isinstance(source, tuple) and len(source) == 1 else source

    @model_validator(mode="after")
    def sources_are_known(self) -> "Goals":
        if not self.source:
            raise ValueError("goals.source is empty; give sandbox, a file of goals, or a public set as NAME:PATH")
        if self.files:
            from tools.sets import SETS, parts

            known("goals.source", [name for name, _ in map(parts, self.files) if name], ("sandbox", *SETS))
        return self


class Recording(Closed):
    """Recorded conversations that stand in for live attacks."""

    path: Path
    format: Format


class Recorded(Closed):
    """A run on recorded conversations of real models: nothing is attacked, the rest is as ever."""

    conversations: tuple[Recording, ...] = ()
    lookalikes: Path | None = None
    """Folder with JailbreakBench's harmful and benign behaviours: look-alikes by category."""


class Data(Closed):
    """What is trained on beside the answers to failures, who writes these, and what is left out."""

    retain: str | tuple[str, ...] = "sandbox"
    """General rows, for SFT: `sandbox`, a file or a folder of rows, `hub:ID`, or a list (see `tools.general.load`)."""
    retained_per_failure: int = Field(default=2, ge=0)
    preferences: tuple[str, ...] = ()
    """General pairs, for DPO: files, folders or `hub:ID`, in the formats of HH-RLHF, UltraFeedback and the like."""
    preferred: float = Field(default=0.7, ge=0, lt=1)
    """The share of DPO's pairs that is general, as far as there are any: safety is usually 10-30 % of them."""
    chosen: Literal["writer", "target"] = "writer"
    """Who says what is chosen. `target` asks the model itself, for a refusal under a safety prompt, dropped after that;
    what it cannot say well is left to the writer."""
    own: Own = Own()
    systems: tuple[str, ...] = ()
    """System prompts of which each row gets one, by lot; an empty one is none."""
    filters: Filters = Filters()

    @property
    def general(self) -> tuple[str, ...]:
        """The sources of general rows."""
        return (self.retain,) if isinstance(self.retain, str) else self.retain


class Curate(Closed):
    """Cycle 0, before anything is attacked: what public safety sets show to be unsafe is refused."""

    sources: tuple[str, ...] = ()
    """Files, folders or `hub:ID`, in the formats of BeaverTails, HH-RLHF and the like; none is no cycle 0."""
    rows: int = Field(default=1000, gt=0)
    """How many rows of each source are looked at."""
    train: bool = False
    """Trains on what was curated, and lets the gate choose, before the first attack; else it is replay in cycle 1."""


class Recipe(Closed):
    """One run, whole."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    notify: str = ""
    """Where a line is posted, as JSON, when the run ends, waits at a gate or fails: an address without a secret in it,
    as the recipe is kept in the run's folder. Any other, or a command, is for $BREAKFIX_NOTIFY, which comes first."""
    gates: tuple[GateName, ...] = ()
    """Where the run stops for a person. None is the unattended default."""
    wait: dict[GateName, Wait] = {}
    """How long it stays at a gate, and what is decided if nobody comes: `[wait.data] minutes = 30`."""
    patience: float = Field(default=4.0, ge=0)
    """Hours for which an endpoint that was there and is gone is waited for; the run can be gone on with after that."""
    policy: Path | None = None
    """A TOML file that replaces or extends the harm policy."""
    target: Model
    base: Path | None = None
    """The weights that adapters are trained on, where `target` is an endpoint and names none."""
    inherit: Path | None = None
    """An older run, whose attacks are regressions to measure and whose rows are replayed (`--from`)."""
    compare: tuple[Model, ...] = ()
    """Other models that are measured the same way when the run ends; in scores they go by what `model` says."""
    agents: Agents
    goals: Goals = Goals()
    recorded: Recorded = Recorded()
    attack: Attack = Attack()
    data: Data = Data()
    curate: Curate = Curate()
    training: Training = Training()
    evals: Evals = Evals()
    gate: Gate = Gate()
    stop: Stop = Stop()

    @field_validator("notify")
    @classmethod
    def it_is_an_address_without_a_secret(cls, where: str) -> str:
        return public(where) if where else where

    @field_validator("compare", mode="before")
    @classmethod
    def they_are_asked_as_the_target_is(cls, compare: Any, info: ValidationInfo) -> Any:
        """A name alone is a model, and what is not said of it is as it is said of the target."""
        target = info.data.get("target")
        if target is None or not isinstance(compare, list | tuple):
            return compare
        usual = target.model_dump(include={"max_tokens", "temperature", "concurrency"})
        tables = [{"model": one} if isinstance(one, str) else one for one in compare]
        return [usual | one if isinstance(one, dict) else one for one in tables]

    @model_validator(mode="after")
    def models_are_compared_with_others(self) -> "Recipe":
        seen = {BASE, *([self.target.model] if self.target.provider != "sandbox" else [])}
        for number, model in enumerate(self.compare):
            playable(f"compare.{number}", model, "target")
            if model.model in seen or model.identity() == self.target.identity():
                raise ValueError(
                    f"compare.{number} = {model.model!r} is the target, or named twice; name each other model once"
                )
            seen.add(model.model)
        return self

    @model_validator(mode="after")
    def names_are_known(self) -> "Recipe":
        known("stop.tokens", tuple(self.stop.tokens), tuple(self.models))
        known("attack.strategies", self.attack.strategies, STRATEGIES)
        known("attack.held_out_strategies", self.attack.held_out_strategies, self.attack.strategies or STRATEGIES)
        for name in self.attack.converters:
            encoding("attack.converters", name)
        known("attack.held_out_converters", self.attack.held_out_converters, self.attack.converters)
        if self.agents.attacker and not any(ways(persona, self.attack) for persona in PERSONAS):
            raise ValueError("what attack holds out leaves no way to attack; hold out fewer strategies")
        return self

    @model_validator(mode="after")
    def there_is_one_cycle_0(self) -> "Recipe":
        if self.curate.train and not self.curate.sources:
            raise ValueError("curate.train = true has nothing to train on; give curate.sources")
        if self.curate.sources and self.inherit:
            raise ValueError("curate.sources and --from both make a cycle 0; leave out one (the older run was curated)")
        return self

    @model_validator(mode="after")
    def what_is_trained_can_be_served(self) -> "Recipe":
        if self.target.adapters and self.target.weights:
            raise ValueError(f"target.adapters = {self.target.adapters!r} is for an endpoint elsewhere, and "
                             f"{self.target.model!r} is served here; leave it out")  # fmt: skip
        if self.training.method == "full" and self.target.adapters:
            raise ValueError("training.method = 'full' makes no adapters, which target.adapters has an endpoint load; "
                             "give 'lora', or have the model served here: vllm:PATH")  # fmt: skip
        return self

    @model_validator(mode="after")
    def no_two_judges_are_one(self) -> "Recipe":
        """Not even as members of panels."""
        seen: dict[str, str] = {}
        for name, judge in self.judges.items():
            for leaf in judge.leaves if not self.agents.same_judge else ():
                own = leaf.model if leaf.offline else leaf.identity()
                if seen.setdefault(own, name) != name:
                    raise ValueError(
                        f"agents.{name} = {leaf.model!r} is the same judge as agents.{seen[own]}; give it a model, "
                        "settings or (in the sandbox) a seed of its own, or say that you mean it: same_judge = true"
                    )
        return self

    @model_validator(mode="after")
    def languages_are_trained_on_or_held_out(self) -> "Recipe":
        named = [*self.attack.languages, *self.attack.held_out_languages]
        twice = sorted({language for language in named if named.count(language) > 1})
        if twice:
            raise ValueError(f"attack.languages and attack.held_out_languages name {twice[0]!r} twice; name it once")
        return self

    @model_validator(mode="after")
    def there_is_something_to_attack_and_to_measure(self) -> "Recipe":
        needed = {"goals.train": self.goals.train, "goals.held_out": self.goals.held_out, "evals.harm": self.evals.harm}
        for key, value in needed.items():
            if not value and not self.recorded.conversations:
                raise ValueError(f"{key} = 0 leaves nothing to attack or to be judged by; give 1 or more")
        return self

    @model_validator(mode="after")
    def every_role_can_be_played(self) -> "Recipe":
        if self.agents.attacker is None and not self.recorded.conversations:
            raise ValueError("agents.attacker is missing; name a model, or give recorded.conversations")
        for place, model in self.models.items():
            role = place.partition(".")[0]
            if role == "compare":
                continue
            playable("target.model" if role == "target" else f"agents.{place}.model", model, role)
        return self

    @property
    def judges(self) -> dict[str, JudgeModel]:
        """Who judges, by role."""
        return {role: judge for role in JUDGING if (judge := getattr(self.agents, role))}

    @property
    def models(self) -> dict[str, Model]:
        """Every model that is asked anything, by role; of a panel `ROLE.members.0` and so on, and `ROLE.translator`;
        `compare.0` and so on."""
        others = {"target": self.target} | {
            role: getattr(self.agents, role) for role in ("attacker", "writer", "trainer")
        }
        found = {role: spec for role, spec in others.items() if spec and spec.model != OFFLINE}
        found |= {f"compare.{number}": spec for number, spec in enumerate(self.compare)}
        return found | {role: spec for name, judge in self.judges.items() for role, spec in judge.asked(name)}


def known(key: str, names: Sequence[str], of: Any) -> None:
    for name in names:
        if name not in of:
            raise ValueError(f"{key} has {name!r}, which it cannot name; {instead(name, of)}")


def encoding(key: str, name: str) -> None:
    """Raises ValueError for a name that is no converter."""
    try:
        converter(name)
    except ValueError as error:
        raise ValueError(f"{key} has {name!r}: {error}") from error


def playable(key: str, model: Model, role: str) -> None:
    """Raises ValueError for a spec that names no model that could answer in a role."""
    if model.provider == "sandbox":
        if "translator" in key:
            raise ValueError(f"{key} = {model.model!r}: nobody translates in the sandbox; give another model")
        names = PLAYED.get(role, (role,))
        if model.name.partition("/")[0] not in names:
            known = " or ".join(f"sandbox:{name}" for name in names)
            raise ValueError(f"{key} = {model.model!r} cannot play that role in the sandbox; give {known}")
    elif model.provider == "vllm" and model.name.startswith("sandbox:"):
        if role != "target" or model.name not in ("sandbox:target", "sandbox:phi3"):
            raise ValueError(f"{key} = {model.model!r} is no model to serve; give vllm:PATH, or sandbox:{role}")
    elif not model.name:
        others = "hf:PATH, vllm:PATH" if role == "target" else "rules, fitted:DIR" if "judge" in role else ""
        also = f", or {others}" if others else ""
        raise ValueError(f"{key} = {model.model!r} names no model; write PROVIDER:NAME, such as openai:gpt-4o{also}")
