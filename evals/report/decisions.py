"""What each cycle found, wrote, trained and decided, and the numbers that it was decided by."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evals.report.board import Board
from evals.report.measured import boxed
from evals.report.shapes import Cell, Rate, Section, Table, counted, of
from tools.memory import Memory
from tools.records import Adapter
from tools.statistics import Interval

KINDS = {"decision": "stop?", "choice": "champion?", "final_opened": "final goals", "finished": "end"}
"""The events that are decisions."""
PLAIN = ("kind", "at", "cycle", "why", "stop", "before", "chosen", "trials")
"""What stands in columns of its own, or says nothing."""
ID = re.compile(r"\b[0-9a-f]{16}\b")
ABOUT = "Every decision with its numbers, as they were stored when it was taken."
GROWN = (
    "The suite grows: each column is the attacks that had worked up to that cycle, or as many of them as are replayed, "
    "and another set of items than the next. Models can be compared within a column, and not across. A cycle's suite "
    "holds the attacks that it made on the champion of that time, which broke it by choice."
)
SUITES = 10
"""Most cycles whose attacks that worked have a column: it is a row for each model, too."""
Events = Mapping[int, Mapping[str, Any]]
"""Those of one kind, by cycle."""
NAMED = 5
"""Attacks that came back that are named."""
MOST = 40
"""Numbers shown of a decision; report.json has them all."""


def cycles(memory: Memory, diagnoses: Events, choices: Events, stops: Events, names: Mapping[str, str]) -> Section:
    """What each cycle found, wrote, trained and decided."""
    rows: list[tuple[Cell, ...]] = []
    rows_of = memory.by_cycle("rows")
    for cycle, found in diagnoses.items():
        broke, judged = found["broke"], found["judged"]
        if not found["attempts"]:
            continue
        stages = "; ".join(
            f"{one.stage.upper()} {one.steps} steps, loss {one.loss_first:.3f} to {one.loss_last:.3f}"
            for one in memory.get(Adapter, "cycle = ?", cycle)
        )
        lost = f"{found['attempts'] - judged} (coverage {judged / found['attempts']:.1%})"
        what = choices[cycle]["why"] if cycle in choices else stops.get(cycle, {}).get("why", "")
        attacked = counted(broke, judged) or Rate(value=0, n=0)
        rows.append((cycle, attacked, lost, *written(rows_of.get(cycle, {})), stages, renamed(what, names)))
    head = ("cycle", "attacks that broke it", "undetermined", "rows written", "rows trained on (with replay)",
            "training", "outcome")  # fmt: skip
    return Section(name="Cycle by cycle", blocks=(Table(head=head, rows=tuple(rows)),) if rows else ())


def written(event: Mapping[str, Any]) -> tuple[str, str]:
    """The rows that were written, and those that were trained on."""
    new = ", ".join(f"{n} {kind}" for kind, n in event.get("written", {}).items())
    used = ", ".join(f"{n} {kind}" for kind, n in sorted(event.get("kinds", {}).items()))
    if event.get("unanswered"):
        new += f"; {event['unanswered']} failures got none"
    if event.get("contaminated"):
        sources = ", ".join(f"{n} {source}" for source, n in event["contaminated"]["sources"].items())
        new += f"; {event['contaminated']['n']} dropped, as they match what is measured with ({sources})"
    return new, used


def decided(events: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Section:
    """Every decision of the run, in order, from their events."""
    rows = [
        (event["cycle"], KINDS[event["kind"]], outcome(event, names), renamed(str(event.get("why", "")), names),
         renamed(numbers({key: value for key, value in event.items() if key not in PLAIN}), names))
        for event in events
    ]  # fmt: skip
    head = ("cycle", "question", "answer", "why", "by these numbers")
    table = Table(head=head, rows=tuple(rows)) if rows else None
    return Section(name="Decisions", about=ABOUT if rows else "", blocks=boxed([table, tried(events, names)]))


def tried(events: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Table | None:
    """Every candidate against the champion of its time, as the gate saw it."""
    rows: list[tuple[Cell, ...]] = []
    for event in sorted(events, key=lambda event: event["cycle"]):
        for one in event.get("trials", ()):
            gain, iprr = (of(Interval(*one[key]), "points") if one.get(key) else None for key in ("gain", "iprr"))
            rows.append((
                event["cycle"], names.get(one["candidate"], one["candidate"]), gain, one.get("n"), one.get("fell"),
                one.get("rose"), f"{one.get('p', 1):.2g}", iprr, len(one.get("regressed", ())),
                one.get("fault") or "holds every guard-rail",
            ))  # fmt: skip
    head = ("cycle", "candidate", "fall in harm", "items", "mended", "newly broken", "p, exact McNemar",
            "change in IPRR", "old attacks that work again", "")  # fmt: skip
    return Table(title="Every candidate's trial", head=head, rows=tuple(rows)) if rows else None


def outcome(event: Mapping[str, Any], names: Mapping[str, str]) -> str:
    kind = event["kind"]
    if kind == "decision":
        return "stop" if event.get("stop") else "go on"
    if kind == "choice":
        kept = event.get("before") == event.get("chosen")
        return "champion stays" if kept else f"new champion: {renamed(str(event.get('chosen', '')), names)}"
    return "opened" if kind == "final_opened" else "finished"


def regressions(found: Board, memory: Memory, choices: Events) -> Section:
    """Attacks that worked before, replayed: how many work on each model, and which came back in which candidate."""
    came_back = [
        (event["cycle"], found.names.get(one["candidate"], one["candidate"]), len(one["regressed"]),
         ", ".join(one["regressed"][:NAMED]))
        for event in choices.values() for one in event.get("trials", ()) if one.get("regressed")
    ]  # fmt: skip
    head = ("cycle", "candidate", "attacks that the champion withstood and that work again", "the first of them")
    named = Table(head=head, rows=tuple(came_back)) if came_back else None
    table = suites(found)
    last = memory.last("regressions")
    size = " Of {worked} attacks that worked so far, {replayed} are replayed.".format_map(last) if last else ""
    size += f" Shown are the suites of the last {SUITES} cycles." if len(found.suites) > SUITES else ""
    about = GROWN + size if table else ""
    return Section(name="Attacks that worked before", about=about, blocks=boxed([table, named]))


def suites(found: Board) -> Table | None:
    """A column for each of the last cycles' suites, as the items of one are not those of another."""
    late = dict(list(found.suites.items())[-SUITES:])
    models = [model for model in found.names if any(model in suite for suite in late.values())]
    rows = [(found.names[model], *(suite.get(model) for suite in late.values())) for model in models]
    sizes = [max(score.n or 0 for score in suite.values()) for suite in late.values()]
    head = ("model", *(f"up to cycle {cycle} (n {n})" for cycle, n in zip(late, sizes, strict=True)))
    return Table(title="How many still work", head=head, rows=tuple(rows)) if rows else None


def numbers(body: Mapping[str, Any]) -> str:
    """The numbers of an event, whatever its keys are: `key 0.12, other.key 3`."""
    found = list(flat("", body))
    more = f", and {len(found) - MOST} more in report.json" if len(found) > MOST else ""
    return ", ".join(f"{name} {value}" for name, value in found[:MOST]) + more


def flat(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple) and value and all(isinstance(one, int | float) for one in value):
        yield name, f"[{', '.join(f'{one:.4g}' for one in value)}]"
    elif isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        yield name, f"[{', '.join(value)}]"
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from flat(f"{name}.{number}" if name else str(number), inner)
    elif isinstance(value, float):
        yield name, f"{value:.4g}"
    elif value not in (None, ""):
        yield name, str(value)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with the ids of adapters put as the report calls them."""
    return ID.sub(lambda found: names.get(found[0], found[0]), text)
