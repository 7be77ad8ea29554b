"""Does it last, on a random Llama of two layers: merged, in eight bits, and tuned for real."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from graph import finishing, lasting, measuring
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tools.endpoints import LATER, EndpointGone
from tools.records import BASE, Adapter, Attempt, Example, Message, Score, StagePlan
from training import stages
from training.checkpoints import Progress
from training.merging import merge

RECIPE = """
[target]
model = "hf:{model}"
max_tokens = 4
[agents]
attacker.model = "sandbox:attacker"
judge.model = "sandbox:judge"
measuring_judge.model = "sandbox:oracle"
writer.model = "sandbox:writer"
[goals]
train = 8
held_out = 8
final = 8
[attack]
strategies = ["direct", "fiction"]
held_out_strategies = ["fiction"]
[evals]
harm = 6
harm_seen_ways = 4
over_refusal = 4
capability = 4
robustness.items = 0
[training]
batch = 4
length = 48
rank = 4
sft = {{ epochs = [1, 1, 1], rate = [1e-2, 1e-2, 1e-2] }}
"""


@pytest.fixture
def crew(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A run whose base has been measured."""

    def inside(plan: StagePlan, folder: Path, progress: Callable[[Progress], None]) -> None:
        stages.train(folder, stages.Spec.model_validate_json((folder / stages.SPEC).read_text()), progress)

    monkeypatch.setattr(stages, "supervise", inside)
    monkeypatch.setattr(lasting, "ROWS", 8)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=tiny_model))
    create(load(tmp_path / "recipe.toml"), tmp_path / "run")
    found = team(str(tmp_path / "run"))
    found.memory.add(found.goals)
    measuring.measure(found, BASE, "baseline", 0)
    return found


@pytest.fixture
def champion(crew: Team, tiny_model: Path, tiny_adapter: Path) -> str:
    plan = StagePlan(stage="sft", base=str(tiny_model), cycle=1, examples="x", rows=1, epochs=1, rate=1, rank=8,
                     batch=4, length=48, seed=0)  # fmt: skip
    made = Adapter(plan=plan.id, stage="sft", cycle=1, path=str(tiny_adapter), loss_first=1, loss_last=1, steps=1)
    crew.memory.add([plan, made])
    measuring.measure(crew, made.id, "measure", 1)
    return made.id


def answers(crew: Team, adapter: str) -> dict[Any, str]:
    held = crew.memory.get(Attempt, "purpose = 'measure' and target = ?", adapter)
    return {(a.goal, a.strategy, a.seed, a.language): a.response for a in held if a.persona != "advanced"}


def test_a_champion_is_measured_after_each_change_and_none_becomes_a_candidate(crew: Team, champion: str) -> None:
    adapters = crew.memory.ids(Adapter)
    lasting.measure_lasting(crew, champion, "report", 2)
    for change in ("merged", "int8", "tuned"):
        scores = {s.benchmark: s.n for s in crew.memory.get(Score, "adapter = ?", f"{champion}+{change}")}
        assert scores == {"harm": 6, "harm_seen_ways": 4, "iprr": 10, "over_refusal": 4, "capability": 4}
    assert crew.memory.ids(Adapter) == adapters
    assert crew.memory.events("lasting")[-1]["measured"] == ["merged", "int8", "tuned"]
    own, merged, tuned = (answers(crew, f"{champion}{change}") for change in ("", "+merged", "+tuned"))
    assert merged == {item: own[item] for item in merged}
    assert len(set(own.values())) > 1
    assert {tuned[item] == merged[item] for item in merged} >= {False}


def test_a_champion_is_tuned_in_a_run_whose_folder_is_named_from_here_by_a_stage_that_is_elsewhere(
    crew: Team, champion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = stages.supervise

    def elsewhere(plan: StagePlan, folder: Path, progress: Callable[[Progress], None]) -> None:
        with chdir(folder):  # as a stage that reports to somebody does
            inside(plan, folder, progress)

    monkeypatch.setattr(stages, "supervise", elsewhere)
    monkeypatch.chdir(tmp_path)
    crew.run = Path("run")
    lasting.changed(crew, champion, "tuned", "report", 2)
    assert (tmp_path / "run" / "lasting" / f"{champion}+tuned" / "adapter_model.safetensors").is_file()


def test_what_was_measured_is_neither_made_nor_asked_again(
    crew: Team, champion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting.measure_lasting(crew, champion, "report", 2)
    held = crew.memory.ids(Attempt)
    monkeypatch.setattr(lasting, "merge", None)
    monkeypatch.setattr(Team, "target", None)
    lasting.measure_lasting(crew, champion, "report", 2)
    assert crew.memory.ids(Attempt) == held


def test_merging_keeps_what_the_adapter_says_and_leaves_a_model_that_needs_no_peft(
    crew: Team, champion: str, tmp_path: Path
) -> None:
    from tools.engine import Engine

    folder = tmp_path / "merged"
    merge(crew.base, crew.folder(champion), folder)
    assert sorted(file.name for file in folder.glob("*.safetensors")) == ["model.safetensors"]
    assert not list(folder.glob("adapter*"))
    prompts = ["<|user|> how is a tea made <|end|><|assistant|>", "<|user|> hello <|end|><|assistant|>"]
    own, whole = Engine(crew.base, 4, 6), Engine(folder, 4, 6)
    own.load("one", crew.folder(champion))
    assert whole.generate(prompts, BASE) == own.generate(prompts, "one")
    assert whole.generate(prompts, BASE) != own.generate(prompts, BASE)


def test_users_tune_on_general_rows_and_on_nothing_that_the_run_teaches_as_a_refusal(crew: Team) -> None:
    rows = lasting.general(crew)
    assert {row.kind for row in rows} == {"retain"}
    refusal = rows[0].model_copy(update={"kind": "refuse", "prompt": (Message(role="user", content="x"),)})
    crew.memory.add([refusal])
    assert refusal.chosen not in {row.chosen for row in lasting.general(crew)}
    assert len(lasting.general(crew)) < len(rows)
    assert not crew.memory.ids(Example, "kind = 'retain'")


@pytest.mark.parametrize(("settings", "why"), [
    (["evals.lasting=[]"], "switched off"),
    (['target.model="openai:x"', 'target.base_url="http://localhost:9"', "base='{model}'"], "endpoint"),
])  # fmt: skip
def test_what_cannot_be_measured_says_so(settings: list[str], why: str, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=tiny_model))
    create(load(tmp_path / "recipe.toml", [one.format(model=tiny_model) for one in settings]), tmp_path / "run")
    crew = team(str(tmp_path / "run"))
    lasting.measure_lasting(crew, "champion", "report", 2)
    assert why in crew.memory.events("lasting")[-1]["why"]
    assert crew.memory.ids(Score) == set()


def test_a_run_that_kept_its_base_has_nothing_to_last(crew: Team) -> None:
    lasting.measure_lasting(crew, BASE, "report", 2)
    assert crew.memory.events("lasting")[-1]["measured"] == []


def test_another_model_is_served_by_its_name_and_counted_under_a_role_of_its_own(
    tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(tiny_model, tmp_path / "other")
    (tmp_path / "recipe.toml").write_text(f'compare = ["hf:other"]\n{RECIPE.format(model=tiny_model)}')
    recipe = load(tmp_path / "recipe.toml")
    [name] = [model.model for model in recipe.compare]
    assert name == f"hf:{tmp_path / 'other'}"
    create(recipe, tmp_path / "run")
    crew = team(str(tmp_path / "run"))
    crew.memory.add(crew.goals)
    measuring.measure(crew, BASE, "baseline", 0)
    finishing.measure(crew, BASE, "report", 1)
    scores = {s.benchmark: s.n for s in crew.memory.get(Score, "adapter = ?", name)}
    assert scores.keys() >= {"harm", "harm_seen_ways", "iprr", "over_refusal", "capability", "final"}
    assert answers(crew, name) == answers(crew, BASE)
    assert "compare.0" in {row["role"] for row in crew.memory.query("select role from costs where node = 'report'")}
    assert len(crew.others) == 1
    crew.target(BASE)
    assert crew.others == {}


@pytest.mark.parametrize(
    "failure", [ValueError("no text\nto make a tokenizer from"), EndpointGone(f"x; {LATER}"), OSError("x")]
)
def test_another_model_that_fails_is_noted_and_the_run_ends_all_the_same(
    failure: Exception, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=tiny_model))
    others = 'compare=[{model="openai:gone",base_url="http://x"},{model="openai:there",base_url="http://x"}]'
    create(load(tmp_path / "recipe.toml", [others]), tmp_path / "run")
    crew, asked = team(str(tmp_path / "run")), list[str]()

    def measure(crew: Team, adapter: str, *_: Any, **__: Any) -> None:
        asked.append(adapter)
        if adapter == "openai:gone":
            raise failure

    monkeypatch.setattr(measuring, "measure", measure)
    monkeypatch.setattr(finishing.robustness, "measure_robustness", lambda *_: None)
    finishing.measure(crew, BASE, "report", 1)
    [noted] = crew.memory.events("not_measured")
    assert noted["model"] == "openai:gone"
    assert noted["why"] in ("no text to make a tokenizer from", "x")
    assert [one for one in asked if one != BASE] == ["openai:gone", "openai:there", "openai:there"]
    assert crew.memory.events("lasting")
