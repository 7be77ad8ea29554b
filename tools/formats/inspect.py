"""Eval logs as Inspect's viewer opens them: one of our conversations is a sample, its verdicts are the sample's scores.

The format is version 2 of https://inspect.aisi.org.uk/eval-logs.html, as JSON; a test has Inspect itself read it.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from tools.records import BASE, Attempt, Goal, Turn, Verdict
from tools.statistics import wilson

VERSION = 2
WANTED = {"harmful": "refuse", "twin": "help", "plain": ""}
"""What the model should do with a request, where no answer of it is known."""
SAID = {True: "harmful", False: "harmless", None: "undetermined"}
"""A verdict in words: the viewer would draw a harmful answer, being true, in green."""
SHOWN = ("plain", "stack", "prefill", "dropped")
"""What a turn may say beside its text."""


class Rate(NamedTuple):
    """How often a scorer said yes: of `known` samples that it could tell of, out of `asked`."""

    scorer: str
    metric: str
    yes: int
    known: int
    asked: int


def head(
    task: str, model: str, span: tuple[str, str], size: int, rates: Sequence[Rate], tags: Sequence[str],
    about: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """All of a log but its samples, which come after it: a reader of many logs then need not read them.

    `span` is when the run began, and when it last did something.
    """
    name = "-".join((span[0], task, model))
    scored = [
        {"name": rate.scorer, "scorer": rate.scorer, "scored_samples": rate.known,
         "unscored_samples": rate.asked - rate.known, "metrics": metrics(rate)} for rate in rates
    ]  # fmt: skip
    return {
        "version": VERSION, "status": "success",
        "eval": {
            "run_id": span[0], "eval_id": name, "task_id": name, "created": span[0], "task": task, "model": model,
            "dataset": {"name": task, "samples": size}, "config": {}, "tags": list(tags), "metadata": dict(about),
        },
        "plan": {}, "results": {"total_samples": size, "completed_samples": size, "scores": scored},
        "stats": {"started_at": span[0], "completed_at": span[1]},
    }  # fmt: skip


def metrics(rate: Rate) -> dict[str, Any]:
    """The share and its 95 % interval; none where nothing is known."""
    if not rate.known:
        return {}
    low, high = wilson(rate.yes, rate.known)
    values = {rate.metric: rate.yes / rate.known, "low": low, "high": high}
    return {name: {"name": name, "value": round(value, 6)} for name, value in values.items()}


def sample(
    attempt: Attempt, goal: Goal, verdicts: Mapping[str, Verdict], outcomes: Mapping[str, bool | None], system: str,
    model: str,
) -> dict[str, Any]:  # fmt: skip
    """A conversation, with what each judge saw in it and what it came to in each benchmark, by name."""
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    said += [message(turn, f"{attempt.id}-{number}") for number, turn in enumerate(attempt.turns)]
    answer = {"message": {"role": "assistant", "content": attempt.response}, "stop_reason": "stop"}
    usage = {"input_tokens": attempt.prompt_tokens, "output_tokens": attempt.completion_tokens,
             "total_tokens": attempt.prompt_tokens + attempt.completion_tokens}  # fmt: skip
    broken = {"message": attempt.error, "traceback": attempt.error, "traceback_ansi": attempt.error}
    return {
        "id": attempt.id, "epoch": 1, "input": goal.text, "target": goal.reference or WANTED[goal.intent],
        "messages": said, "output": {"model": model, "choices": [answer] if attempt.response else []},
        "scores": {name: {"value": int(happened), "answer": attempt.response}
                   for name, happened in outcomes.items() if happened is not None}
        | {name: score(verdict, attempt.response) for name, verdict in verdicts.items()},
        "metadata": about(attempt, goal), "model_usage": {model: usage} if usage["total_tokens"] else {},
        "total_time": attempt.seconds,
        "error": broken if attempt.error else None,
    }  # fmt: skip


def message(turn: Turn, id: str) -> dict[str, Any]:
    """A turn; what was taken back or pruned says so beside its text, where the viewer shows it."""
    beside = {name: value for name in SHOWN if (value := getattr(turn, name))}
    return {"id": id, "role": turn.role, "content": turn.text, "metadata": beside}


def about(attempt: Attempt, goal: Goal) -> dict[str, Any]:
    names = ("persona", "strategy", "converters", "language", "cycle", "purpose", "seed", "note", "parents")
    return {"area": goal.area, "intent": goal.intent, "source": goal.source, "split": goal.split,
            "adapter": attempt.target, **{name: getattr(attempt, name) for name in names}}  # fmt: skip


def score(verdict: Verdict, answer: str) -> dict[str, Any]:
    seen = {"harmful": SAID[verdict.harmful], "refusal": verdict.refusal or SAID[None], "severity": verdict.severity}
    beside = verdict.model_dump(exclude={"attempt", "reason", *seen}, exclude_defaults=True)
    return {"value": seen, "answer": answer, "explanation": verdict.reason, "metadata": beside}


def named(spec: str, target: str) -> str:
    """A model as Inspect names one, without the folder that it lies in; a target may be a model of its own."""
    provider, _, name = (target if ":" in target else spec).partition(":")
    return f"{provider}/{PurePath(name).name}" + ("" if target == BASE or ":" in target else f"+{target}")
