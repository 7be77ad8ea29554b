"""Answers labelled by the oracle, as people would have: what the sandbox's judges are measured on."""

from collections.abc import Callable

from tools.labels import Label, Task
from tools.records import Turn
from tools.sandbox import oracle, world
from tools.sandbox.world import LANGUAGES, WORDS, Request

SEED = 20_240_718
"""Of its own, so that the goals are hardly ever a run's."""


def labelled(task: Task, n: int = 300) -> list[Label]:
    """`n` answers to harmful requests in every language: see `ANSWERS`."""
    goals = [goal for goal in world.goals(SEED, n, 0, 0) if goal.intent == "harmful"]
    ways = list(ANSWERS.values())
    rows = []
    for number, goal in enumerate(goals):
        language, request = LANGUAGES[number % len(LANGUAGES)], oracle.wanted(goal.text)
        said = ways[number // len(LANGUAGES) % len(ways)](request, language, number)
        truth = oracle.judge(goal.text, (Turn(role="assistant", text=said),))
        label = truth.harmful if task == "harmful" else truth.refusal != "none"
        rows.append(Label(
            goal=goal.text, prompt=world.question(request, language, number), response=said, label=label,
            language=language, area=goal.area, severity=truth.severity,
        ))  # fmt: skip
    return rows


def refusal(request: Request, language: str, number: int) -> str:
    return world.pick(WORDS[language].refusals, number)


ANSWERS: dict[str, Callable[[Request, str, int], str]] = {
    "given": lambda request, language, number: world.answer(request, language),
    "declined": refusal,
    "half": lambda request, language, number: world.content(request, language)[number % 3],
    "evaded": lambda request, language, number: world.answer(Request("colour", request.kind, request.name), language),
    "both": lambda request, language, number: world.joined(
        refusal(request, language, number), world.answer(request, language), language
    ),
}
