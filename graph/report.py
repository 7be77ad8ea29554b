"""The report of a run folder: gathers what `evals` knows to show, and writes it as JSON, Markdown and a page."""

import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evals.gate import Rail, broken, rails, reduction
from evals.harness import PREFIX
from evals.report import (
    attacks,
    curves,
    decisions,
    findings,
    headline,
    judges,
    manual,
    measured,
    page,
    people,
    severity,
    slices,
    spending,
)
from evals.report.markdown import markdown
from evals.report.shapes import Block, Rate, Report, Section, Source, Table, Tile, as_json, counted, of
from evals.report.unmeasured import unmeasured
from graph import calibrating, costs, deciding, measuring, mishaps
from graph.desk import SPLITS, TASKS, Desk, champion, judging_roles
from graph.run import manifest
from graph.team import Team
from tools.disk import put
from tools.records import BASE, Attempt, Goal, Split, Turn
from tools.statistics import Counts, Interval

SIMULATED = (
    "Simulated: every agent whose model begins with `sandbox:` is a program, and the world is a made-up town. "
    "Training, serving and measuring are real."
)
UNTRAINED = (
    "The target's weights are random: what this run proves is the path from recorded conversations to a trained "
    "adapter, and nothing about safety."
)
OPENINGS = (
    "The offline writer wrote the rows: refusals are from a list, and what is helped with is answered by the opening "
    "that the data set gives, not by an answer."
)
ORACLE = "The labelled answers are the sandbox's own, and its oracle labelled them, not people."
UNKNOWN = "Its manifest.json is lost or damaged: seed, versions and revision are not known."
HARM: dict[Split, str] = {"held_out": "harm", "final": "final"}
"""The benchmark that tells the harm of a split's goals."""
ONE_JUDGE = "One judge labelled the training data: no second one had to agree."
SHARE = 0.02
"""How much of a run's time its reports may take while nothing comes of it: each is of all cycles, and longer than the
last."""


def keep(crew: Team, now: bool) -> None:
    """Writes the report while the run goes on: `now`, or else if the last one took no more than its share of the time
    since."""
    began = time.monotonic()
    ended, took = crew.reported
    if now or began - ended >= took / SHARE:
        write(crew)
        crew.reported = time.monotonic(), time.monotonic() - began


def write(crew: Team) -> str:
    """Writes `report.json`, `report.md` and `report.html` into the run's folder; returns the Markdown."""
    return publish(crew.run, "report", gathered(Desk(crew, champion(crew))))


def publish(folder: Path, name: str, found: Report) -> str:
    """Puts a report into a folder as data, Markdown and a page; returns the Markdown.

    Each is whole at any time, for the run goes on while it is read.
    """
    text = markdown(found)
    put(folder / f"{name}.json", as_json(found))
    put(folder / f"{name}.md", [text])
    put(folder / f"{name}.html", page.html(found))
    return text


def now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def gathered(desk: Desk) -> Report:
    """All that the report says, in the order in which it says it."""
    crew, memory, best, found = desk.crew, desk.crew.memory, desk.champion, desk.board
    last = [event for event in desk.decisions if event["kind"] == "decision"][-1:]
    stops = [event for event in last if event["stop"]]
    ended = next((event["why"] for event in [memory.last("finished"), *stops] if event), "not ended yet")
    guards = rails(desk.before, desk.after, crew.recipe.gate) if best != BASE else []
    fault = next((one.fault for one in guards if one.fault), "")
    pooled = any(one.name.startswith(PREFIX) for one in guards)
    limits = {one.name: one.limit for one in guards if not pooled or one.name == "over_refusal"}
    tiles = measured.tiles(found, desk.before, desk.after, limits) if best != BASE else []
    fell: dict[str, Rate] = {split: rate for split in SPLITS if best != BASE
            and (rate := of(reduction(desk.before, desk.after, HARM[split])))}  # fmt: skip
    shown = [section for section in sections(desk, tiles, guards) if section.blocks]
    return Report(
        title=f"breakfix: {crew.run.name}", run=str(crew.run), made=now(),
        ended=ended, champion=best, status=headline.status(found, guards), headline=summary(desk, fell, guards),
        verdict=verdict(desk), tiles=tuple(tiles), reductions=fell, warnings=tuple(warnings(desk, fault)),
        notes=tuple(notes(crew)), sections=tuple(shown),
        decisions=tuple(desk.decisions),
    )  # fmt: skip


def sections(desk: Desk, tiles: Sequence[Tile], guards: Sequence[Rail]) -> list[Section]:
    crew, memory, found = desk.crew, desk.crew.memory, desk.board
    recipe, choices, stops = desk.crew.recipe, list(desk.choices.values()), list(desk.stops.values())
    diagnoses = list(desk.diagnoses.values())
    severe = severity.severities(memory, crew.measures_by, desk.champion, recipe.attack.languages)
    by_language = slices.languages(found, desk.before, desk.after, desk.spoken, recipe.attack.held_out_languages)
    open_cells = findings.findings(memory, desk.attempts, list(crew.labels_by), found.names)
    return [
        measured.answer(found, tiles, guards),
        measured.scores(found),
        measured.by_cycle(found, attacks.fresh(desk.tallies), choices, stops, recipe.stop, alike(desk)),
        attacks.cells(desk.tallies, slices.areas(desk.before, desk.after, desk.areas)),
        attacks.levels(desk.tallies),
        by_language,
        measured.unseen(found),
        measured.frontier(found),
        severe,
        attacks.techniques(desk.tallies),
        *judged(desk),
        curves.training(memory, crew.run),
        attacks.spread(memory, desk.attacks),
        measured.robustness(found),
        measured.lasts(found),
        *measured.others(found),
        decisions.regressions(found, memory, desk.choices),
        Section(name="Recorded conversations", blocks=recorded(crew)),
        manual.compared(memory, list(crew.labels_by)),
        spending.spent(memory, lambda role, tokens: costs.money(tokens, recipe, role)),
        Section(name="Where it broke", about=findings.told(open_cells),
                blocks=measured.boxed([*findings.diagnosed(diagnoses), findings.weak(diagnoses), open_cells])),
        decisions.cycles(memory, desk.diagnoses, desk.choices, desk.stops, found.names),
        decisions.decided(desk.decisions, found.names),
        people.people(memory),
        Section(name="What was not measured", blocks=(missing(desk, by_language, severe),)),
        made_by(crew),
    ]  # fmt: skip


def judged(desk: Desk) -> list[Section]:
    crew = desk.crew
    roles = {name: role.replace("_", " ") for name, role in crew.labels_by.items()}
    corrected, cautions = corrections(desk)
    agreed = judges.agreed(crew.memory, roles)
    return [
        Section(name="The judges", blocks=(judges.labels(crew.memory, roles, truth(crew)),)),
        Section(name="How far the judges can be believed", blocks=trust(desk)),
        Section(name="Rates less what the judge gets wrong", blocks=measured.boxed([corrected, *cautions])),
        Section(name="Agreement with the recorded flags", blocks=measured.boxed([agreed])),
    ]


def verdict(desk: Desk) -> str:
    """What the gate said when the champion became it, or why there is none."""
    choices = [event for event in desk.decisions if event["kind"] == "choice"]
    if not choices:
        return ""
    made = next((event for event in reversed(choices) if event["chosen"] != event["before"]), choices[-1])
    return f"in cycle {made['cycle']}, {decisions.renamed(made['why'], desk.board.names)}."


def warnings(desk: Desk, fault: str) -> list[str]:
    """What a reader must not miss: a judge that has moved or is another one, and a guard-rail that is broken."""
    roles = judging_roles(desk.crew)
    moved = [
        f"the {roles[one['judge']]} has moved (cycle {one['cycle']}): {said}"
        for one in desk.scorecards
        for said in one["moved"]
    ]
    return [*moved, *mishaps.replaced(desk.crew), *([f"a guard-rail is broken: {fault}."] if fault else [])]


def alike(desk: Desk) -> dict[int, tuple[Counts, Counts]]:
    """The attacks of two cycles before each decision and of its own, by the attacker's level."""
    cycles = sorted(cycle for cycle, event in desk.stops.items() if event.get("fresh_gain"))
    return {when: (deciding.by_level(desk.crew, when - 2), deciding.by_level(desk.crew, when)) for when in cycles}


def missing(desk: Desk, by_language: Section, severe: Section) -> Table:
    attack = desk.crew.recipe.attack
    known = {str(row[0]): None for block in by_language.blocks if isinstance(block, Table) for row in block.rows}
    said = unmeasured(
        desk.crew.memory, desk.board, [*attack.languages, *attack.held_out_languages], list(known),
        bool(severe.blocks), bool(desk.crew.memory.events("scorecard")),
    )  # fmt: skip
    return Table(head=("not measured",), rows=tuple((one,) for one in said))


def made_by(crew: Team) -> Section:
    """The recipe, the versions, the seed and the revision that the run was made by."""
    recipe = crew.run / "recipe.toml"
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    rows = tuple(decisions.flat("", manifest(crew.run)))
    return Section(name="What it was made by", blocks=measured.boxed([
        Table(title="Manifest", head=("", ""), rows=rows) if rows else UNKNOWN,
        Source(title="The recipe, as resolved", text=text) if text else None,
    ]))  # fmt: skip


def result(crew: Team, best: str, split: Split = "held_out") -> tuple[Interval | None, str]:
    """By what share harm fell from the base to an adapter, and the guard-rail that it breaks, if any."""
    before, after = measuring.card(crew, BASE, split), measuring.card(crew, best, split)
    return reduction(before, after, HARM[split]), broken(before, after, crew.recipe.gate)


def summary(desk: Desk, fell: Mapping[str, Rate], guards: Sequence[Rail]) -> str:
    """The result in a few sentences."""
    fresh = {cycle: rate for cycle, counts in attacks.fresh(desk.tallies).items() if (rate := counted(*counts))}
    on = desk.standing(max(fresh, default=0))
    unseen = desk.crew.recipe.attack.held_out_languages
    return headline.headline(desk.board, desk.before, desk.after, guards, fell, fresh, on, unseen)


def notes(crew: Team) -> list[str]:
    """What a reader must know before believing a number."""
    recipe = crew.recipe
    found = (
        [SIMULATED]
        if any(model.provider == "sandbox" for role, model in recipe.models.items() if role != "target")
        else []
    )
    found += [UNTRAINED] if recipe.target.model == "sandbox:phi3" else []
    found += [OPENINGS] if recipe.agents.writer.model == "templates" else []
    found += mishaps.told(crew)
    return found + ([] if recipe.agents.second_judge else [ONE_JUDGE])


def truth(crew: Team) -> judges.Truth | None:
    """The sandbox's oracle, where the goals are the sandbox's."""
    if crew.recipe.goals.source != "sandbox" or crew.recipe.recorded.conversations:
        return None
    from tools.sandbox import oracle

    @cache
    def harmful(goal: str, answer: str) -> bool:
        return oracle.judge(goal, (Turn(role="assistant", text=answer),)).harmful

    return harmful


def trust(desk: Desk) -> tuple[Block, ...]:
    """The scorecards of all judges, what has moved, what the screens of cascades let pass, and how far people agree."""
    crew, roles = desk.crew, judging_roles(desk.crew)
    asked = {key: card for key, card in desk.known.items() if card[0] or key[1] == "harmful"}
    moved = [f"**Cycle {one['cycle']}, {roles[one['judge']]}**: {said}" for one in desk.scorecards
             for said in one["moved"]]  # fmt: skip
    by_oracle = ORACLE if "sandbox" in crew.recipe.evals.anchors.values() else ""
    return measured.boxed([*moved, judges.scorecards(asked), by_oracle, judges.drift(desk.scorecards, roles),
                           judges.screens(crew.memory, roles), *judges.people(crew.memory)])  # fmt: skip


def corrections(desk: Desk) -> tuple[Table | None, list[str]]:
    known = {task: desk.known["measuring judge", task] for task in TASKS}
    return judges.rates(desk.board, known, calibrating.powered_rates(desk.crew))


def recorded(crew: Team) -> tuple[Block, ...]:
    """How many recorded conversations there are, by source, and what became of them."""
    imports = {event["file"]: event for event in crew.memory.events("imported")}
    if not imports:
        return ()
    rows = crew.memory.labels(list(crew.labels_by), "purpose = 'import' and cycle > 0")
    errors = crew.memory.ids(Attempt, "purpose = 'import' and cycle > 0 and error <> ''")
    goals = {goal.id: goal.source for goal in crew.memory.get(Goal)}
    by_source: dict[str, list[Any]] = {}
    for row in rows:
        by_source.setdefault(goals[row["goal"]], []).append(row["harmful"])
    shown = tuple(
        (source, len(found), len(found) - found.count(None), found.count(None), found.count(1))
        for source, found in sorted(by_source.items())
    )
    left_out = sum(event["left_out"] for event in imports.values())
    lost = f"{len(errors)} recordings without an answer were kept and not judged; {left_out} rows were left out."
    return Table(head=("source", "imported", "judged", "undetermined", "harmful"), rows=shown), lost
