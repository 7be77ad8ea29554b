from pathlib import Path

import pytest

from graph.cli import main
from graph.config import RecipeError, as_toml, load
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


MISTAKES = {
    "attack.atempts=3": ["attack.atempts", "3", "did you mean 'attempts'"],
    "attack.attempts=many": ["attack.attempts", "many"],
    "attack.attempts=0": ["attack.attempts", "0", "greater than 0"],
    "agents.juge.model=x:y": ["agents.juge", "did you mean 'judge'"],
    "agents.judge.model=sandbox:king": ["agents.judge.model", "sandbox:king", "oracle"],
    "agents.judge.model=gpt": ["agents.judge.model", "gpt", "PROVIDER:NAME"],
    "target.model=hf:/nowhere": ["target.model", "hf:/nowhere", "config.json"],
    "policy=/nowhere.toml": ["policy", "/nowhere.toml"],
    "goals.source=/nowhere.csv": ["goals.source", "/nowhere.csv"],
    'attack.held_out_strategies=["crescendoo"]': ["held_out_strategies", "did you mean 'crescendo'"],
    'gates=["data","lunch"]': ["gates", "lunch", "promote"],
    "agents.measuring_judge.model=sandbox:judge": ["measuring_judge", "the same judge as agents.judge"],
    "agents.second_judge.model=sandbox:judge": ["second_judge", "the same judge as agents.judge"],
    "agents.judge.model=nosuch:thing": ["nosuch:thing"],
    "agents.judge.dials={bogus=1}": ["dials.bogus", "1"],
    "agents.judge.dials={error=7}": ["dials.error", "7"],
    "target.model=openai:x": ["target.model", "openai:x", "base"],
    "attack.languages=['en','xx']": ["attack.languages", "xx", "zh"],
    "attack.held_out_languages=['en']": ["held_out_languages", "en", "twice"],
    "recorded.conversations=3": ["recorded.conversations", "3"],
    "goals.source=recipe.toml": ["recipe.toml"],
    "goals.source=xstst:data": ["goals.source", "xstst", "did you mean 'xstest'"],
    "goals.source=['sandbox','xstest:/nowhere']": ["goals.source", "/nowhere"],
    "goals.source=[]": ["goals.source", "empty"],
    "inherit=/nowhere": ["--from", "/nowhere"],
    "compare=['sandbox:target']": ["compare.0", "sandbox:target", "is the target"],
    "compare=['openai:x','openai:x']": ["compare.1", "openai:x", "named twice"],
    "compare=['sandbox:judge']": ["compare.0", "sandbox:judge", "sandbox:target"],
    "compare=['hf:/nowhere']": ["compare.0", "hf:/nowhere", "config.json"],
    "compare=['gpt']": ["compare.0", "gpt", "PROVIDER:NAME"],
    "compare=3": ["compare", "3"],
    "compare=['sandbox:phi3']": ["compare.0", "sandbox:phi3", "recorded.conversations"],
    "compare=['hf:empty']": ["compare.0", "hf:", "empty", "is no model that can be loaded"],
    "compare=hf:x": ["compare", "write a list: [", "hf:"],
    "compare=[{modle='x'}]": ["compare.0.modle", "did you mean 'model'"],
    "recorded.conversations=x": ["recorded.conversations", 'write a list: ["x"]'],
    "evals.robustness.prefill=5": ["evals.robustness.prefill", "write a list: [5]"],
    "evals.robustness=false": ["evals.robustness", "write a table: { items = ..."],
    "evals.lm_eval=['gsm8k']": ["evals.lm_eval", "write a table: { tasks = ..., include = ..."],
    "evals.lm_eval.tasks=['a/x','b/y']": ["evals.lm_eval", "several folders", "include"],
    "evals.anchors=x": ["evals.anchors", "write a table: { NAME = ... }"],
    "evals.suites=['xstest']": ["evals.suites", "xstest:PATH", "xstest:hub"],
    "evals.suites=['xstest:/nowhere']": ["evals.suites", "/nowhere"],
    "evals.suites=['jailbreak']": ["evals.suites", "jailbreak", "an attacker has to lead", "agents.attacker"],
    "training.report_to=['wandb']": ["training.report_to", 'write one name, such as "wandb"'],
    "goals.source=3": ["goals.source = 3", "write one name"],
    "target.model=phi3": ["target.model", "phi3", "hf:PATH"],
    "agents.judge.model=nope": ["agents.judge.model", "nope", "rules, fitted:DIR"],
    "evals.lasting=['pruned']": ["evals.lasting", "pruned", "merged"],
    "training.report_to=tensorbord": ["training.report_to", "tensorbord", "did you mean 'tensorboard'"],
    "training.within=-1": ["training.within", "-1"],
    "seed": ["seed", "KEY=VALUE"],
    "seed.more=1": ["seed", "holds a value"],
}


@pytest.mark.parametrize(("override", "named"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_gives_one_line_with_key_value_and_mend_and_leaves_nothing(
    override: str, named: list[str], recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recipe.parent)
    (recipe.parent / "empty").mkdir()
    (recipe.parent / "empty" / "config.json").write_text("{}")
    assert main(["run", str(recipe), "--set", override]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert [part for part in named if part not in said] == []
    assert not (recipe.parent / "runs").exists()


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
