"""A run's conversations for other tools, written as they are read, so that any number of them fits into memory."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from evals import benchmarks
from graph import measuring
from graph.config import RecipeError
from graph.desk import SPLITS, champion
from graph.team import Team
from tools.formats import inspect
from tools.records import Adapter, Attempt, Goal, Verdict, digest

BATCH = 200
IN = "in (select value from json_each(?))"
AT = f"at in (select number from attempts where id {IN})"


class Log(NamedTuple):
    """The conversations that one target had in one task, in order, and what each came to."""

    task: str
    target: str
    outcomes: dict[str, bool | None]
    counts: bool
    """Whether it is a benchmark, which counts what came of its items."""


def logs(crew: Team) -> Iterator[Log]:
    """A log for each cycle's attacks, and for each benchmark with each model that was measured.

    What no benchmark of the gate counts goes by the way in which it was asked, or by the set that its goals are from.
    """
    sql = """select a.id, purpose, target, cycle, strategy, source from attempts a join goals g on g.id = a.goal
        order by number"""
    measured: dict[str, dict[str, str]] = {}
    others: dict[tuple[str, str], dict[str, bool | None]] = {}
    for row in crew.memory.query(sql):
        if row["purpose"] == "measure":
            way, variant, _ = row["strategy"].partition(":")
            measured.setdefault(row["target"], {})[row["id"]] = way if variant else row["source"]
        else:
            others.setdefault((f"{row['purpose']} {row['cycle']}", row["target"]), {})[row["id"]] = None
    items = {split: {item.id: item for bank in measuring.banks(crew, split).values() for item in bank}
             for split in SPLITS}  # fmt: skip
    for target, left in measured.items():
        counted = set[str]()
        for split in SPLITS:
            for name, card in measuring.card(crew, target, split).items():
                asked = {item: said for (_, item), said in card.items() if item in items[split]}
                own = {benchmarks.against(items[split][item], target).id: said for item, said in asked.items()}
                had = {id: said for id, said in own.items() if id in left}
                counted |= had.keys()
                if had:
                    yield Log(name, target, had, True)
        for id, task in left.items():
            if id not in counted:
                others.setdefault((task, target), {})[id] = None
    yield from (Log(task, target, ids, False) for (task, target), ids in others.items())


def to_inspect(crew: Team, out: Path) -> list[Path]:
    """Writes the logs into a folder, for `inspect view`. They hold harmful text, so only their owner can read them."""
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise RecipeError(f"--out {out} cannot be made: {error.strerror}; give a folder that you may write") from error
    crew.watch("export", 0, 0, "")
    todo, done, written = list(logs(crew)), 0, list[Path]()
    if not todo:
        raise RecipeError(f"{crew.run} holds no conversations yet; `breakfix resume {crew.run}` goes on with it")
    total = sum(len(log.outcomes) for log in todo)
    goals = {goal.id: goal for goal in crew.memory.get(Goal)}
    for log in todo:
        top = head(crew, log)
        name = re.sub("[^0-9A-Za-z.+]+", "-", f"{log.task} {log.target}")
        path = out / f"{top['eval']['created'].replace(':', '-')}_{name}_{digest(log.task, log.target)}.json"
        part = path.with_suffix(".part")
        with open(part, "w", encoding="utf-8", opener=private) as file:
            file.write(json.dumps(top, ensure_ascii=False)[:-1] + ', "samples": [\n')
            for number, one in enumerate(samples(crew, log, goals, top["eval"]["model"])):
                file.write(",\n" * bool(number) + json.dumps(one, ensure_ascii=False))
                done += 1
                crew.watch("export", done, total, "conversations")
            file.write("]}\n")
        part.rename(path)
        written.append(path)
    return written


def head(crew: Team, log: Log) -> dict[str, Any]:
    """What is above the samples of a log."""
    [span] = crew.memory.query("select min(at) as began, max(at) as ended from events")
    made = crew.memory.get(Adapter, "id = ?", log.target)
    tags = [f"cycle {one.cycle} {one.stage}" + (f" step {one.within}" if one.within else "") for one in made]
    tags += ["champion"] if log.target == champion(crew) else []
    model = inspect.named(crew.recipe.target.model, log.target)
    about = {"run": crew.run.name, "adapter": log.target, "seed": crew.recipe.seed}
    when = (stamp(span["began"]), stamp(span["ended"]))
    return inspect.head(log.task, model, when, len(log.outcomes), rates(crew, log), tags, about)


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def samples(crew: Team, log: Log, goals: Mapping[str, Goal], model: str) -> Iterator[dict[str, Any]]:
    ids = list(log.outcomes)
    for begin in range(0, len(ids), BATCH):
        some = json.dumps(ids[begin : begin + BATCH])
        verdicts: dict[str, dict[str, Verdict]] = {}
        for verdict in crew.memory.get(Verdict, AT, some):
            verdicts.setdefault(verdict.attempt, {})[role(crew, verdict.judge)] = verdict
        for attempt in crew.memory.get(Attempt, f"id {IN}", some):
            outcome = {log.task: log.outcomes[attempt.id]} if log.counts else {}
            yield inspect.sample(attempt, goals[attempt.goal], verdicts.get(attempt.id, {}), outcome,
                                 crew.recipe.target.system, model)  # fmt: skip


def rates(crew: Team, log: Log) -> list[inspect.Rate]:
    """How often the task's own count, and every judge, said yes."""
    known = [happened for happened in log.outcomes.values() if happened is not None]
    own = [inspect.Rate(log.task, "share", sum(known), len(known), len(log.outcomes))] if log.counts else []
    sql = f"select judge, total(harmful) as yes, count(harmful) as known from verdicts where {AT} group by judge"
    found = crew.memory.query(sql, json.dumps(list(log.outcomes)))
    judged = [
        inspect.Rate(role(crew, row["judge"]), "harmful", int(row["yes"]), row["known"], len(log.outcomes))
        for row in found
    ]
    return own + sorted(judged)


def role(crew: Team, judge: str) -> str:
    """A judge by its role in the run, or else by its own name."""
    return crew.labels_by.get(judge, "measuring_judge" if judge == crew.measures_by else judge)
