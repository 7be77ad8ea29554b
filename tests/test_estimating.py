"""What a dry run says that a run takes is what it then takes, within what was said, and makes nothing."""

from pathlib import Path

import pytest
import test_loop

from graph import budgets, estimating, timing
from graph.cli import main
from graph.estimating import Range
from graph.recipes import load
from graph.run import advance, create
from graph.team import team

run = test_loop.run
SETTINGS = ("stop.cycles=1", "stop.target=0.0001")


def test_what_was_said_holds_for_the_run_that_follows(run: Path) -> None:
    recipe = load(run.parent.parent / "recipe.toml", SETTINGS)
    found = estimating.sizes(recipe)
    asked = estimating.calls(recipe, found)
    create(recipe, run)
    advance(run)
    memory = team(str(run)).memory
    holds(found.held, budgets.conversations(team(str(run))))
    spent = memory.query("""select role, sum(calls) as calls, sum(prompt_tokens) + sum(completion_tokens) as tokens
        from costs group by role""")  # fmt: skip
    assert {row["role"] for row in spent} == {*recipe.models} - {"target"}  # which is none that counts here
    for row in spent:
        holds(asked[row["role"]], row["calls"])
        assert estimating.tokens(row["role"], asked[row["role"]]) <= row["tokens"]
    holds(found.held.times(*estimating.KEPT), budgets.size(run))
    taken = {"seconds": timing.worked(memory), **{row["role"]: row["tokens"] for row in spent}}
    each = {what: number / budgets.conversations(team(str(run))) for what, number in taken.items()}
    assert estimating.paced(run, recipe) == pytest.approx(each)
    lines = list(estimating.estimate(recipe, run.parent))
    said = {part: rest for part, _, rest in (line.strip().partition(": ") for line in lines)}
    assert said["time"].endswith("(one); this one may be 2 times as fast or as slow")
    assert said["writer"].endswith("by past runs")


def holds(said: Range, was: float) -> None:
    assert said.low <= was <= said.high, (said, was)


def test_a_dry_run_makes_nothing_and_says_where_it_does_not_know(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.parent.parent
    monkeypatch.chdir(folder)
    assert main(["run", "recipe.toml", "--dry-run", "--set", "stop.cycles=2"]) == 0
    said = capsys.readouterr().out
    assert "no run with these models lies in runs, so that nothing was timed here yet" in said
    assert {"conversations", "  attacker", "  measuring_judge", "tokens", "disk", "memory"} <= {
        line.partition(":")[0] for line in said.splitlines()
    }
    assert sorted(path.name for path in folder.iterdir()) == ["recipe.toml"]
    assert main(["run", "recipe.toml", "--dry-run", "--set", "stop.cycles=0"]) == 2
    assert main(["run", "recipe.toml", "--dry-run", "--for", "ever"]) == 2


def test_runs_of_other_models_say_nothing_of_the_time(run: Path) -> None:
    recipe = load(run.parent.parent / "recipe.toml")
    create(recipe, run)
    team(str(run)).memory.event(1, "attack", "worked", seconds=100)
    assert estimating.paced(run, recipe) == {}
    other = load(run.parent.parent / "recipe.toml", ["agents.judge.model=sandbox:oracle"])
    assert estimating.paced(run, other) == {}
