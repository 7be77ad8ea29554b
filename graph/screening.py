"""Screening the rows of a cycle: none that holds what is measured is trained on."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from graph import capability, evaluating
from graph.team import Team
from tools.contamination import RUN, Item, Row, contaminated
from tools.converters import decode
from tools.records import BASE, Example, Goal
from tools.similarity import words

SANDBOX = "sandbox"
"""Its goals are worded alike, and told apart by a name: see `items`."""
ALL = 2**62
"""Every row there is: how far an older run, which did not note it, has been looked at."""
CONVERSATIONS = "measured conversations"


def screen(crew: Team, cycle: int, round: int) -> None:
    """Looks for what is measured in the rows written in a round, and notes those that hold it, once.

    With the first cycle's, rows that came from an older run are looked at; where more was written for a round, that
    alone. The memory keeps all; `dropped` names those that are not to be trained on.
    """
    events = crew.memory.events("contaminated")
    before = [event for event in events if (event["cycle"], event["round"]) == (cycle, round)]
    seen = max((event.get("until", ALL) for event in before), default=0)
    new = "cycle = ? and round = ? and rowid > ? or cycle = 0 and ?"
    rows = crew.memory.get(Example, new, cycle, round, seen, not events)
    if before and not rows:
        return
    until = crew.memory.newest("examples")
    found = contaminated(list(texts(crew, rows)), list(items(crew)))
    kinds = {row.id: row.kind for row in rows}
    crew.memory.event(
        cycle, "write", "contaminated", round=round, looked=len(rows), until=until,
        rows=[{"row": one, "kind": kinds[one], **match._asdict()} for one, match in sorted(found.items())],
    )  # fmt: skip


def dropped(crew: Team) -> set[str]:
    """The ids of all rows that were found to hold what is measured."""
    return {row["row"] for event in crew.memory.events("contaminated") for row in event["rows"]}


def counted(crew: Team, cycle: int, round: int) -> dict[str, Any]:
    """How many rows of a round were dropped, by kind, source and how they match, and which; empty where none was."""
    events = [event for event in crew.memory.events("contaminated", cycle) if event["round"] == round]
    rows = [row for event in events for row in event["rows"]]
    by = {name: dict(Counter(row[key] for row in rows)) for name, key in
          (("kinds", "kind"), ("sources", "source"), ("how", "how"))}  # fmt: skip
    return {"n": len(rows), **by, "rows": [row["row"] for row in rows]} if rows else {}


def items(crew: Team) -> Iterator[Item]:
    """All that the target is measured on: goals that are held out, their right answers, and how the base was asked.

    Attacks that worked are replayed on every candidate and trained on all the same: they tell whether the fix took.
    Labelled answers measure judges, and what the target is trained on does not change them.

    The sandbox's goals are the same few words about different names, each of them nearly another's duplicate; so only
    all of its words are a goal's own. Elsewhere nobody can tell a name from its wording, and a row too many is dropped
    rather than one too few.
    """
    hidden = crew.memory.get(Goal, "split <> 'train'")
    for goal in hidden:
        yield Item(goal.text, goal.source, goal.text, "alike" if goal.source == SANDBOX else "asked")
        if len(words(goal.reference)) >= RUN and goal.source != SANDBOX:
            yield Item(goal.reference, goal.source, goal.text)
    said = crew.memory.said("purpose = 'measure' and target = ?", BASE)
    for row in crew.memory.query(
        """select attempts.id, goals.text, goals.source from attempts join goals on goals.id = attempts.goal
        where purpose = 'measure' and target = ? and goals.split <> 'train' order by attempts.id""", BASE,
    ):  # fmt: skip
        if row["id"] in said:
            asked = "\n".join(said[row["id"]])
            yield Item(asked, CONVERSATIONS, row["text"], "alike" if row["source"] == SANDBOX else "said")
    yield from capability.asked_in(crew.recipe)
    yield from evaluating.asked_in(crew.recipe)


def texts(crew: Team, rows: list[Example]) -> Iterator[Row]:
    """What each row says: every message of the user, also decoded, all of them together, the answer, and its goal."""
    goals = {goal.id: goal.text for goal in crew.memory.get(Goal)}
    encoded = crew.memory.query("select id, converters from attempts where purpose <> 'measure' and converters <> '[]'")
    stacks = {row["id"]: json.loads(row["converters"]) for row in encoded}
    for row in rows:
        asked = [message.content for message in row.prompt if message.role == "user"]
        plain = [decoded(stacks.get(row.attempt, []), text) for text in asked]
        said = {*asked, *plain, "\n".join(asked), "\n".join(plain), row.chosen, goals.get(row.goal, "")}
        yield Row(row.id, tuple(sorted(said)), row.goal or row.id)


def decoded(stack: list[str], text: str) -> str:
    """A text without its encoding, where that can be taken off."""
    try:
        return (decode(stack, text) or text) if stack else text
    except ValueError:
        return text
