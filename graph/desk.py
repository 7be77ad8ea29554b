"""What a report is made from, each read once: labels, scores, and what became of every item."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from agents import judge as judging
from evals.benchmarks import Outcomes
from evals.report import attacks, decisions, judges
from evals.report.board import Board, board
from graph import calibrating, measuring
from graph.team import Team
from tools.labels import Task
from tools.records import BASE, Split

SPLITS: tuple[Split, ...] = ("held_out", "final")
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass
class Desk:
    crew: Team
    champion: str

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """Every attack and import of the run's own cycles, with its label."""
        return self.crew.memory.labels(list(self.crew.labels_by), "purpose <> 'measure' and attempts.cycle > 0")

    @cached_property
    def attacks(self) -> list[dict[str, Any]]:
        return [row for row in self.attempts if row["purpose"] == "attack"]

    @cached_property
    def tallies(self) -> list[dict[str, Any]]:
        return attacks.tallied(self.attacks)

    def standing(self, cycle: int) -> str:
        """The champion that a cycle attacked."""
        earlier = [event["chosen"] for event in self.choices.values() if event["cycle"] < cycle]
        return str(earlier[-1]) if earlier else BASE

    @cached_property
    def board(self) -> Board:
        return board(self.crew.memory, self.champion)

    @cached_property
    def before(self) -> dict[str, Outcomes]:
        return self.cards(BASE)

    @cached_property
    def after(self) -> dict[str, Outcomes]:
        return self.before if self.champion == BASE else self.cards(self.champion)

    def cards(self, model: str) -> dict[str, Outcomes]:
        """What became of a model's items, those of the final goals among them once they are opened."""
        splits = SPLITS if ("final", BASE, "") in self.board.scores else SPLITS[:1]
        return {name: found for split in splits for name, found in measuring.card(self.crew, model, split).items()}

    @cached_property
    def spoken(self) -> dict[str, str]:
        """The language of every item: they are named as the base's attempts are."""
        sql = "select id, language from attempts where purpose = 'measure' and target = ?"
        return {row["id"]: row["language"] for row in self.crew.memory.query(sql, BASE)}

    @cached_property
    def known(self) -> dict[tuple[str, Task], judges.Known]:
        """What is known of every judge, by role and question."""
        roles = judging_roles(self.crew).items()
        return {(role, task): calibrating.known(self.crew, name, task) for name, role in roles for task in TASKS}

    @cached_property
    def scorecards(self) -> list[dict[str, Any]]:
        """Every look of a judge of the recipe at the labelled answers."""
        roles = judging_roles(self.crew)
        return [event for event in self.crew.memory.events("scorecard") if event["judge"] in roles]

    @cached_property
    def diagnoses(self) -> dict[int, dict[str, Any]]:
        """What was found in each cycle; the cells and clusters of the last one alone."""
        found = self.crew.memory.by_cycle("vulnerabilities")
        for event in list(found.values())[:-1]:
            event |= {"cells": (), "clusters": ()}
        return found

    @cached_property
    def choices(self) -> dict[int, dict[str, Any]]:
        """Which candidate each cycle chose, with the trials of all."""
        return self.crew.memory.by_cycle("choice")

    @cached_property
    def stops(self) -> dict[int, dict[str, Any]]:
        """Whether each cycle was to be the last."""
        return self.crew.memory.by_cycle("decision")

    @cached_property
    def decisions(self) -> list[dict[str, Any]]:
        """The last decision of each kind in each cycle, whole, in the order in which they were taken: where a run went
        back, those of earlier cycles may be the later."""
        read = {"decision": self.stops, "choice": self.choices}
        kinds = {kind: read[kind] if kind in read else self.crew.memory.by_cycle(kind) for kind in decisions.KINDS}
        events = [{"kind": kind, **event} for kind, some in kinds.items() for event in some.values()]
        return sorted(events, key=lambda event: event["at"])

    @cached_property
    def areas(self) -> dict[str, str]:
        """The harm area of every goal."""
        return {row["id"]: row["area"] for row in self.crew.memory.query("select id, area from goals")}


def champion(crew: Team) -> str:
    """The champion so far."""
    return str(crew.memory.last("choice").get("chosen", BASE))


def judging_roles(crew: Team) -> dict[str, str]:
    """The roles of all judges, by their identity."""
    judges = crew.recipe.judges.items()
    return {judging.identity(spec, crew.policy): role.replace("_", " ") for role, spec in judges}
