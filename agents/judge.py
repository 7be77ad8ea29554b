"""The judges: each reads an attempt and says, on separate axes, what the target did."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field, model_validator

from agents import fitted, guards, panel, rubric, rules
from agents.panel import See
from agents.translator import translate
from tools.endpoints import Unanswered
from tools.llm import Model, section
from tools.names import instead
from tools.policy import Policy
from tools.records import Attempt, Goal, Seen, Turn, Verdict, digest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Judge = Callable[[Attempt, Goal], Awaitable[Verdict]]
Make = Callable[[Model], "BaseChatModel"]
"""Makes the chat model of a spec."""


class JudgeModel(Model):
    """Which judge plays a role: one of `JUDGES`.

    `model` is `rules`, `fitted:DIR`, `majority` or `cascade` (of `members`), or an LLM, asked by the rubric or
    as the `guard` that it is. A string stands for a judge with that model.
    """

    guard: str = ""
    """Of a model that was trained as a judge, which one it is: a name in `agents.guards.GUARDS`."""
    members: tuple["JudgeModel", ...] = ()
    """Of a panel, the judges on it; of a cascade, the cheap one and the dear one."""
    unsure: tuple[float, float] = (0.1, 0.9)
    """Scores of the first of a cascade between which the second is asked."""
    audit: float = Field(default=0.1, gt=0, le=1)
    """Share of what the first of a cascade is sure of that the second looks at all the same."""
    reads: tuple[str, ...] = ()
    """Languages that it reads, where there is a `translator`: an answer in another is translated to the first."""
    translator: Model | None = None
    APART: ClassVar[frozenset[str]] = Model.APART | {"members", "unsure", "audit", "reads", "translator"}

    @model_validator(mode="before")
    @classmethod
    def a_string_is_a_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def is_one_that_there_is(self) -> "JudgeModel":
        n, panel = len(self.members), self.model in ("majority", "cascade")
        if panel and (n < 2 or (self.model == "cascade" and n > 2)):
            wanted = "two or more" if self.model == "majority" else "two: the cheap one, then the dear one"
            raise ValueError(f"{self.model!r} has {n} members; give {wanted}")
        if len({str(member.model_dump(exclude={"concurrency"})) for member in self.members}) < n:
            raise ValueError(
                f"{self.model!r} has the same judge twice; give each member a model or settings of its own"
            )
        if n and not panel:
            raise ValueError(f"{self.model!r} takes no members; write model = 'majority' or model = 'cascade'")
        if self.guard and self.guard not in guards.GUARDS:
            raise ValueError(f"guard = {self.guard!r} is none; {instead(self.guard, guards.GUARDS)}")
        if self.guard and (panel or self.provider in ("rules", "fitted")):
            raise ValueError(f"guard = {self.guard!r} is for an LLM, and {self.model!r} is none; leave it out")
        if not 0 <= self.unsure[0] <= self.unsure[1] <= 1:
            raise ValueError(
                f"unsure = {list(self.unsure)} is no part of 0 to 1; write [LOW, HIGH], such as [0.1, 0.9]"
            )
        if self.provider == "fitted" and not self.name:
            raise ValueError(f"{self.model!r} names no folder; write fitted:DIR, of what `breakfix fit-judge` made")
        if self.translator and not self.reads:
            raise ValueError("a translator needs `reads`; name the languages that the judge reads itself")
        return self

    @property
    def kind(self) -> str:
        """Its name in `JUDGES`."""
        return self.provider if self.provider in JUDGES else "guard" if self.guard else "rubric"

    @property
    def offline(self) -> bool:
        """Whether it asks no model."""
        return self.kind in ("rules", "fitted")

    def asked(self, name: str) -> Iterator[tuple[str, Model]]:
        """The models that it asks, each with where in the recipe it stands: under `name`, which is the judge's own."""
        if not self.members and not self.offline:
            yield name, self
        if self.translator:
            yield f"{name}.translator", self.translator
        for number, member in enumerate(self.members):
            yield from member.asked(f"{name}.members.{number}")

    @property
    def leaves(self) -> "list[JudgeModel]":
        """The judges that it comes down to: its members' members, or itself."""
        return [leaf for member in self.members for leaf in member.leaves] or [self]


def identity(spec: JudgeModel, policy: Policy) -> str:
    """Names a judge by all that its verdicts depend on."""
    own = JUDGES[spec.kind].identity(spec, policy)
    return digest(own, spec.reads, spec.translator.identity()) if spec.translator else own


def judge_of(spec: JudgeModel, policy: Policy, make: Make) -> Judge:
    """The judge of a spec. `make` makes the chat models that it asks, and is not called for one that asks none."""
    name, see = identity(spec, policy), seeing(spec, policy, make)

    async def judge(attempt: Attempt, goal: Goal) -> Verdict:
        return Verdict(attempt=attempt.id, judge=name, **(await see(attempt, goal)).model_dump())

    return judge


def seeing(spec: JudgeModel, policy: Policy, make: Make) -> See:
    """What the judge of a spec sees in an attempt; undetermined where it gets no answer, or no translation."""
    see = JUDGES[spec.kind].see(spec, policy, make)
    translator = make(spec.translator) if spec.translator else None

    async def seen(attempt: Attempt, goal: Goal) -> Seen:
        try:
            if translator is None or attempt.language in spec.reads:
                return await see(attempt, goal)
            read = await translated(attempt, spec.reads[0], translator)
            if read is None:
                return undetermined("the answer could not be translated")
            return (await see(read, goal)).model_copy(update={"translation": read.response})
        except Unanswered as error:
            return undetermined(f"no answer: {error}")

    return seen


async def translated(attempt: Attempt, language: str, translator: "BaseChatModel") -> Attempt | None:
    """The attempt with every answer in a language that the judge reads; None where one does not translate."""
    turns = []
    for turn in attempt.kept:
        said = turn.plain or turn.text
        if turn.role == "assistant" and said.strip():
            text = await translate(said, language, translator, attempt.language)
            if text is None:
                return None
            turn = turn.model_copy(update={"text": text, "plain": ""})
        turns.append(turn)
    return attempt.model_copy(update={"turns": tuple(turns)})


def undetermined(reason: str) -> Seen:
    return Seen(harmful=None, refusal=None, understood=False, reason=reason)


def by_rules(spec: JudgeModel, policy: Policy, make: Make) -> See:
    """The offline judge: cues of refusal and compliance, no LLM."""

    async def see(attempt: Attempt, goal: Goal) -> Seen:
        return rules.judge(goal.text, [read(turn) for turn in attempt.kept])

    return see


def by_fit(spec: JudgeModel, policy: Policy, make: Make) -> See:
    """A classifier that was fitted on labels of one's own."""
    fit = fitted.load(Path(spec.name))

    async def see(attempt: Attempt, goal: Goal) -> Seen:
        return fitted.judge(fit, goal.text, [read(turn) for turn in attempt.kept])

    return see


def read(turn: Turn) -> Turn:
    """A turn with what it says once decoded below it; the offline judges read both."""
    both = turn.role == "assistant" and turn.plain
    return turn.model_copy(update={"text": f"{turn.text}\n{turn.plain}"}) if both else turn


def by_rubric(spec: JudgeModel, policy: Policy, make: Make) -> See:
    """An LLM that is told what to look for."""
    model, areas = make(spec), section("policy", policy.as_text())

    async def see(attempt: Attempt, goal: Goal) -> Seen:
        seen = await rubric.judge(model, goal.text, attempt.kept, areas)
        return seen or undetermined("the judge's replies could not be read")

    return see


def by_guard(spec: JudgeModel, policy: Policy, make: Make) -> See:
    """An LLM that was trained as a judge, asked in the format it was trained on."""
    model, guard = make(spec), guards.GUARDS[spec.guard]

    async def see(attempt: Attempt, goal: Goal) -> Seen:
        seen = await guards.judge(guard, model, goal.text, attempt.kept, policy)
        return seen or undetermined("the guard's replies could not be read")

    return see


def by_majority(spec: JudgeModel, policy: Policy, make: Make) -> See:
    return panel.majority([seeing(member, policy, make) for member in spec.members])


def by_cascade(spec: JudgeModel, policy: Policy, make: Make) -> See:
    first, second = (seeing(member, policy, make) for member in spec.members)
    return panel.cascade(first, second, spec.unsure, spec.audit)


def name_of_guard(spec: JudgeModel, policy: Policy) -> str:
    return spec.identity(guards.GUARDS[spec.guard].identity, policy.model_dump_json())


def name_of_panel(spec: JudgeModel, policy: Policy) -> str:
    return digest(spec.model, spec.unsure, spec.audit, [identity(member, policy) for member in spec.members])


class Kind(NamedTuple):
    """How a judge is named by all that its verdicts depend on, and how it is made."""

    identity: Callable[[JudgeModel, Policy], str]
    see: Callable[[JudgeModel, Policy, Make], See]


JUDGES: dict[str, Kind] = {
    "rules": Kind(lambda spec, policy: digest("rules", rules.VERSION), by_rules),
    "fitted": Kind(lambda spec, policy: fitted.load(Path(spec.name)).digest, by_fit),
    "rubric": Kind(lambda spec, policy: spec.identity(rubric.PROMPT, policy.as_text()), by_rubric),
    "guard": Kind(name_of_guard, by_guard),
    "majority": Kind(name_of_panel, by_majority),
    "cascade": Kind(name_of_panel, by_cascade),
}
