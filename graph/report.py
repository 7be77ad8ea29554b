"""The report of a run folder: gathers what `evals.report` shows, and writes it."""

from typing import Any, get_args

from agents import judge as judging
from evals import attacks, judges, manual, report
from evals.gate import broken, paired, points
from graph import calibrating, measuring
from graph.team import Team
from tools.labels import Task
from tools.records import BASE, Attempt, Goal, Score, Split, Turn
from tools.statistics import Interval

SIMULATED = (
    "Simulated: every agent whose model begins with `sandbox:` is a program, and the world is a made-up town. "
    "Training, serving and measuring are real."
)
UNTRAINED = (
    "The target's weights are random: what this run proves is the path from recorded conversations to a trained "
    "adapter, and nothing about safety."
)
TASKS: tuple[Task, ...] = get_args(Task)
SPLITS: tuple[Split, ...] = ("held_out", "final")
OPENINGS = (
    "The offline writer wrote the rows: refusals are from a list, and what is helped with is answered by the opening "
    "that the data set gives, not by an answer."
)
ORACLE = "The labelled answers are the sandbox's own, and its oracle labelled them, not people."
ONE_JUDGE = "One judge labelled the training data: no second one had to agree."


def write(crew: Team) -> str:
    """Writes `report.md` into the run's folder and returns its text."""
    text = compose(crew)
    (crew.run / "report.md").write_text(text, encoding="utf-8")
    return text


def champion(crew: Team) -> str:
    """The champion so far."""
    choices = crew.memory.events("choice")
    return str(choices[-1]["chosen"]) if choices else BASE


def compose(crew: Team) -> str:
    memory = crew.memory
    best = champion(crew)
    roles = {name: role.replace("_", " ") for name, role in crew.labels_by.items()}
    decisions = memory.events("decision")
    ended = next((event["why"] for event in reversed(decisions) if event["stop"]), "not ended yet")
    sections = {
        "What was measured": report.scores(memory),
        "Languages never trained on": report.unseen(memory),
        "Cycle by cycle": report.cycles(memory),
        "How the attacker climbed": attacks.levels(memory, list(crew.labels_by)),
        "What worked": attacks.techniques(memory, list(crew.labels_by)),
        "How varied the attacks were": attacks.spread(memory, list(crew.labels_by)),
        "Where it broke": report.weak(memory),
        "The judges": report.labels(memory, roles, truth(crew)),
        "How far the judges can be believed": trust(crew),
        "Rates less what the judge gets wrong": corrections(crew),
        "Agreement with the recorded flags": report.agreement(memory, roles),
        "Recorded conversations": recorded(crew),
        "Automated and manual attacks": manual.compared(memory, list(crew.labels_by)),
        "What it cost": report.costs(memory),
    }
    headline = f"Ended: {ended}\n\nChampion: {report.titled(memory, best)}. {summary(crew, best)}"
    return report.markdown(f"breakfix: {crew.run.name}", notes(crew), headline, sections)


def result(crew: Team, best: str, split: Split = "held_out") -> tuple[Interval | None, str]:
    """By what share harm fell from the base to an adapter, and the guard-rail that it breaks, if any."""
    before, after = measuring.card(crew, BASE, split), measuring.card(crew, best, split)
    name = "harm" if split == "held_out" else split
    return report.reduction(before.get(name, {}), after.get(name, {})), broken(before, after, crew.recipe.gate)


def summary(crew: Team, best: str) -> str:
    """The result in a few sentences, from the base and the champion on the same items."""
    if best == BASE:
        return "No candidate has replaced the base."
    sentences = []
    for split in SPLITS:
        fell, _ = result(crew, best, split)
        if fell:
            name = split.replace("_", "-")
            sentences.append(f"Harm on {name} goals asked for in held-out ways fell by {fell.value:.1%} "
                             f"[{fell.low:.1%}, {fell.high:.1%}].")  # fmt: skip
    before, after = measuring.card(crew, BASE), measuring.card(crew, best)
    for benchmark, label in (("over_refusal", "Over-refusal"), ("capability", "Capability")):
        change = paired(before, after, [benchmark])
        if change:
            sentences.append(f"{label} changed by {points(change)}.")
    unseen = {f"harm_{language}": language for language in crew.recipe.attack.held_out_languages}
    rates = [f"{unseen[s.benchmark]} {s.value:.1%}" for s in crew.memory.get(Score, "adapter = ?", best)
             if s.benchmark in unseen]  # fmt: skip
    if rates:
        sentences.append(f"In languages never trained on, harm is now {', '.join(rates)}.")
    fault = broken(before, after, crew.recipe.gate)
    return " ".join([*sentences, f"A guard-rail is broken: {fault}." if fault else ""])


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
    return found + ([] if recipe.agents.second_judge else [ONE_JUDGE])


def truth(crew: Team) -> report.Truth | None:
    """The sandbox's oracle, where the goals are the sandbox's."""
    if crew.recipe.goals.source != "sandbox" or crew.recipe.recorded.conversations:
        return None
    from tools.sandbox import oracle

    return lambda goal, answer: oracle.judge(goal, (Turn(role="assistant", text=answer),)).harmful


def trust(crew: Team) -> str:
    """The scorecards of all judges, what has moved, what the screens of cascades let pass, and how far people agree."""
    roles = {judging.identity(spec, crew.policy): role.replace("_", " ") for role, spec in crew.recipe.judges.items()}
    known = {(role, task): calibrating.known(crew, name, task) for name, role in roles.items() for task in TASKS}
    asked = {key: card for key, card in known.items() if card[0] or key[1] == "harmful"}
    cards = [event for event in crew.memory.events("scorecard") if event["judge"] in roles]
    moved = [f"**Cycle {one['cycle']}, {roles[one['judge']]}**: {said}" for one in cards for said in one["moved"]]
    by_oracle = ORACLE if "sandbox" in crew.recipe.evals.anchors.values() else ""
    shown = (judges.screens(crew.memory, roles), judges.people(crew.memory))
    parts = (judges.scorecards(asked), by_oracle, *moved, *shown)
    return "\n\n".join(part for part in parts if part)


def corrections(crew: Team) -> str:
    known = {task: calibrating.known(crew, crew.measures_by, task) for task in TASKS}
    return judges.rates(crew.memory, known, calibrating.powered_rates(crew))


def recorded(crew: Team) -> str:
    """How many recorded conversations there are, by source, and what became of them."""
    imports = {event["file"]: event for event in crew.memory.events("imported")}
    if not imports:
        return ""
    rows = crew.memory.labels(list(crew.labels_by), "purpose = 'import' and cycle > 0")
    errors = crew.memory.ids(Attempt, "purpose = 'import' and cycle > 0 and error <> ''")
    goals = {goal.id: goal.source for goal in crew.memory.get(Goal)}
    by_source: dict[str, list[Any]] = {}
    for row in rows:
        by_source.setdefault(goals[row["goal"]], []).append(row["harmful"])
    shown = [
        [source, len(found), len(found) - found.count(None), found.count(None), found.count(1)]
        for source, found in sorted(by_source.items())
    ]
    left_out = sum(event["left_out"] for event in imports.values())
    lost = f"\n\n{len(errors)} recordings without an answer were kept and not judged; {left_out} rows were left out."
    return report.table(["source", "imported", "judged", "undetermined", "harmful"], shown) + lost
