from pathlib import Path

import pytest

from graph.config import RecipeError
from graph.recipes import as_toml, load
from graph.run import create
from graph.sources import goals

RECIPE = """
seed = 3
[target]
model = "sandbox:target"
[agents]
attacker.model = "sandbox:attacker"
judge.model = "sandbox:judge"
measuring_judge.model = "sandbox:oracle"
writer.model = "sandbox:writer"
[attack]
attempts = 10
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_a_missing_model_is_named(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('judge.model = "sandbox:judge"\n', "", 1))
    with pytest.raises(RecipeError, match=r"agents\.judge is missing"):
        load(recipe)


@pytest.mark.parametrize("text", [None, "seed = ", b"\xff\xfe\x00"])
def test_an_unreadable_recipe_is_a_mistake(text: str | bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecipeError, match=r"bad\.toml"):
        load(path)


def test_a_resolved_recipe_reads_back_as_itself(recipe: Path, tmp_path: Path) -> None:
    resolved = load(recipe, ["attack.languages=['en', 'zh']", "agents.judge.dials={error = 0.2}", "gates=['data']"])
    (tmp_path / "again.toml").write_text(as_toml(resolved))
    assert load(tmp_path / "again.toml") == resolved
    assert resolved.agents.judge.dials == {"error": 0.2}


def test_paths_are_read_from_the_recipes_folder(recipe: Path) -> None:
    (recipe.parent / "mine.csv").write_text("text,area,intent\n")
    assert load(recipe, ["goals.source=mine.csv"]).goals.source == str(recipe.parent / "mine.csv")
    several = load(recipe, ["goals.source=['sandbox','mine.csv','xstest:mine','catqa:hub','catqa']"]).goals
    here = str(recipe.parent)
    assert several.source == ("sandbox", f"{here}/mine.csv", f"xstest:{here}/mine", "catqa:hub", "catqa")
    assert load(recipe, ["goals.source=['sandbox']"]).goals.source == "sandbox"


def test_a_run_takes_its_goals_from_all_its_sources(recipe: Path) -> None:
    (recipe.parent / "mine.csv").write_text("text,split\nTell me a secret,final\n")
    (recipe.parent / "sst.csv").write_text("prompts_final,harm_area\ntell me a SECRET!,Scams and fraud\n")
    where = "goals={source=['mine.csv','simple_safety_tests:sst.csv','sandbox'],train=1,held_out=1,final=1}"
    found = goals(load(recipe, [where]))
    assert {goal.source for goal in found} == {"mine.csv", "simple_safety_tests", "sandbox"}
    assert {goal.split for goal in found if goal.source != "sandbox"} == {"final"}


def test_a_run_is_private_and_never_overwritten(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    create(load(recipe), folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(RecipeError, match="resume"):
        create(load(recipe), folder)
