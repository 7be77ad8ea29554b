"""lm-evaluation-harness itself, on tiny models and on tasks that are written here."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, running
from public import data

from evals import gate, harness, harnessed
from evals.harness import Result, Row
from graph import capability, measuring, screening
from graph.cli import main
from graph.config import RecipeError
from graph.preflight import preflight
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tests.benchmarks.harness import asked
from tools.engine import Engine, Local
from tools.llm import Model, chat
from tools.records import BASE, Adapter, Example, Message, Score, StagePlan

QUESTIONS = [f"how is a {what} made" for what in ("tea", "venom", "water", "tea hello", "venom tea", "no tea")] * 5
CHOICES = ["steep", "it", "sure", "hello", "venom", "hurt"]
CHOOSE = """
task: tiny_choose
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [{choices}]
doc_to_target: right
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
WRITE = """
task: tiny_write
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["#"], max_gen_toks: 6, do_sample: false}}
filter_list:
  - {{name: strict-match, filter: [{{function: regex, regex_pattern: "^never (.*)"}}, {{function: take_first}}]}}
  - {{name: flexible-extract, filter: [{{function: regex, regex_pattern: "(.*)"}}, {{function: take_first}}]}}
metric_list: [{{metric: exact_match, ignore_case: true}}]
"""


def tasks(folder: Path, rights: Sequence[int], answers: Sequence[str]) -> Path:
    """A folder of two tasks, of which these are the right answers."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"question": question, "number": number, "right": right, "answer": answer}
        for number, (question, right, answer) in enumerate(zip(QUESTIONS, rights, answers, strict=True))
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("choose", CHOOSE), ("write", WRITE)):
        filled = text.format(data=folder / "items.jsonl", choices=", ".join(f'"{one}"' for one in CHOICES))
        (folder / f"{name}.yaml").write_text(filled)
    return folder


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Local:
    return Local(engine=Engine(tiny_model, batch=8, max_tokens=6))


@pytest.fixture(scope="module")
def easy(base: Local, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks that the tiny model is good at: what it says is right, but for every tenth item."""
    none = tasks(tmp_path_factory.mktemp("none"), [0] * 30, ["x"] * 30)
    found = asked(base, ["tiny_choose", "tiny_write"], str(none))
    rights = [CHOICES.index(row.said.strip()) for row in found["tiny_choose"].rows]
    answers = [row.said.strip() for row in found["tiny_write"].rows]
    for number in range(0, 30, 10):
        rights[number], answers[number] = (rights[number] + 1) % len(CHOICES), "something else"
    return tasks(tmp_path_factory.mktemp("easy"), rights, answers)


def recipe(folder: Path, model: Path, more: str = "") -> Path:
    """A recipe whose target is the tiny model and whose capability is the tiny tasks."""
    path = folder / "recipe.toml"
    path.write_text(f"""
{more}
[target]
model = "hf:{model}"
concurrency = 8
max_tokens = 6
[agents]
attacker.model = "sandbox:attacker"
judge = {{ model = "sandbox:judge", dials = {{ seed = 1 }} }}
measuring_judge.model = "sandbox:oracle"
writer.model = "sandbox:writer"
[evals]
harm = 4
harm_seen_ways = 0
harm_adaptive = 0
over_refusal = 0
capability = 0
[evals.lm_eval]
tasks = ["tiny_choose", "tiny_write"]
include = "tasks"
limit = 20
full = true
""")
    return path


@pytest.fixture(autouse=True)
def ours(tmp_path: Path, easy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(harness.TASKS, f"{tmp_path}{os.pathsep}{easy}")


@pytest.fixture
def crew(tmp_path: Path, tiny_model: Path, easy: Path, tiny_adapter: Path) -> Team:
    """A run with a candidate that has forgotten."""
    (tmp_path / "tasks").symlink_to(easy)
    create(load(recipe(tmp_path, tiny_model)), tmp_path / "one")
    made = team(str(tmp_path / "one"))
    plan = StagePlan(stage="sft", base="b", cycle=1, examples="x", rows=1, epochs=1, rate=1, rank=1, batch=1, length=1,
                     seed=0)  # fmt: skip
    bad = Adapter(plan=plan.id, stage="sft", cycle=1, path=str(tiny_adapter), loss_first=1, loss_last=1, steps=1)
    made.memory.add([plan, bad])
    return made


def the_candidate(crew: Team) -> str:
    return crew.memory.get(Adapter)[0].id


def row(value: float | None, number: int = 0) -> Row:
    return Row("t", number, str(number), "q", "a", "a", "acc", value)


def test_the_harness_asks_the_model_that_is_loaded_and_its_answers_are_right_or_wrong_by_item(
    base: Local, easy: Path
) -> None:
    found = asked(base, ["tiny_choose", "tiny_write"], str(easy))
    for name, metric in (("tiny_choose", "acc"), ("tiny_write", "exact_match,flexible-extract")):
        result = found[name]
        assert {one.metric for one in result.rows} == {metric}
        assert [one.number for one in result.rows if not one.value] == [0, 10, 20]
        assert result.paired
        assert len(result.outcomes) == 30
        assert result.share.value == 0.9
        assert result.share.low < 0.75 < 0.96 < result.share.high < 1


def test_the_harness_alone_finds_the_same(base: Local, easy: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    alone = simple_evaluate(
        HFLM(pretrained=str(base.engine.path), device="cpu", dtype="float32"), tasks=["tiny_choose", "tiny_write"],
        task_manager=TaskManager(include_path=str(easy), include_defaults=False), apply_chat_template=True,
        bootstrap_iters=0,
    )  # fmt: skip
    found = asked(base, ["tiny_choose", "tiny_write"], str(easy))
    assert alone["results"]["tiny_choose"]["acc,none"] == found["tiny_choose"].share.value
    assert alone["results"]["tiny_write"]["exact_match,flexible-extract"] == found["tiny_write"].share.value


def test_the_items_are_drawn_once_for_everybody(base: Local, easy: Path, tiny_adapter: Path) -> None:
    base.engine.load("bad", tiny_adapter)
    bad = Local(engine=base.engine, adapter="bad")
    ours, theirs = (asked(one, ["tiny_choose"], str(easy), 12, 3)["tiny_choose"] for one in (base, bad))
    assert ours.outcomes.keys() == theirs.outcomes.keys()
    assert ours.outcomes != theirs.outcomes
    numbers = [one.number for one in ours.rows]
    assert len(numbers) == 12
    assert numbers != list(range(12))
    other = asked(base, ["tiny_choose"], str(easy), 12, 4)["tiny_choose"]
    assert [one.number for one in other.rows] != numbers


def test_a_task_that_is_partly_right_has_a_score_and_no_outcomes_to_compare() -> None:
    partly = Result([row(0.25, 1), row(0.75, 2), row(0.5, 3)])
    assert not partly.paired
    assert partly.share.value == 0.5
    assert 0 < partly.share.low < 0.5 < partly.share.high < 1


def test_an_item_without_an_answer_is_undetermined() -> None:
    found = Result([row(1.0, 1), row(None, 2), row(0.0, 3)])
    assert sorted(found.outcomes.values(), key=str) == [False, None, True]
    assert found.share.value == 0.5
    assert found.coverage == 2 / 3


def test_a_candidate_that_lost_a_task_is_discarded_by_its_name(crew: Team) -> None:
    bad = the_candidate(crew)
    for adapter in (BASE, bad):
        capability.measure(crew, adapter, "measure", 1)
    cards = {name: measuring.card(crew, name) for name in (BASE, bad)}
    assert len(cards[BASE]["lm_eval/tiny_choose"]) == 20
    harm = {(str(n), str(n)): True for n in range(50)}
    told = {name: {**card, "harm": dict.fromkeys(harm, name == BASE)} for name, card in cards.items()}
    choice = gate.choose(told, BASE, BASE, [bad], crew.recipe.gate)
    assert choice.champion == BASE
    faults = [rail.fault for rail in choice.trials[0].rails]
    assert any(fault.startswith("lm_eval/tiny_choose changed by -") for fault in faults)
    assert faults[0].startswith("capability changed by -")
    scores = {s.benchmark: s for s in crew.memory.get(Score, "adapter = ?", bad)}
    assert scores["lm_eval/tiny_choose"].n == 20
    assert scores["lm_eval/tiny_choose"].value < 0.6


def test_what_was_asked_is_not_asked_again_and_can_be_read(crew: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, str]] = []
    crew.watch = lambda node, *now: told.append(now)
    capability.measure(crew, BASE, "measure", 1)
    assert told[0] == (64, 20 * len(CHOICES), "lm_eval/tiny_choose: requests")
    assert told[-1] == (20, 20, "lm_eval/tiny_write: requests")
    spent = crew.memory.query("select sum(calls) as n, sum(prompt_tokens) as read from costs where role = 'target'")
    assert spent[0]["n"] == 20 * len(CHOICES) + 20
    assert spent[0]["read"] > spent[0]["n"]
    (file,) = (crew.run / "lm_eval" / "base" / "quick" / "tiny_write").glob("*.jsonl")
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert {one["question"] for one in kept} <= set(QUESTIONS)
    asked: list[str] = []
    answered = harnessed.answered
    monkeypatch.setattr(harnessed, "answered", lambda model, task, *more, **how: (
        asked.append(str(task.config.task)), answered(model, task, *more, **how))[1])  # fmt: skip
    capability.measure(crew, BASE, "measure", 1)
    assert asked == []
    capability.measure_full(crew, BASE, "report", 1)
    assert asked == ["tiny_choose", "tiny_write"]
    full = crew.memory.get(Score, "part = 'full'")
    assert {(one.benchmark, one.n) for one in full} == {("lm_eval/tiny_choose", 30), ("lm_eval/tiny_write", 30)}
    assert {item.text for item in capability.asked_in(crew.recipe)} == set(QUESTIONS)


def test_a_part_that_was_finished_when_a_run_was_killed_is_not_asked_again(
    crew: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = harnessed.answered

    def dies(model: Any, task: Any, *more: Any, **how: Any) -> list[Row]:
        if str(task.config.task) == "tiny_write":
            raise InterruptedError
        return answered(model, task, *more, **how)

    monkeypatch.setattr(harnessed, "answered", dies)
    with pytest.raises(InterruptedError):
        capability.measure(crew, BASE, "measure", 1)
    assert [one.benchmark for one in crew.memory.get(Score)] == ["lm_eval/tiny_choose"]
    monkeypatch.setattr(
        harnessed,
        "answered",
        lambda model, task, *more, **how: (
            answered(model, task, *more, **how) if str(task.config.task) == "tiny_write" else pytest.fail("again")
        ),
    )
    capability.measure(crew, BASE, "measure", 1)
    assert len(crew.memory.get(Score)) == 2


def test_an_endpoint_is_asked_for_what_is_written_with_its_key_and_what_it_does_not_answer_is_undetermined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tasks(tmp_path / "tasks", [0] * 30, ["In Water"] * 30)
    monkeypatch.setenv("TINY_KEY", "secret")

    def say(number: int, asked: dict[str, Any]) -> Any:
        question = asked["messages"][-1]["content"]
        if question == "how is a no tea made":
            return b'{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}'
        return "in water# and more" if "tea" in question else "venom"

    with running(Endpoint(say=say)) as served:
        spec = Model(model="openai:tiny", base_url=served.url, key_env="TINY_KEY")
        found = asked(chat(spec), ["tiny_write"], str(folder), 30, 0, system="Be brief.")["tiny_write"]
    assert set(served.paths) == {"/v1/chat/completions"}
    assert set(served.keys) == {"Bearer secret"}
    assert served.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {one["max_completion_tokens"] for one in served.asked} == {6}
    values = {one.question: one.value for one in found.rows}
    assert values == {question: None if " no " in question else float("tea" in question) for question in QUESTIONS}
    assert found.coverage == 25 / 30


def test_an_endpoint_that_echoes_is_asked_how_likely_the_choices_are(tmp_path: Path, tiny_model: Path) -> None:
    folder = tasks(tmp_path / "tasks", [3] * 30, [""] * 30)

    def say(number: int, asked: dict[str, Any]) -> Any:
        choices = []
        for place, prompt in enumerate(asked["prompt"]):
            likely = [-0.1 if prompt[-1] == 17 else -2.0] * (len(prompt) + 1)
            tops = [{"x": -0.1}] * len(likely)
            choices.append({"index": place, "text": "", "logprobs": {"token_logprobs": likely, "top_logprobs": tops}})
        return json.dumps({"choices": choices}).encode()

    with running(Endpoint(say=say)) as served:
        spec = Model(model="openai:tiny", base_url=served.url)
        account = [0, 0, 0]
        how: dict[str, Any] = {"weights": tiny_model, "account": account}
        found = asked(chat(spec), ["tiny_choose"], str(folder), 5, 0, **how)["tiny_choose"]
    assert set(served.paths) == {"/v1/completions"}
    assert all(one["echo"] for one in served.asked)
    assert len(found.rows) == 5
    assert account[0] == 5 * len(CHOICES)


def test_an_endpoint_that_cannot_weigh_choices_is_named_and_so_is_the_task(tmp_path: Path, tiny_model: Path) -> None:
    folder = tasks(tmp_path / "tasks", [3] * 30, [""] * 30)
    with running(Endpoint(say=lambda number, asked: [("a", {"a": 0.5})])) as served:
        model = chat(Model(model="openai:tiny", base_url=served.url))
        with pytest.raises(ValueError, match=r"tiny_choose.*give `base`"):
            asked(model, ["tiny_choose"], str(folder), 1)
        with pytest.raises(ValueError, match=r"tiny_choose.*does not say how likely") as error:
            asked(model, ["tiny_choose"], str(folder), 1, 0, weights=tiny_model)
    assert "\n" not in str(error.value)


def test_a_task_that_nobody_knows_or_whose_data_is_not_there_is_one_line(tmp_path: Path) -> None:
    folder = tasks(tmp_path / "tasks", [0] * 30, [""] * 30)
    with pytest.raises(ValueError, match=r"'tiny_chose'.*did you mean 'tiny_choose'"):
        harness.known("tiny_chose", str(folder))
    (folder / "items.jsonl").unlink()
    with pytest.raises(ValueError, match=r"'tiny_choose' cannot be had.*needs the network") as error:
        harness.tasks("tiny_choose", str(folder), 0)
    assert "\n" not in str(error.value)


def test_a_task_of_the_hub_says_that_it_needs_the_network() -> None:
    with pytest.raises(ValueError, match=r"'arc_easy' cannot be had.*needs the network") as error:
        harness.tasks("arc_easy", "", 0)
    assert "\n" not in str(error.value)


def test_dice_that_others_throw_fall_as_if_nothing_had_been_measured(base: Local, easy: Path) -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    asked(base, ["tiny_choose"], str(easy), 3)
    assert random.random() == expected


def test_a_row_that_holds_a_question_of_a_task_is_not_trained_on(crew: Team) -> None:
    (question, *_) = (item.text for item in capability.asked_in(crew.recipe))
    for number, said in enumerate((question, "where is the library of the old town")):
        crew.memory.add([Example(
            kind="retain", prompt=(Message(role="user", content=said),), chosen="hello", language="en", cycle=1,
            writer="w", number=number,
        )])  # fmt: skip
    screening.screen(crew, 1, 0)
    assert screening.counted(crew, 1, 0)["sources"] == {"lm_eval/tiny_choose": 1}


def test_a_model_that_is_compared_and_cannot_be_asked_a_task_is_noted(
    tmp_path: Path, tiny_model: Path, easy: Path
) -> None:
    (tmp_path / "tasks").symlink_to(easy)
    with running(Endpoint(say=lambda number, asked: "it it")) as served:
        other = f'compare = [{{ model = "openai:other", base_url = "{served.url}" }}]'
        create(load(recipe(tmp_path, tiny_model, other)), tmp_path / "one")
        crew = team(str(tmp_path / "one"))
        capability.measure(crew, "openai:other", "report", 2)
    (noted,) = crew.memory.events("not_measured")
    assert (noted["benchmark"], noted["model"]) == ("lm_eval/tiny_choose", "openai:other")
    assert [one.benchmark for one in crew.memory.get(Score)] == ["lm_eval/tiny_write"]
    assert crew.memory.query("select distinct role from costs") == [{"role": "compare.0"}]


def test_a_recipe_with_a_task_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, tiny_model: Path, easy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(tmp_path, tiny_model)
    with pytest.raises(RecipeError, match=r"evals\.lm_eval\.include = .*tasks.*nothing lies there"):
        preflight(load(path))
    (tmp_path / "tasks").symlink_to(easy)
    preflight(load(path))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv(harness.TASKS, str(tmp_path / "elsewhere"))
        with pytest.raises(RecipeError, match=r"set \$BREAKFIX_TASKS to that folder"):
            preflight(load(path))
    with pytest.raises(RecipeError, match=r"'tiny_chose'.*did you mean"):
        preflight(load(path, ['evals.lm_eval.tasks=["tiny_chose"]']))
    own = [f'evals.lm_eval={{ tasks = ["{folder}/tiny_choose", "tiny_write"] }}' for folder in ("tasks", easy)]
    for setting, folder in zip(own, (tmp_path / "tasks", easy), strict=True):
        settings = load(path, [setting]).evals.lm_eval
        assert (settings.tasks, Path(settings.include)) == (("tiny_choose", "tiny_write"), folder.resolve())
        preflight(load(path, [setting]))
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(RecipeError, match=r"pip install 'breakfix\[lm-eval\]'"):
        preflight(load(path, [f'evals.lm_eval.include="{tmp_path}"']))


def test_any_model_can_be_asked_by_a_command(
    tmp_path: Path, tiny_model: Path, easy: Path, tiny_adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = f"lm_eval:{easy}/tiny_choose,tiny_write"
    out = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "out.json")]
    assert main(["eval", f"hf:{tiny_model}", "--suite", suite, *out]) == 0
    assert "| tiny_choose | 90.0% [74.4, 96.5] | 30 | 100% |" in capsys.readouterr().out
    scores = json.loads((tmp_path / "out.json").read_text())["benchmarks"][0]["scores"]
    assert [(one["measure"], one["value"]) for one in scores] == [("tiny_choose", 0.9), ("tiny_write", 0.9)]
    assert main(["eval", f"hf:{tiny_model}", "--adapter", str(tiny_adapter), "--suite", suite, *out]) == 0
    assert "| tiny_choose | 90.0%" not in capsys.readouterr().out
    assert main(["eval", f"hf:{tiny_model}", "--suite", f"lm_eval:{easy}/tiny_chose", *out]) == 2
    assert "did you mean" in capsys.readouterr().err


PUBLIC = {
    "gsm8k": ("gsm8k/gsm8k.yaml", "general_gsm8k/test.jsonl", 1319),
    "truthfulqa": ("truthfulqa/truthfulqa_mc1.yaml", "general_truthfulqa/mc_task.json", 817),
    "ifeval": ("ifeval/ifeval.yaml", "general_ifeval/input_data.jsonl", 541),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_harness_asks_public_files_without_the_network(name: str, tmp_path: Path) -> None:
    import lm_eval
    import nltk

    from tools.sandbox import phi3

    yaml, file, size = PUBLIC[name]
    source = data(file)
    if name == "truthfulqa":
        rows = [{"question": row["question"], "mc1_targets": {
            "choices": list(row["mc1_targets"]), "labels": list(row["mc1_targets"].values())}}
            for row in json.loads(source.read_text())]  # fmt: skip
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if name == "ifeval":
        try:
            nltk.data.find("tokenizers/punkt_tab")
        except LookupError:
            pytest.skip("IFEval's checks need nltk's punkt_tab, which is not here: nltk.download('punkt_tab')")
    split = "validation" if name == "truthfulqa" else "train" if name == "ifeval" else "test"
    short = "generation_kwargs: {until: [], max_gen_toks: 4, do_sample: false}"
    (tmp_path / "task.yaml").write_text(f"""
include: {Path(lm_eval.__file__).parent / "tasks" / yaml}
task: local_{name}
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{{split}: {source}}}}}
num_fewshot: 0
training_split: null
fewshot_split: null
{"" if name == "truthfulqa" else short}
""")
    folder = phi3.build(list(source.read_text().splitlines()[:50]), tmp_path / "models")
    model = Local(engine=Engine(folder, batch=4, max_tokens=4))
    assert len(harness.tasks(f"local_{name}", str(tmp_path), 0)[f"local_{name}"].eval_docs) == size
    found = asked(model, [f"local_{name}"], str(tmp_path), 4)[f"local_{name}"]
    assert len(found.known) == 4
    assert found.paired
