"""A cycle's candidates: its stages are run, and what became of each is told."""

from typing import Any

from graph import budgets, mixing
from graph.state import State
from graph.team import Team
from tools.records import BASE, Adapter, Example, StagePlan, digest
from training import stages
from training.checkpoints import Progress


def trained(crew: Team, state: State) -> list[str]:
    """The adapters that the planned stages made, by id. A stage that comes to nothing, and those that would have gone
    on with it, make none."""
    cycle, made = state["cycle"], list[str]()
    rows = mixing.approved(crew, cycle, state["round"])
    for number, one in enumerate(state["plans"]):
        if number and not (crew.run / "adapters" / one).exists() and budgets.reached(crew, "train", cycle):
            break
        plan = crew.memory.get(StagePlan, "id = ?", one)[0]
        discarded = {event["adapter"]: event["why"] for event in crew.memory.events("discarded", cycle)}
        if plan.parent in discarded:
            discard(crew, plan, f"it would go on with {plan.parent}, which came to nothing")
        elif adapter_of(plan) not in discarded:
            crew.watch("train", number, len(state["plans"]), f"starting {plan.stage}")
            made += run(crew, plan, rows[plan.stage])
    return made


def run(crew: Team, plan: StagePlan, rows: list[Example]) -> list[str]:
    """One stage, in a process of its own: the ids of what it made."""

    def progress(seen: Progress) -> None:
        crew.watch("train", seen.step, seen.steps, f"{plan.stage} loss {seen.loss:.3f}")

    folder = None if plan.parent == BASE else crew.folder(plan.parent)
    try:
        with crew.resting():
            adapter = stages.run_stage(plan, rows, crew.run, folder, progress, crew.recipe.training)
    except stages.StageSpoilt as error:
        discard(crew, plan, str(error))
        return []
    made = stages.competing(adapter, crew.run)
    crew.memory.add(made)
    told(crew, adapter, plan)
    return [one.id for one in made]


def told(crew: Team, adapter: Adapter, plan: StagePlan) -> None:
    """Says, once, why a stage ended before its time, and that its card had too little memory."""
    about = {"adapter": adapter.id, "stage": adapter.stage}
    wanted, had = min(crew.recipe.training.at_once, plan.batch), stages.at_once(adapter, crew.run)
    said: dict[str, dict[str, Any]] = {
        "stage_ended": {"why": stages.why(adapter, crew.run)},
        "crowded": {"at_once": had, "wanted": wanted} if had < wanted else {},
    }
    for kind, body in said.items():
        known = {event["adapter"] for event in crew.memory.events(kind, plan.cycle)}
        if adapter.id not in known and any(body.values()):
            crew.memory.event(plan.cycle, "train", kind, **about, **body)


def discard(crew: Team, plan: StagePlan, why: str) -> None:
    """Says why a stage made no candidate."""
    if adapter_of(plan) not in {event["adapter"] for event in crew.memory.events("discarded", plan.cycle)}:
        crew.memory.event(plan.cycle, "train", "discarded", adapter=adapter_of(plan), stage=plan.stage, why=why)


def adapter_of(plan: StagePlan) -> str:
    """The id of the adapter that a stage ends with."""
    return digest("Adapter", plan.id)
