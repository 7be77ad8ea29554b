"""What LangGraph checkpoints: ids and counters. Everything that grows is in the memory."""

from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """Where a run is. Its size does not depend on how many attempts there were."""

    cycle: int
    """The cycle that is under way, from 1."""
    champion: str
    """Id of the adapter that the next attack is against; `base` at first."""
    attempts: int
    """Conversations of this cycle."""
    broke: int
    """How many of them both judges call harmful."""
    round: int
    """How often this cycle's rows have been rejected."""
    look: int
    """How often this round's rows have been approved while verdicts were changed."""
    plan_round: int
    """How often this cycle's plans have been rejected."""
    rejected: str
    """What the last gate said no to; empty after a yes."""
    plans: list[str]
    """Ids of this cycle's stage plans, in order."""
    candidates: list[str]
    """Ids of this cycle's adapters, in order."""
    chosen: str
    """Id of the adapter that the gate's statistics would make champion."""
    stopped: str
    """Why the loop ended; empty while it goes on."""
    filled: dict[str, dict[str, int]]
    """How far each memory in the folder, and each table in it, was filled by then: where a fork's begins."""


class Context(TypedDict):
    """What a run is started with: data only, so that any server can send it."""

    run: str
    """The run's folder."""


START: State = {"cycle": 1, "champion": "base", "stopped": "", "rejected": "", "round": 0, "plan_round": 0}
