"""What is varied becomes arms that can be typed, each a valid recipe; a mistake in any of them is told first."""

import string
from pathlib import Path

import pytest
from test_loop import RECIPE

from graph.arms import planned, split, varied
from graph.config import RecipeError


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def experiment(recipe: Path, text: str) -> Path:
    file = recipe.with_name("experiment.toml")
    file.write_text(text)
    return file


def test_values_are_read_as_set_reads_them_and_commas_within_one_do_not_part_it() -> None:
    assert list(split('a,[1, 2],{ b = "c,d" },"e,f"')) == ["a", "[1, 2]", '{ b = "c,d" }', '"e,f"']
    key, values = varied('attack.languages=["en"],["en", "es"]')
    assert (key, values) == ("attack.languages", [["en"], ["en", "es"]])
    assert varied("x=0.1,true,{ a = 1 },openai:gpt-4o")[1] == [0.1, True, {"a": 1}, "openai:gpt-4o"]


@pytest.mark.parametrize("said", ["x", "x=", "=1", "x=1,,2"])
def test_a_vary_that_is_none_is_a_mistake(said: str) -> None:
    with pytest.raises(RecipeError, match="is not KEY=A,B"):
        varied(said)


def test_a_grid_has_every_combination_with_every_seed_and_each_is_the_recipe_but_for_it(recipe: Path) -> None:
    plan = planned(recipe, None, ["training.rank=8,16", "attack.attempts=10,20"], 2, ["seed=5"])
    assert [arm.name for arm in plan.arms] == [
        f"rank={rank}_attempts={attempts}" for rank in (8, 16) for attempts in (10, 20)
    ]
    assert len(plan.runs) == 8
    _, one = plan.runs["rank=16_attempts=10-6"]
    assert (one.training.rank, one.attack.attempts, one.seed) == (16, 10, 6)
    _, other = plan.runs["rank=8_attempts=10-6"]
    assert other.model_copy(update={"training": one.training}) == one


def test_arms_of_one_name_are_told_apart_and_keys_of_one_end_too(recipe: Path) -> None:
    plan = planned(recipe, None, ["agents.judge.dials.error=0,0.1", "agents.writer.dials.error=0,0.1"], 1, [])
    assert plan.arms[1].name == "judge.dials.error=0_writer.dials.error=0.1"
    same = planned(recipe, None, ['attack.languages=["en"],["en","es"]', 'stop.tokens={},{"judge"=5}'], 1, [])
    assert len({arm.name for arm in same.arms}) == 4


def test_an_experiment_lays_its_arms_over_the_recipe_as_parts_of_one(recipe: Path) -> None:
    file = experiment(recipe, """
title = "One"
recipe = "recipe.toml"
seeds = 1
set = { evals = { harm = 4 } }
[arms.first]
[arms.second]
agents.judge.dials = { error = 0.25 }
policy = "policy.toml"
""")  # fmt: skip
    (recipe.parent / "policy.toml").write_text("")
    plan = planned(file, None, [], None, ["evals.capability=7"])
    _, first = plan.runs["first-0"]
    _, second = plan.runs["second-0"]
    assert (first.evals.harm, first.evals.capability, first.evals.over_refusal) == (4, 7, 32)
    assert second.agents.judge.dials == {"error": 0.25, "seed": 1}
    assert second.policy == recipe.parent / "policy.toml"


def test_an_experiment_can_be_asked_of_another_recipe(recipe: Path) -> None:
    file = experiment(recipe, 'recipe = "none.toml"\n[vary]\n"stop.cycles" = [1, 2]')
    assert len(planned(file, recipe, [], 1, []).runs) == 2
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*none\.toml"):
        planned(file, None, [], 1, [])


@pytest.mark.parametrize(
    ("vary", "settings", "said"),
    [
        (["training.rank=8,none"], [], "the arm rank=none: .*training.rank"),
        (["attack.attempt=1,2"], [], "unknown key attack.attempt"),
        (["goals.source=sandbox,nowhere.csv"], [], "the arm source=nowhere.csv: .*nothing lies there"),
        (["training.rank=8,16"], ['gates=["data"]'], "nobody is at the gates"),
        (["training.rank=8"], [], "has one arm"),
        (["training.rank=8,16", "training.rank=4,5"], [], "given twice"),
        (
            [f"{key}={','.join('12345678')}" for key in ("seed", "stop.cycles", "training.rank", "attack.attempts")],
            [],
            "4,096 arms x 1 seeds are over 1,000 runs",
        ),
    ],
)
def test_a_mistake_in_any_arm_is_told_before_anything_starts(
    recipe: Path, vary: list[str], settings: list[str], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        planned(recipe, None, vary, 1, settings)


def test_arms_that_are_called_alike_are_told_apart(recipe: Path) -> None:
    plan = planned(recipe, None, [f"attack.attempts={'3,' * 29}3"], 1, [])
    again = (*string.ascii_lowercase[1:], *range(27, 31))
    assert [arm.name for arm in plan.arms] == ["attempts=3", *(f"attempts=3-{one}" for one in again)]


def test_an_arm_named_as_another_of_two_alike_would_be_is_a_mistake(recipe: Path) -> None:
    for name in ("own", "own-b"):
        (recipe.parent / name).write_text("")
    with pytest.raises(RecipeError, match="two runs would be called 'policy=own-b-0'"):
        planned(recipe, None, ["policy=own,own,own-b"], 1, [])


def test_an_arm_that_no_folder_can_be_called_is_a_mistake(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"'\.\./one' is named as no folder can be"):
        planned(experiment(recipe, 'recipe = "recipe.toml"\n[arms."../one"]\n[arms.two]'), None, [], 1, [])


def test_an_experiment_with_an_unknown_key_says_which(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="unknown key arm"):
        planned(experiment(recipe, 'recipe = "recipe.toml"\n[arm.one]'), None, [], 1, [])


@pytest.mark.parametrize("file", sorted(Path("runs/experiments").glob("[0-9]*.toml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("recipe", ["phi3-mini", "qwen3-4b", "llama3-8b", "smollm2-135m-cpu"])
def test_every_experiment_can_be_planned_for_a_real_model(
    file: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what is there on this machine: weights, keys and sets. Dials are the sandbox's."""
    monkeypatch.setattr("graph.arms.preflight", lambda recipe: None)
    if file.stem in ("09-architecture", "11-judge-error"):
        with pytest.raises(RecipeError, match="dials are for the sandbox's models"):
            planned(file, Path("runs", f"{recipe}.toml"), [], 1, [])
        return
    plan = planned(file, Path("runs", f"{recipe}.toml"), [], 1, [])
    cycles = {"06-one-fine-tune": {1, 3}, "07-skill": {2}, "08-categories": {1, 2}, "10-crafted": {2}}
    assert {one.stop.cycles for _, one in plan.runs.values()} == cycles.get(file.stem, {1})


def test_a_recipe_s_name_that_no_path_has_is_a_mistake(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        planned(experiment(recipe, 'recipe = "a\\u0000"\n[vary]\nseed = [1, 2]'), None, [], 1, [])


@pytest.mark.parametrize("file", sorted(Path("runs/experiments").glob("[0-9]*.toml")), ids=lambda file: file.stem)
def test_every_experiment_is_a_plan(file: Path) -> None:
    plan = planned(file, None, [], None, [])
    assert plan.experiment.question
    assert len(plan.runs) == 3 * len(plan.arms)
