"""The team of a run: its live models, its memory, and whoever watches. Made once for each run folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import judge as judging
from agents import templates, writer
from graph import sources
from graph.config import Recipe
from graph.kept import Kept
from graph.recipes import load
from graph.serving import local_of, weights
from tools import policy
from tools.llm import Model, Serving, chat
from tools.memory import Memory
from tools.records import BASE, Adapter, Example, Goal
from tools.transcripts import read
from training import stages

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from tools.engine import Engine
    from tools.serve import Server

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
    servers: "dict[tuple[Path, Serving], Server]" = field(default_factory=dict)
    """What vLLM serves, started when it is first asked."""
    turn: "tuple[Path, Serving] | None" = None
    """Which of them is the target, or the model that it is compared with."""
    played: "dict[str, Engine]" = field(default_factory=dict)
    """What is served in this process for other roles."""
    sent: set[str] = field(default_factory=set)
    """The adapters that an endpoint elsewhere was told of."""
    approved: tuple[tuple[int, int], dict[str, list[Example]]] = ((-1, -1), {})
    """The last rows that passed the data gate, by stage, and their cycle and round."""
    kept: Kept = field(default_factory=Kept)
    reported: tuple[float, float] = (0.0, 0.0)
    """When the last report was done, by a clock that nobody sets, and how many seconds it took."""

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
        from tools.engine import Engine

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
        folder = None if adapter == BASE else self.folder(adapter)
        if not spec.weights:
            return self.elsewhere(adapter, folder)
        whole = folder if folder and not (folder / "adapter_config.json").is_file() else None
        if spec.provider == "vllm":
            return self.served("target", spec, whole or self.base, adapter, None if whole else folder)
        from tools.engine import Local

        if whole:
            return self.metered("target", Local(engine=self.other(whole, spec)))
        self.others.clear()
        if folder:
            self.engine.load(adapter, folder)
        return self.metered("target", Local(engine=self.engine, adapter=adapter))

    def elsewhere(self, adapter: str, folder: Path | None) -> "BaseChatModel":
        """The target at an endpoint, which is told of an adapter once."""
        from tools.completions import Completions
        from tools.serve import put

        spec = self.recipe.target
        if folder and adapter not in self.sent:
            put(spec, adapter, folder, folder.relative_to(self.run / "adapters"))
            self.sent.add(adapter)
        named = spec.model_copy(update={"model": f"openai:{adapter}"}) if folder else spec
        model = self.model("target", named)
        if spec.adapters and isinstance(model, Completions):
            model.options = self.options
        return model

    @cached_property
    def options(self) -> dict[str, Any]:
        """What the target's chat template has to be told, as it was when it was trained."""
        from tools import chat
        from tools.engine import Engine

        return chat.options(Engine(self.base, 1, 1).tokenizer)

    def served(
        self, role: str, spec: Model, folder: Path, adapter: str = BASE, worn: Path | None = None
    ) -> "BaseChatModel":
        """A model that vLLM serves. Of the target and those that it is compared with one server runs at a time."""
        from tools.engine import Engine
        from tools.serve import LOG, Server, chat, shares

        key = folder, spec.vllm
        own = role == "target" or role.startswith("compare.")
        if own and self.turn and self.turn != key:
            self.servers[self.turn].stop()
        for engine in (*self.others.values(), *([self.engine] if "engine" in self.__dict__ else [])) if own else ():
            engine.rest()
        if key not in self.servers:
            self.servers[key] = Server(
                folder, self.run / (LOG if own else f"{role}.{LOG}"), spec.vllm, self.recipe.training.rank,
                shares(spec.vllm, self.cards), lambda note: self.watch(role, 0, 0, note),
            )  # fmt: skip
        self.turn = key if own else self.turn
        server = self.servers[key]
        server.start()
        if worn:
            server.load(adapter, worn)
        words = Engine(folder, spec.concurrency, spec.max_tokens)
        return self.metered(role, chat(server, spec, adapter if worn else BASE, words.as_chat))

    @property
    def cards(self) -> str:
        """The cards that stages are trained on; empty for all."""
        return stages.cards(self.recipe.training).get("CUDA_VISIBLE_DEVICES", "")

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Lets what is served here rest where it is on a card that stages are trained on."""
        from tools.serve import shares

        engines = [*self.others.values(), *self.played.values()]
        engines += [self.engine] if "engine" in self.__dict__ else []
        servers = [one for one in self.servers.values() if one.rests and one.runs and not one.asleep]
        for engine in engines if shares(Serving(), self.cards) else ():
            engine.rest()
        for server in servers:
            server.sleep()
        try:
            yield
        except KeyboardInterrupt:  # nobody asks it again, and to start may take it minutes
            servers.clear()
            raise
        finally:
            for server in servers:
                server.wake()

    def role(self, model: str) -> str:
        """The role that a model is measured in: `compare.0` and so on, or the target with whatever adapter."""
        others = {spec.model: role for role, spec in self.recipe.models.items() if role.startswith("compare.")}
        return others.get(model, "target")

    def compared(self, role: str) -> "BaseChatModel":
        """One of the models that the run is compared with."""
        spec = self.recipe.models[role]
        folder = self.weights(spec)
        if folder is None or spec.provider == "vllm":
            return self.model(role, spec)
        from tools.engine import Local

        return self.metered(role, Local(engine=self.other(folder, spec)))

    def changed(self, adapter: str) -> "BaseChatModel":
        """A champion that was merged into the weights, is kept in eight bits, or was tuned: `ID+merged` and so on."""
        from tools.engine import Local

        name, _, change = adapter.partition("+")
        engine = self.other(self.run / "lasting" / f"{name}+merged", self.recipe.target, change == "int8")
        if change == "tuned":
            engine.load(adapter, self.run / "lasting" / adapter)
        return self.metered("target", Local(engine=engine, adapter=adapter if change == "tuned" else BASE))

    def other(self, folder: Path, spec: Model, int8: bool = False) -> "Engine":
        """Another model than the target, served here. The one before is let go of, and the target until it is asked
        again: a GPU may have room for one."""
        from tools.engine import Engine

        if (folder, int8) not in self.others:
            self.__dict__.pop("engine", None)
            self.others.clear()
            if self.turn and self.servers[self.turn].rests:
                self.servers[self.turn].sleep()
            self.others[folder, int8] = Engine(folder, spec.concurrency, spec.max_tokens, spec.temperature, int8)
        return self.others[folder, int8]

    def folder(self, adapter: str) -> Path:
        """Where an adapter lies."""
        ids = self.memory.get(Adapter, "id = ?", adapter)
        if not ids:
            raise ValueError(f"no adapter {adapter!r} in {self.run}; `breakfix status` lists them")
        return self.run / ids[0].path

    def model(self, role: str, spec: Model) -> "BaseChatModel":
        if spec.provider == "vllm":
            return self.served(role, spec, self.weights(spec) or Path())
        if spec.provider != "hf":
            return self.metered(role, chat(spec))
        local = local_of(spec)
        self.played[role] = local.engine
        return self.metered(role, local)

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


@cache
def team(run: str) -> Team:
    """The team of a run folder, from the recipe that lies in it."""
    return Team(Path(run), load(Path(run) / "recipe.toml"))
