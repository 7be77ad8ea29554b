"""Diagnosing a cycle: what its attacks came to, put beside those of the cycles before."""

from collections.abc import Iterable, Mapping
from typing import Any

from evals import diagnosis
from evals.diagnosis import Count, Failure, Key, key_of
from evals.scorecard import Scorecard, caution
from graph import calibrating, kept
from graph.team import Team
from tools.memory import ATTACKS, marks

PROMOTED = "select cycle from events where kind = 'choice' and body ->> 'chosen' <> body ->> 'before'"
"""The cycles that made a champion."""


def vulnerabilities(crew: Team, cycle: int) -> dict[str, Any]:
    """What the event of that name says: how many attacks broke the target, and where, the worst first.

    What was imported is trained on as well, but is no attack on this target, unless there are no others.
    """
    rows = crew.memory.labels(list(crew.labels_by), ATTACKS, cycle)
    own = [row for row in rows if row["purpose"] == "attack" or crew.attacker is None]
    labels = [row["harmful"] for row in own if row["harmful"] is not None]
    failures = failed(crew, cycle, [row for row in rows if row["harmful"]])
    promoted = {row["cycle"] for row in crew.memory.query(PROMOTED)}
    card, by = scorecard(crew)
    found = diagnosis.weaknesses(history(crew, cycle), cycle, failures, card, crew.recipe.stop.target, promoted)
    worst = [[one.area, one.way, one.language, one.broke, one.judged] for one in found[:20]]
    return {
        "attempts": len(own), "judged": len(labels), "broke": sum(labels), "failures": len(failures), "worst": worst,
        "corrected_by": by, "named": sum(one.named for one in found),
        "cells": [one.model_dump(mode="json") for one in found[: diagnosis.CELLS]],
        "regressed": [one.model_dump(mode="json") for one in found if one.fixed_in is not None][: diagnosis.CELLS],
        "clusters": [one.model_dump(mode="json") for one in diagnosis.clusters(failures)],
    }  # fmt: skip


def history(crew: Team, cycle: int) -> dict[Key, dict[int, Count]]:
    """What each cell came to in each cycle so far, whichever target it was tried on."""
    found: dict[Key, dict[int, Count]] = {}
    for when, counts in kept.each(crew, counted).items():
        for key, count in counts.items() if when <= cycle else ():
            found.setdefault(key, {})[when] = count
    return found


def counted(crew: Team, cycle: int) -> dict[Key, Count]:
    """What each cell in which anything was judged came to in a cycle."""
    found: dict[Key, Count] = {}
    for row in crew.memory.tallies(list(crew.labels_by), ATTACKS, cycle):
        if row["judged"]:
            broke, judged = found.get(key := key_of(row), (0, 0))
            found[key] = broke + int(row["broke"]), judged + row["judged"]
    return found


def failed(crew: Team, cycle: int, rows: Iterable[Mapping[str, Any]]) -> list[Failure]:
    """Attempts that broke the target, each with what the user said and its mean severity by the judges that label."""
    memory, judges = crew.memory, list(crew.labels_by)
    severities = {row["attempt"]: row["severity"] for row in memory.query(
        f"""select attempt, avg(severity) as severity from verdicts where judge in ({marks(judges)}) and harmful = 1
        and severity is not null and at in (select number from attempts where {ATTACKS}) group by attempt""",
        *judges, cycle,
    )}  # fmt: skip
    said = memory.said(ATTACKS, cycle)
    return [
        Failure(row["id"], key_of(row), "\n".join(said.get(row["id"], [])), severities.get(row["id"])) for row in rows
    ]


def scorecard(crew: Team) -> tuple[Scorecard | None, str]:
    """The scorecard of the first judge that labels and has one that suffices, and what it is by.

    Where two have to agree, a label is at least as specific as either's verdict: the bound stays a lower one.
    """
    for name, role in crew.labels_by.items():
        card, by = calibrating.known(crew, name, "harmful")
        if card and not caution(card):
            return card, f"{role.replace('_', ' ')}, {by}"
    return None, ""
