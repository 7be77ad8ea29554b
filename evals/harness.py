"""Capability by lm-evaluation-harness: its tasks, or one's own, asked of a model that we serve or of an endpoint.

Its tasks, prompts, filters and metrics are what they are there (https://github.com/EleutherAI/lm-evaluation-harness).
Which items are asked is ours, and so is what is counted: item by item, so that two models can be compared in pairs.
"""

import contextlib
import difflib
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.records import digest
from tools.statistics import Interval, Z, wilson

HOME = "https://github.com/EleutherAI/lm-evaluation-harness"
TASKS = "BREAKFIX_TASKS"
"""Environment variable: the folders whose tasks a recipe may include."""
PREFIX = "lm_eval/"
"""What the names of its benchmarks begin with."""
Tell = Callable[[int, int], None]
"""Told how many requests of a task are answered, of how many."""
PREFERRED = "flexible-extract"
"""The filter that is gone by where a task has it: what is known is measured, and not the form it is said in."""
UNANSWERED = "\x00unanswered"
"""What stands in the place of an answer that an endpoint did not give: its item is undetermined."""
MISSING = "lm-evaluation-harness is not installed: pip install 'breakfix[lm-eval]', or leave evals.lm_eval.tasks empty"


class LmEval(BaseModel):
    """Which tasks of lm-evaluation-harness are asked, and how much of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[str, ...] = ()
    """Such as `mmlu`, `gsm8k`, `ifeval`, `truthfulqa_mc1`, `arc_challenge`, `hellaswag`; a group counts as one task.
    Their data comes from the Hub. `DIR/TASK` is one of one's own, as with `include`; empty asks none."""
    include: str = ""
    """A folder of one's own tasks, as YAML; they need no network where their data needs none."""
    limit: int = Field(default=100, gt=0)
    """Items of each task that the base and every candidate are asked, drawn once."""
    full: bool = False
    """Whether the base and the champion are asked the whole of each task when the run ends."""

    @model_validator(mode="before")
    @classmethod
    def a_folder_before_a_task_is_included(cls, table: Any) -> Any:
        """The tasks go by their names alone, whichever way their folder is said."""
        named, own = (table.get("tasks"), table.get("include", "")) if isinstance(table, dict) else (None, "")
        if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in (own, *named)):
            return table
        split = [one.rpartition("/") for one in named]
        folders = sorted({own, *(folder for folder, _, _ in split)} - {""})
        if len(folders) > 1:
            raise ValueError(
                f"evals.lm_eval has tasks of several folders, {' and '.join(folders)}; give one, as include = DIR"
            )
        return table | {"tasks": [name for _, _, name in split], "include": "".join(folders)}


class Unaskable(ValueError):
    """A task that a model cannot be asked: one line that names both, and the mend."""


class Row(NamedTuple):
    """One item and what became of it; `value` is what the task's metric gives, None where there was no answer."""

    task: str
    number: int
    item: str
    """Hash of the item, so that what is asked twice is known."""
    question: str
    said: str
    target: str
    metric: str
    value: float | None


class Result(NamedTuple):
    """What became of the items of a task, which may have several parts, as `mmlu` has."""

    rows: Sequence[Row]

    @property
    def paired(self) -> bool:
        """Whether each item is right or wrong, so that two models can be compared on it."""
        return all(row.value in (0, 1, None) for row in self.rows)

    @property
    def outcomes(self) -> dict[tuple[str, str], bool | None]:
        """Whether each item was answered rightly, as benchmarks have it."""
        return {
            (row.item, digest(row.task, row.number, row.item)): None if row.value is None else row.value == 1
            for row in self.rows
        }

    @property
    def known(self) -> list[float]:
        return [row.value for row in self.rows if row.value is not None]

    @property
    def coverage(self) -> float:
        return len(self.known) / len(self.rows) if self.rows else 0.0

    @property
    def share(self) -> Interval:
        """The mean over the items that have a value: with Wilson's interval where each is right or wrong, else the
        normal one."""
        values, n = self.known, len(self.known)
        if self.paired or n < 2:
            return Interval(sum(values) / n if n else 0.0, *wilson(sum(values), n))
        mean = sum(values) / n
        half = Z * sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
        return Interval(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def tasks(name: str, include: str, seed: int) -> dict[str, Any]:
    """A task by its name, or the parts of a group of tasks, each with its data. Raises ValueError, one line."""
    manager = known(name, include)
    with quiet(), seeded(seed):
        try:
            parts = manager.load([name])["tasks"]
        except Exception as error:
            raise ValueError(
                f"lm_eval task {name!r} cannot be had: {first_line(error)}; a task of the Hub's needs the network, or "
                "its data in the cache, and one of your own the data that its YAML names"
            ) from error
        for part, task in parts.items():
            if getattr(task, "UNSAFE_CODE", False):
                raise ValueError(f"lm_eval task {part!r} runs what the model writes as a program; leave it out")
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=seed)
    return dict(parts)


def known(name: str, include: str, key: str = "evals.lm_eval.tasks") -> Any:
    """What finds a task, of one's own or the harness's. Raises ValueError for one that neither is, named by its key."""
    own = index(include, False) if include else None
    if own and name in own.task_index:
        return index(include, True) if name in own.all_groups else own
    every = index("", True)
    if name in every.task_index:
        return every
    likely = difflib.get_close_matches(name, [*(own.all_tasks if own else ()), *every.all_tasks], n=2)
    mend = (
        f"did you mean {' or '.join(map(repr, likely))}?" if likely else "`lm-eval ls tasks` names all that there are"
    )
    raise ValueError(f"{key} has {name!r}, which is no task of lm-evaluation-harness; {mend}")


def trusted(include: str) -> str:
    """A folder of one's own tasks that a recipe names. Raises ValueError unless the environment names it as well.

    The harness runs what tasks name, their functions, metrics and templates, and no recipe may name a program.
    """
    ours = [Path(one).resolve() for one in os.environ.get(TASKS, "").split(os.pathsep) if one]
    if include and not any(Path(include).resolve().is_relative_to(one) for one in ours):
        raise ValueError(f"evals.lm_eval.include = {include!r}: the harness runs code that tasks name; read what lies "
                         f"there, and set ${TASKS} to that folder")  # fmt: skip
    return include


@cache
def index(include: str, defaults: bool) -> Any:
    """Every task that there is, or those of a folder alone: to look at all of the harness's takes seconds."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ValueError(MISSING) from error
    with quiet():
        return TaskManager(include_path=include or None, include_defaults=defaults)


@cache
def questions(name: str, include: str, seed: int) -> list[str]:
    """What a task asks, without the examples and the words around it where it tells them apart."""
    found: list[str] = []
    for task in tasks(name, include, seed).values():
        ask = task.doc_to_decontamination_query if task.should_decontaminate() else task.doc_to_text
        found += [str(ask(doc)) for doc in task.eval_docs]
    return list(dict.fromkeys(found))


def drawn(name: str, parts: Mapping[str, Any], limit: int | None, seed: int) -> dict[str, list[int]]:
    """The numbers of the items that are asked, by part: all, or `limit` drawn over the parts together."""
    every = [(part, number) for part, task in sorted(parts.items()) for number in range(len(task.eval_docs))]
    if limit is not None and limit < len(every):
        every = sorted(random.Random(f"{seed}/lm_eval/{name}").sample(every, limit))
    found: dict[str, list[int]] = {}
    for part, number in every:
        found.setdefault(part, []).append(number)
    return found


def rows_of(name: str, task: Any, samples: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The harness's samples as rows, by the task's first metric that is a share of each item."""
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    by = PREFERRED if PREFERRED in filters else filters[0]
    kept = sorted((sample for sample in samples if sample["filter"] == by), key=lambda sample: sample["doc_id"])
    better = task.higher_is_better()
    metric = next(
        (one for one in task.aggregation() if better.get(one, True) and all(is_share(row.get(one)) for row in kept)), ""
    )
    if not metric:
        raise ValueError(
            f"lm_eval task {name!r} is measured by {', '.join(task.aggregation())}, none of which is a number from 0 "
            "to 1 for each item; leave it out of evals.lm_eval.tasks"
        )
    return [
        Row(
            task=name, number=sample["doc_id"], item=sample["doc_hash"][:16],
            question=str(task.doc_to_text(sample["doc"])), said=said(sample), target=target(sample),
            metric=metric if by == "none" else f"{metric},{by}",
            value=None if [UNANSWERED] in sample["resps"] else float(sample[metric]),
        )
        for sample in kept
    ]  # fmt: skip


def is_share(value: Any) -> bool:
    return isinstance(value, bool | int | float) and 0 <= value <= 1


def said(sample: Mapping[str, Any]) -> str:
    """What was answered, or which of the choices was likeliest."""
    first = [answer[0] for answer in sample["resps"]]
    if isinstance(first[0], str):
        return first[0].replace(UNANSWERED, "")
    return str(sample["arguments"][max(range(len(first)), key=lambda number: first[number][0])][1])


def target(sample: Mapping[str, Any]) -> str:
    """The right answer; of choices, in its words."""
    right, choices = sample["target"], [list(one)[1] for one in sample["arguments"]]
    return str(choices[right] if isinstance(right, int) and len(choices) > right >= 0 else right)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Some tasks shuffle their items or their examples by the global dice: they fall alike in here, and outside it is
    as if nothing had happened."""
    import numpy as np
    import torch

    before, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(arrays)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the harness's log and bars, not all of which it has a switch for."""
    from tqdm import tqdm

    for noisy in ("lm_eval", "datasets", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    begin = tqdm.__init__

    def silent(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **{**more, "disable": True})

    tqdm.__init__ = silent
    try:
        yield
    finally:
        tqdm.__init__ = begin
