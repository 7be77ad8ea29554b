"""What a process keeps of its memory is what is there, and a cycle takes no longer for all that were before it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from everything import run

from evals.stopping import Attacked
from graph import attacking, budgets, deciding, diagnosing, kept, measuring, mishaps, nodes
from graph.team import Team
from tools.memory import Memory
from tools.records import BASE, Attempt, Example, Goal, Message, Verdict

LOOKS: tuple[Callable[[Team], object], ...] = (
    measuring.worked_ever, lambda crew: diagnosing.history(crew, 99), lambda crew: kept.each(crew, attacking.tallied),
    lambda crew: kept.each(crew, mishaps.undetermined), lambda crew: [row.id for row in kept.rows(crew)],
)  # fmt: skip


@pytest.fixture
def crew(tmp_path: Path) -> Team:
    return run(tmp_path)


def attempt(crew: Team, cycle: int, seed: int, **fields: Any) -> Attempt:
    known = {"goal": crew.memory.get(Goal)[0].id, "persona": "low_skilled", "strategy": "direct", "language": "en",
             "target": BASE, "cycle": cycle, "seed": seed, "purpose": "attack"}  # fmt: skip
    return Attempt.model_validate(known | fields)


def verdict(of: Attempt, judge: str, harmful: bool | None) -> Verdict:
    return Verdict(attempt=of.id, judge=judge, harmful=harmful, refusal=None, understood=True)


def row(cycle: int, number: int, chosen: str = "yes") -> Example:
    return Example(kind="help", prompt=(Message("user", "how is a tree pruned in the winter?"),), chosen=chosen,
                   language="en", cycle=cycle, writer="w", number=number)  # fmt: skip


def test_what_is_kept_is_what_another_process_finds_whoever_adds_to_the_memory(crew: Team) -> None:
    dice, made, others = random.Random(0), list[Attempt](), Memory(crew.memory.path)
    judges = [*crew.labels_by, crew.measures_by, "human:ann", "flag:x"]
    for number in range(60):
        memory = dice.choice([crew.memory, others])
        purpose = dice.choice(["attack", "attack", "measure", "import"])
        one = attempt(crew, dice.randrange(4), 1000 + number, purpose=purpose, error=dice.choice(["", "", "no answer"]))
        made.append(one)
        memory.add([one, row(one.cycle, number, dice.choice(["yes", "de la que el en y a los se del las un por con"]))])
        memory.add(verdict(dice.choice(made), dice.choice(judges), dice.choice([True, True, False, None]))
                   for _ in range(4))  # fmt: skip
        anew = Team(crew.run, crew.recipe)
        assert [look(crew) for look in LOOKS] == [look(anew) for look in LOOKS]
        anew.memory.close()
    others.close()
    assert len(measuring.worked_ever(crew)) > 3
    assert len(kept.rows(crew)) < len(crew.memory.get(Example))


def test_a_cycle_is_looked_at_again_where_something_of_its_attacks_was_added_and_only_then(crew: Team) -> None:
    seen: list[int] = []

    def look(crew: Team, cycle: int) -> int:
        seen.append(cycle)
        return cycle

    first, second = attempt(crew, 7, 0), attempt(crew, 8, 0)
    crew.memory.add([first, second])
    assert kept.each(crew, look)[8] == 8
    seen.clear()
    item = attempt(crew, 7, 1, purpose="measure")
    crew.memory.add([item, verdict(item, crew.measures_by, True)])
    kept.each(crew, look)
    assert seen == []
    crew.memory.add([verdict(first, "human:ann", True)])
    assert list(kept.each(crew, look))[-2:] == [7, 8]
    assert seen == [7]
    crew.memory.add([attempt(crew, 8, 1)])
    kept.each(crew, look)
    assert seen == [7, 8]


def test_of_an_older_run_the_attacks_worked_that_all_its_judges_call_harmful(crew: Team) -> None:
    made = [attempt(crew, 0, number, purpose="import") for number in range(3)]
    failed = attempt(crew, 0, 3, purpose="import", error="no answer")
    own = attempt(crew, 0, 4)
    crew.memory.add([*made, failed, own, *(verdict(one, "its judge", True) for one in (*made[:2], failed, own))])
    crew.memory.add([verdict(made[0], "flag:harmful", False), verdict(made[1], "its other", None)])
    assert measuring.worked_in(crew, 0) == {made[0].id}
    assert made[0].id in measuring.worked_ever(crew)


def test_of_a_cycle_before_the_last_nothing_is_known_that_came_after(
    crew: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {when for counts in diagnosing.history(crew, 1).values() for when in counts} == {1}
    told: list[set[int]] = []
    monkeypatch.setattr(
        attacking.attacker, "plan", lambda goals, known, *more: told.append({t.cycle for t in known}) or []
    )
    crew.memory.add([attempt(crew, 3, 0)])
    attacking.attack(crew, BASE, 2)
    assert told[0] == {1}


def test_a_run_stops_by_what_the_two_cycles_before_gained_as_they_were_decided_last(
    crew: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choice(cycle: int, gain: float) -> None:
        crew.memory.event(cycle, "promote_gate", "choice", before=BASE, chosen=BASE, gain=gain, gain_low=gain - 0.01,
                          gain_high=gain + 0.01, trials=[{"n": cycle}])  # fmt: skip

    for what in ("attacked", "resisted"):
        monkeypatch.setattr(deciding, what, lambda crew, of: Attacked(200, 300, 300))
    for cycle, gain in ((10, 0.5), (11, 0.4), (12, 0.3), (11, 0.0), (12, 0.01), (13, 0.2), (14, 0.2)):
        choice(cycle, gain)
    assert deciding.stop(crew, BASE, 13).startswith("no gain: in two cycles running")
    assert [gain[0] for gain in crew.memory.last("decision")["gains"]] == [0.0, 0.01]
    assert not deciding.stop(crew, BASE, 12).startswith("no gain")


def test_rows_that_people_are_shown_are_not_those_that_are_kept(crew: Team) -> None:
    crew.memory.add([row(1, 0)])
    kept.rows(crew).clear()
    assert row(1, 0).id in {one.id for one in kept.rows(crew)}


def a_cycle(crew: Team, cycle: int) -> None:
    """Attacks, an answer that is measured, and rows."""
    judges = [*crew.labels_by, crew.measures_by]
    for number in range(6):
        one = attempt(crew, cycle, number, purpose="attack" if number else "measure",
                      target=BASE if number else f"of {cycle}")  # fmt: skip
        crew.memory.add([one, row(cycle, number), *(verdict(one, judge, bool(number % 2)) for judge in judges)])
    crew.memory.event(cycle, "data_gate", "rows", round=0)


async def idle(attempt: Attempt, goal: Goal) -> Verdict:
    raise AssertionError(attempt)


def work(crew: Team, cycle: int) -> int:
    """What SQLite does, in tens of its instructions, for what is kept and for what is asked of one cycle."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    a_cycle(crew, cycle)
    crew.memory._connection.set_progress_handler(step, 10)
    for look in LOOKS:
        look(crew)
    diagnosing.vulnerabilities(crew, cycle)
    mishaps.silent(crew, cycle)
    measuring.judge(crew, measuring.ANSWERS, [f"of {cycle}"], {crew.measures_by: (idle, 1)}, "measure", cycle)
    measuring.worst(crew, cycle)
    budgets.reached(crew, "attack", cycle)
    nodes.broken(crew, cycle)
    crew.memory._connection.set_progress_handler(None, 0)
    return steps


def test_for_what_is_kept_the_hundredth_cycle_asks_no_more_of_the_memory_than_the_tenth(crew: Team) -> None:
    asked = {cycle: work(crew, cycle) for cycle in range(5, 105)}
    assert asked[10] > 100
    assert asked[104] < 1.1 * asked[10]
