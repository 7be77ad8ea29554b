"""The final goals: opened once in a run, when it ends, and the memory knows for which models."""

from collections.abc import Sequence

from graph.team import Team


def opened(crew: Team, models: Sequence[str], node: str, cycle: int) -> None:
    """Opens the final goals for some models, and writes so down before any of them is asked.

    Again for the same models it does nothing, so that a run that was killed meanwhile goes on. Raises ValueError for
    others: goals that were looked at twice have chosen something.
    """
    before = crew.memory.events("final_opened")
    if not before:
        crew.memory.event(cycle, node, "final_opened", models=list(models))
    for model in models:
        check(crew, model)


def check(crew: Team, model: str) -> None:
    """Raises ValueError unless the final goals were opened for a model."""
    events = crew.memory.events("final_opened")
    if not events:
        raise ValueError(f"the final goals are opened when a run ends, and not before, for {model}")
    if model not in events[0]["models"]:
        known = ", ".join(events[0]["models"])
        raise ValueError(f"the final goals were opened once, for {known}, and are not opened again for {model}")
