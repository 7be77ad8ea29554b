"""The team of a run: its live models, its memory, and whoever watches. Made once for each run folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agents import judge as judging
from agents import templates, writer
from graph import sources
from graph.config import Recipe, load
from tools import policy
from tools.llm import Model, chat
from tools.memory import Memory
from tools.records import BASE, Adapter, Goal
from tools.transcripts import read

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from tools.serve import Engine

Watch = Callable[[str, int, int, str], None]
"""Told of progress: the node, how much is done, of how much, and what is going on."""

Tell = Callable[[int, int, str], None]
"""The same within a node: how much is done, of how much, and of what."""

Sitting = tuple[judging.Judge, int]
"""A judge and how many verdicts it gives at once."""


def nobody(node: str, done: int, total: int, note: str) -> None:
    """Watches nothing."""


@dataclass
class Team:
    """Everything that lives: what a node needs and a checkpoint cannot hold."""

    run: Path
    recipe: Recipe
    watch: Watch = field(default=nobody)
    others: "dict[tuple[Path, bool], Engine]" = field(default_factory=dict)
    """What is served beside the target: one model at most."""

    @cached_property
    def memory(self) -> Memory:
        return Memory(self.run / "memory.sqlite")

    @cached_property
    def policy(self) -> policy.Policy:
        return policy.load(self.recipe.policy)

    @cached_property
    def goals(self) -> list[Goal]:
        """The goals of the recipe."""
        return sources.goals(self.recipe)

    @cached_property
    def base(self) -> Path:
        """The folder of the target's weights."""
        return self.weights(self.recipe.target) or self.recipe.base or Path()

    def weights(self, spec: Model) -> Path | None:
        """The folder of a model's weights; None for an endpoint."""
        return weights(spec, self.texts, lambda done, total: self.watch("target", done, total, "building"))

    def texts(self) -> list[str]:
        """What was said in the recipe's recorded conversations: what a tokenizer can be made from."""
        recordings = [read(one.path, one.format) for one in self.recipe.recorded.conversations]
        return [turn.text for one in recordings for attempt in one.attempts for turn in attempt.turns]

    @cached_property
    def engine(self) -> "Engine":
        from tools.serve import Engine

        spec = self.recipe.target
        return Engine(self.base, spec.concurrency, spec.max_tokens, spec.temperature)

    def target(self, adapter: str) -> "BaseChatModel":
        """The target with an adapter on it; an endpoint is asked for the adapter by its id.

        One of the models that the run is compared with goes by its name, and what became of a champion as
        `graph.lasting` has it.
        """
        spec = self.recipe.target
        role = self.role(adapter)
        if role != "target":
            return self.compared(role)
        if "+" in adapter:
            return self.changed(adapter)
        if spec.provider not in ("hf", "sandbox"):
            return self.model(
                "target", spec if adapter == BASE else spec.model_copy(update={"model": f"openai:{adapter}"})
            )
        from tools.serve import Local

        self.others.clear()
        if adapter != BASE:
            self.engine.load(adapter, self.folder(adapter))
        return self.metered("target", Local(engine=self.engine, adapter=adapter))

    def role(self, model: str) -> str:
        """The role that a model is measured in: `compare.0` and so on, or the target with whatever adapter."""
        others = {spec.model: role for role, spec in self.recipe.models.items() if role.startswith("compare.")}
        return others.get(model, "target")

    def compared(self, role: str) -> "BaseChatModel":
        """One of the models that the run is compared with."""
        spec = self.recipe.models[role]
        folder = self.weights(spec)
        if folder is None:
            return self.model(role, spec)
        from tools.serve import Local

        return self.metered(role, Local(engine=self.other(folder, spec)))

    def changed(self, adapter: str) -> "BaseChatModel":
        """A champion that was merged into the weights, is kept in eight bits, or was tuned: `ID+merged` and so on."""
        from tools.serve import Local

        name, _, change = adapter.partition("+")
        engine = self.other(self.run / "lasting" / f"{name}+merged", self.recipe.target, change == "int8")
        if change == "tuned":
            engine.load(adapter, self.run / "lasting" / adapter)
        return self.metered("target", Local(engine=engine, adapter=adapter if change == "tuned" else BASE))

    def other(self, folder: Path, spec: Model, int8: bool = False) -> "Engine":
        """Another model than the target, served here. The one before is let go of, and the target until it is asked
        again: a GPU may have room for one."""
        from tools.serve import Engine

        if (folder, int8) not in self.others:
            self.__dict__.pop("engine", None)
            self.others.clear()
            self.others[folder, int8] = Engine(folder, spec.concurrency, spec.max_tokens, spec.temperature, int8)
        return self.others[folder, int8]

    def folder(self, adapter: str) -> Path:
        """Where an adapter lies."""
        ids = self.memory.get(Adapter, "id = ?", adapter)
        if not ids:
            raise ValueError(f"no adapter {adapter!r} in {self.run}; `breakfix status` lists them")
        return self.run / ids[0].path

    def model(self, role: str, spec: Model) -> "BaseChatModel":
        return self.metered(role, model_of(spec))

    def metered(self, role: str, model: "BaseChatModel") -> "BaseChatModel":
        """The model, its calls and tokens counted under its role."""
        from graph.costs import Meter

        model.callbacks = [Meter(role, self.spent)]
        return model

    @cached_property
    def spent(self) -> dict[str, list[int]]:
        """Calls, tokens read and tokens written since they were last put down, by role."""
        return {}

    @cached_property
    def attacker(self) -> "BaseChatModel | None":
        spec = self.recipe.agents.attacker
        return self.model("attacker", spec) if spec else None

    @cached_property
    def writer(self) -> "BaseChatModel | None":
        """None where the offline writer writes."""
        spec = self.recipe.agents.writer
        return None if spec.model == "templates" else self.model("writer", spec)

    @property
    def writer_id(self) -> str:
        spec = self.recipe.agents.writer
        return templates.NAME if spec.model == "templates" else spec.identity(writer.PROMPT)

    @cached_property
    def trainer(self) -> "BaseChatModel | None":
        spec = self.recipe.agents.trainer
        return self.model("trainer", spec) if spec else None

    @cached_property
    def labels_by(self) -> dict[str, str]:
        """The judges that label training data: identity to role."""
        return self.named(("judge", "second_judge"))

    @cached_property
    def measures_by(self) -> str:
        """The identity of the judge that measures."""
        return next(iter(self.named(("measuring_judge",))))

    def named(self, roles: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for role in roles:
            if role in self.recipe.judges:
                found.setdefault(judging.identity(self.recipe.judges[role], self.policy), role)
        return found

    def sitting(self, roles: Sequence[str]) -> dict[str, Sitting]:
        """The judges of some roles, by identity."""
        return {name: self.judge(self.recipe.judges[role], role) for name, role in self.named(roles).items()}

    def judge(self, spec: judging.JudgeModel, role: str) -> Sitting:
        """A judge; what it asks is counted under its role, or the place of a panel's member in it."""
        places = {id(asked): place for place, asked in spec.asked(role)}
        return judging.judge_of(spec, self.policy, lambda one: self.model(places[id(one)], one)), spec.concurrency

    @cached_property
    def labelling(self) -> dict[str, Sitting]:
        """The judges that label training data."""
        return self.sitting(("judge", "second_judge"))

    @cached_property
    def measuring(self) -> dict[str, Sitting]:
        """The judge that measures: one."""
        return self.sitting(("measuring_judge",))

    def put_down(self, node: str, cycle: int) -> None:
        """Writes what was spent since the last time."""
        for role, account in self.spent.items():
            if account[0]:
                self.memory.cost(node, cycle, role, *account)
                account[:] = [0, 0, 0]


def weights(spec: Model, texts: Callable[[], list[str]], tell: Callable[[int, int], None]) -> Path | None:
    """The folder of a model's weights, built first if it is the sandbox's (`dials` are its settings there); None for an
    endpoint. A tokenizer is made from `texts` where the model has none."""
    if spec.provider == "sandbox":
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    if spec.model == "sandbox:target":
        from tools.sandbox import target

        return target.build(target.Settings.model_validate(spec.dials), tell)
    if spec.model == "sandbox:phi3":
        from tools.sandbox import phi3

        return phi3.build(texts())
    return Path(spec.name) if spec.provider == "hf" else None


def model_of(spec: Model) -> "BaseChatModel":
    """The chat model of a spec, whoever serves it."""
    if spec.provider != "hf":
        return chat(spec)
    from tools.serve import Engine, Local

    return Local(engine=Engine(Path(spec.name), spec.concurrency, spec.max_tokens, spec.temperature))


@cache
def team(run: str) -> Team:
    """The team of a run folder, from the recipe that lies in it."""
    return Team(Path(run), load(Path(run) / "recipe.toml"))
