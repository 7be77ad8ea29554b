"""The recipe: one TOML file is one run. Settings live beside what they set; here they are put together."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agents.attacker import Attack, ways
from agents.personas import PERSONAS
from agents.strategies import STRATEGIES
from evals.benchmarks import Evals
from evals.gate import Gate, Stop
from tools.converters import converter
from tools.llm import Model
from tools.names import instead
from tools.transcripts import Format
from training.stages import Training

GateName = Literal["data", "train", "promote"]
OFFLINE = {"judge": "rules", "second_judge": "rules", "measuring_judge": "rules", "writer": "templates"}
"""What a role may be beside a model: an offline judge and an offline writer."""


PLAYED = {"target": ("target", "phi3")} | dict.fromkeys(
    ("judge", "second_judge", "measuring_judge"), ("judge", "oracle")
)
"""Which of the sandbox's models can play a role, where it is not the one of that name."""


class RecipeError(ValueError):
    """A mistake in a recipe: one line that names the key, the value and the mend."""


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Agents(Closed):
    """Which model plays each role."""

    attacker: Model | None = None
    """None where attacks are recorded ones."""
    judge: Model
    second_judge: Model | None = None
    """A failure is trained on when both judges say harmful; without a second one, the report says so."""
    measuring_judge: Model
    """Labels nothing that is trained on."""
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
    """What is written beside the answers to failures."""

    retain: str = "sandbox"
    """General rows: `sandbox`, or the path of a file of instructions and outputs (Alpaca's JSON)."""
    retained_per_failure: int = Field(default=2, ge=0)


class Recipe(Closed):
    """One run, whole."""

    seed: int = 0
    gates: tuple[GateName, ...] = ()
    """Where the run stops for a person. None is the unattended default."""
    policy: Path | None = None
    """A TOML file that replaces or extends the harm policy."""
    target: Model
    base: Path | None = None
    """The weights that adapters are trained on, where `target` is an endpoint and names none."""
    inherit: Path | None = None
    """An older run, whose attacks are regressions to measure and whose rows are replayed (`--from`)."""
    agents: Agents
    goals: Goals = Goals()
    recorded: Recorded = Recorded()
    attack: Attack = Attack()
    data: Data = Data()
    training: Training = Training()
    evals: Evals = Evals()
    gate: Gate = Gate()
    stop: Stop = Stop()

    @model_validator(mode="after")
    def names_are_known(self) -> "Recipe":
        known("stop.tokens", tuple(self.stop.tokens), ("target", *Agents.model_fields))
        known("attack.strategies", self.attack.strategies, STRATEGIES)
        known("attack.held_out_strategies", self.attack.held_out_strategies, self.attack.strategies or STRATEGIES)
        for name in self.attack.converters:
            encoding("attack.converters", name)
        known("attack.held_out_converters", self.attack.held_out_converters, self.attack.converters)
        if self.agents.attacker and not any(ways(persona, self.attack) for persona in PERSONAS):
            raise ValueError("what attack holds out leaves no way to attack; hold out fewer strategies")
        return self

    @model_validator(mode="after")
    def no_two_judges_are_one(self) -> "Recipe":
        if self.recorded.conversations:
            return self
        judges = {name: getattr(self.agents, name) for name in ("judge", "second_judge", "measuring_judge")}
        seen: dict[str, str] = {}
        for name, judge in judges.items():
            if judge and judge.identity() in seen:
                raise ValueError(
                    f"agents.{name} = {judge.model!r} is the same judge as agents.{seen[judge.identity()]}; "
                    "give it a model, settings or (in the sandbox) a seed of its own"
                )
            if judge:
                seen[judge.identity()] = name
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
        for role in ("attacker", "judge", "second_judge", "measuring_judge", "writer", "trainer"):
            model: Model | None = getattr(self.agents, role)
            if model and model.model != OFFLINE.get(role):
                playable(f"agents.{role}.model", model)
        playable("target.model", self.target)
        return self


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


def playable(key: str, model: Model) -> None:
    """Raises ValueError for a spec that names no model that could answer."""
    if model.provider == "sandbox":
        role = "target" if key == "target.model" else key.split(".")[1]
        names = PLAYED.get(role, (role,))
        if model.name.partition("/")[0] not in names:
            known = " or ".join(f"sandbox:{name}" for name in names)
            raise ValueError(f"{key} = {model.model!r} cannot play that role in the sandbox; give {known}")
    elif not model.name:
        raise ValueError(f"{key} = {model.model!r} names no model; write PROVIDER:NAME, such as openai:gpt-4o")


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file, with `KEY=VALUE` overrides. Raises RecipeError, one line.

    Relative paths in it are read from the recipe's own folder; whether something lies there is for `preflight`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise RecipeError(f"cannot read the recipe {path}: {reason}; give the path of a .toml file") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        put(table, override)
    return parse(anchored(table, path.parent), str(path))


def parse(table: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explained(error)}") from error


def put(table: dict[str, Any], override: str) -> None:
    """Sets one dotted key of a recipe; the value is read as TOML, or else as a bare string."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override!r} is not KEY=VALUE, such as --set agents.judge.model=openai:gpt-4o")
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {override!r}: {parent!r} holds a value, not a table of settings")
    try:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = value


def anchored(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe with relative paths read from the recipe's own folder."""

    def path(value: str) -> str:
        return str((folder / value).resolve())

    recorded = table.get("recorded")
    if isinstance(recorded, dict):
        listed = recorded.get("conversations")
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict) and isinstance(one.get("path"), str):
                one["path"] = path(one["path"])
        if isinstance(recorded.get("lookalikes"), str):
            recorded["lookalikes"] = path(recorded["lookalikes"])
    for parent, key in (("", "policy"), ("", "base"), ("", "inherit"), ("data", "retain")):
        holder = table.get(parent) if parent else table
        value = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(value, str) and value != "sandbox":
            holder[key] = path(value)
    goals = table.get("goals")
    if isinstance(goals, dict) and goals.get("source", "sandbox") != "sandbox":
        from tools import sets

        source = goals["source"]
        listed = source if isinstance(source, list) else [source]
        found = [sets.anchored(one, path) if isinstance(one, str) else one for one in listed]
        goals["source"] = found if isinstance(source, list) else found[0]
    agents = table.get("agents")
    for spec in (table.get("target"), *(agents.values() if isinstance(agents, dict) else ())):
        if isinstance(spec, dict) and str(spec.get("model", "")).startswith("hf:"):
            spec["model"] = f"hf:{path(spec['model'].removeprefix('hf:'))}"
    return table


def explained(error: ValidationError) -> str:
    """The first mistake of a recipe in one line: the key, the value, and what would do."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        siblings = settings_at(first["loc"][:-1])
        return f"unknown key {key} = {shown(first['input'])}; {instead(str(first['loc'][-1]), siblings)}"
    if first["type"] == "missing":
        return f"{key} is missing; add it to the recipe or give --set {key}=..."
    message = first["msg"].removeprefix("Value error, ")
    return message if first["type"] == "value_error" else f"{key} = {shown(first['input'])}: {message}"


def settings_at(place: Sequence[int | str]) -> list[str]:
    """The names of the settings at a place in the recipe."""
    model: Any = Recipe
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = [a for a in (*get_args(field.annotation), field.annotation) if is_settings(a)] if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:80]


def as_toml(recipe: Recipe) -> str:
    """The recipe as resolved, in TOML that `load` reads back to the same."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
