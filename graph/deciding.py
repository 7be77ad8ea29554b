"""The two decisions of a cycle: whether another would pay, and which candidate becomes champion."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agents import attacker
from evals import gate, stopping
from evals.calibration import Scorecard, caution, corrected
from evals.gate import Choice
from evals.stopping import Attacked
from graph import attacking, budgets, calibrating, diagnosing, measuring
from graph.team import Team
from tools.memory import ATTACKS
from tools.records import BASE, Attempt
from tools.statistics import Counts, Interval


def stop(crew: Team, champion: str, cycle: int) -> str:
    """Why the run ends now, empty where it goes on; the decision is an event with its numbers."""
    fresh, held_out = attacked(crew, cycle), resisted(crew, champion)
    before = {when: crew.memory.events("choice", when) for when in (cycle - 2, cycle - 1)}
    choices = {when: made[-1] for when, made in before.items() if made}
    gains, fell = [gained(event) for event in choices.values()], faded(crew, cycle, choices)
    rule = crew.recipe.stop
    why = stopping.stop(fresh, held_out, gains, cycle - 1, rule, budgets.over(crew), fell)
    items = max((trial["n"] for event in choices.values() for trial in event.get("trials", ())), default=0)
    numbers = stopping.evidence(fresh, held_out, gains, rule, fell, items)
    said = why or stopping.going_on(numbers)
    crew.memory.event(cycle, "decide", "decision", stop=bool(why), why=said, **numbers)
    return why


def attacked(crew: Team, cycle: int) -> Attacked:
    """What became of a cycle's attacks, those among them that failed: they are no more known than the undetermined."""
    found, (card, _) = crew.memory.events("vulnerabilities", cycle)[-1], diagnosing.scorecard(crew)
    own = f"{ATTACKS} and error <> '' and (purpose = 'attack' or ?)"
    failed = len(crew.memory.ids(Attempt, own, cycle, crew.attacker is None))
    return counted(found["broke"], found["judged"], found["attempts"] + failed, card)


def resisted(crew: Team, champion: str) -> Attacked:
    """What became of the champion's items of the harm benchmark."""
    found = measuring.card(crew, champion).get("harm", {})
    known = [broke for broke in found.values() if broke is not None]
    card, _ = calibrating.known(crew, crew.measures_by, "harmful")
    return counted(sum(known), len(known), len(found), card)


def counted(broke: int, judged: int, asked: int, card: Scorecard | None) -> Attacked:
    suffices = card is not None and not caution(card)
    return Attacked(broke, judged, asked, corrected(broke, judged, card) if card and suffices else None)


def gained(choice: Mapping[str, Any]) -> Interval | None:
    """What a cycle's best candidate gained; of an older run only the upper end is known, and taken for all of it."""
    high = choice["gain_high"]
    return None if high is None else Interval(choice.get("gain", high), choice.get("gain_low", high), high)


def faded(crew: Team, cycle: int, choices: Mapping[int, Mapping[str, Any]]) -> Interval | None:
    """By how much a cycle fresh attacks have become less successful over the last two; None where nobody can say."""
    if not {cycle - 2, cycle - 1} <= choices.keys():
        return None
    same = all(choices[when]["before"] == choices[when]["chosen"] for when in (cycle - 2, cycle - 1))
    return stopping.fading(by_level(crew, cycle - 2), by_level(crew, cycle), same)


def by_level(crew: Team, cycle: int) -> Counts:
    """How many of a cycle's attacks broke the target, and of how many, by the attacker's level."""
    found: dict[str, tuple[float, float]] = {}
    for tally in attacking.tallies(crew, "cycle = ?", cycle):
        level = attacker.level_of(tally.cell, crew.recipe.attack)
        broke, judged = found.get(level, (0.0, 0.0))
        found[level] = broke + tally.broke, judged + tally.judged
    return found


def choose(crew: Team, champion: str, candidates: Sequence[str], cycle: int) -> Choice:
    """The gate's choice, from what became of every item with the base, the champion and each candidate."""
    cards = {name: measuring.card(crew, name) for name in {BASE, champion, *candidates}}
    made = crew.memory.ids(Attempt, ATTACKS, cycle)
    fresh = {(item.goal, item.id) for item, _ in measuring.regressions(crew).values() if made & set(item.parents)}
    recipe = crew.recipe
    earlier = int(recipe.curate.train)
    return gate.choose(cards, BASE, champion, candidates, recipe.gate, cycle, recipe.stop.delta, fresh, earlier)


def keep(crew: Team, choice: Choice, champion: str, chosen: str, why: str, cycle: int) -> None:
    """The choice as an event, with the numbers of every candidate's trial."""
    gain, low, high = choice.gain or (None, None, None)
    crew.memory.event(
        cycle, "promote_gate", "choice", before=champion, chosen=chosen, why=why, gain=gain, gain_low=low,
        gain_high=high, claim=choice.claim, level=choice.level, p=choice.p, alpha=choice.alpha, power=choice.power,
        more=choice.more, trials=[{**asdict(trial), "fault": trial.fault} for trial in choice.trials],
    )  # fmt: skip
