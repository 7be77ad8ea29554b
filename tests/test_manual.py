from pathlib import Path

from evals.report.manual import Cell, Count, compared, counted
from evals.report.markdown import text
from tools.memory import Memory
from tools.records import Attempt, Goal, Turn, Verdict

JUDGES = ["first", "second"]


def attempt(goal: Goal, number: int, **changes: object) -> Attempt:
    said = (Turn(role="user", text="q"), Turn(role="assistant", text="a"))
    fields = {"goal": goal.id, "persona": "p", "strategy": "s", "language": "en", "target": "base", "cycle": 1,
              "seed": number, "purpose": "attack", "turns": said}  # fmt: skip
    return Attempt.model_validate(fields | changes)


def remember(memory: Memory, one: Attempt, *said: bool | None, area: str = "") -> None:
    verdicts = [Verdict(attempt=one.id, judge=judge, harmful=harmful, refusal=None, understood=True, area=area)
                for judge, harmful in zip(JUDGES, said, strict=True)]  # fmt: skip
    memory.add([one, *verdicts])


def test_both_kinds_are_counted_by_cell_and_what_one_found_alone_is_named(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    goals = [Goal(text=area, area=area, intent="harmful", source="s", split="train") for area in ("violence", "hate")]
    memory.add(goals)
    violence, hate = goals
    for number in range(10):
        remember(memory, attempt(violence, number), number < 3, number < 3)
    remember(memory, attempt(violence, 10), True, False)
    long = attempt(violence, 11).turns * 2
    remember(memory, attempt(violence, 12, purpose="import", turns=long), True, True)
    remember(memory, attempt(hate, 13, purpose="import"), False, False)
    remember(memory, attempt(hate, 14, purpose="import", cycle=0), True, True)
    assert counted(memory, JUDGES, "purpose = 'attack'") == {Cell("violence", "en", "one"): Count(11, 10, 3)}
    shown = text(compared(memory, JUDGES))
    assert "| automated | 11 | 1 | 3 of 10: 30.0% [10.8, 60.3] | 1 of 3 | 1 |" in shown
    assert "| manual | 2 | 0 | 1 of 2: 50.0% [9.5, 90.5] | 2 of 3 | 1 |" in shown
    assert "| hate | en | one | not tried | 0 of 1: 0.0% [0.0, 79.3] |" in shown
    assert "| automated | violence | en | one | 3 of 10: 30.0% [10.8, 60.3] | not tried |" in shown
    assert "| manual | violence | en | several | 1 of 1: 100.0% [20.7, 100.0] | not tried |" in shown


def test_a_goal_without_an_area_is_counted_where_the_judges_put_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    goal = Goal(text="?", area="", intent="harmful", source="s", split="train")
    memory.add([goal])
    remember(memory, attempt(goal, 1, purpose="import"), True, True, area="hate")
    remember(memory, attempt(goal, 2, purpose="import"), None, None)
    assert counted(memory, JUDGES, "purpose = 'import'") == {
        Cell("hate", "en", "one"): Count(1, 1, 1), Cell("(none)", "en", "one"): Count(1, 0, 0),
    }  # fmt: skip


def test_nothing_is_said_where_there_is_one_kind_alone(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    goal = Goal(text="?", area="", intent="harmful", source="s", split="train")
    memory.add([goal])
    remember(memory, attempt(goal, 1), True, True)
    assert compared(memory, JUDGES).blocks == ()
