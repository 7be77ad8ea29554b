import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import labelled
import pytest
from labelled import XSTEST
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from public import DATA, data
from pydantic import Field

from agents.judge import JudgeModel, identity, judge_of
from evals.suites import load
from evals.suites.results import Measured
from evals.suites.suite import Suite
from graph import evaluating
from graph.cli import main
from graph.config import RecipeError
from graph.evaluating import STORE, Asked, Bench, asked_in, bench_of, made, measure_suites, measured
from graph.preflight import benchmarked, preflight
from graph.recipes import load as recipe
from graph.team import Team, team
from tools.endpoints import EndpointGone
from tools.labels import Label
from tools.memory import Memory
from tools.policy import load as policy
from tools.records import BASE, Adapter, Attempt, Example, Goal, Message, Score, StagePlan, Verdict
from tools.statistics import Confusion, corrected

RECIPE = """
[target]
model = "sandbox:target"
[agents]
attacker.model = "sandbox:attacker"
judge.model = "sandbox:judge"
measuring_judge = "rules"
writer.model = "sandbox:writer"
[evals]
suites = ["continuation", "gsm8k:sums.jsonl"]
suite_items = 5
"""
SUMS = [{"question": f"What is {n} and {n}?", "answer": f"It is so.\n#### {2 * n}"} for n in range(1, 9)]


class Says(BaseChatModel):
    """Gives what it has for the last thing that was said to it, and counts how often it was asked."""

    answers: dict[str, str] = Field(default_factory=dict)
    otherwise: str = "I'm sorry, but I can't help with that."
    asked: list[str] = Field(default_factory=list)
    dies_after: int = 10**9

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        if len(self.asked) >= self.dies_after:
            raise EndpointGone("it is gone")
        self.asked.append(str(messages[-1].text))
        answer = self.answers.get(self.asked[-1].strip(), self.otherwise)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer))])


def rules() -> Bench:
    spec, own = JudgeModel(model="rules"), policy()
    name = identity(spec, own)
    sitting = judge_of(spec, own, lambda _: Says()), 8
    return Bench({"policy": {name: sitting}, "grounding": {}, "": {}}, rubric=False)


def recorded(name: str) -> dict[str, Label]:
    """XSTest's completions of a model, by the prompt: one of them was worded anew since they were made."""
    ids = {row["id"]: row["prompt"].strip() for row in labelled.table(DATA / "xstest/xstest_prompts.csv")}
    rows = labelled.table(DATA / f"xstest/xstest_v2_completions_{name}.csv")
    made = zip(rows, labelled.xstest(DATA, name), strict=True)
    return {ids[row["id"].removeprefix("v2-")]: label for row, label in made}


def people(said: dict[str, Label]) -> Bench:
    """A judge that knows what people said."""

    async def judge(attempt: Attempt, goal: Goal) -> Verdict:
        refusal = "full" if said[goal.text].label else "none"
        return Verdict(attempt=attempt.id, judge="people", harmful=None, refusal=refusal, understood=True)  # type: ignore[arg-type]

    return Bench({"policy": {"people": (judge, 8)}, "grounding": {}, "": {}}, rubric=False)


def watch(*_: object) -> None:
    pass


def on(store: Path, suite: Suite, model: Says, bench: Bench, limit: int = 0, cap: int = 8) -> Measured:
    memory = Memory(store)
    try:
        return measured(memory, suite, suite.drawn(limit, 0), Asked("one", model, cap), BASE, bench, watch)
    finally:
        memory.close()


def whole(found: Measured) -> dict[str, Score]:
    return {one.benchmark.rpartition("/")[2]: one for one in found.scores if not one.part}


@pytest.fixture(scope="module")
def xstest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Score]]]:
    """XSTest's rates for the three models, from their recorded completions: by people and by the rules."""
    [suite] = load(f"xstest:{data('xstest')}")
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for name in XSTEST:
        labels = recorded(name)
        model = Says(answers={asked: label.response for asked, label in labels.items()}, otherwise="?")
        folder = tmp_path_factory.mktemp(name)
        benches = {"people": people(labels), "rules": rules()}
        found[name] = {who: whole(on(folder / "m.sqlite", suite, model, bench)) for who, bench in benches.items()}
        assert len(model.asked) == 450
    return found


def test_xstest_s_rates_by_people_are_those_of_their_labels(xstest: dict[str, dict[str, dict[str, Score]]]) -> None:
    for name in XSTEST:
        labels = labelled.xstest(DATA, name)
        for measure, unsafe in (("iprr", True), ("vprr", False)):
            said = [label.label for label in labels if label.area.startswith("contrast_") == unsafe]
            found = xstest[name]["people"][measure]
            assert (found.value, found.n, found.coverage) == (sum(said) / len(said), 200 if unsafe else 250, 1.0)


@pytest.mark.parametrize("measure", ["iprr", "vprr"])
@pytest.mark.parametrize("name", XSTEST)
def test_xstest_s_rates_by_the_rules_are_peoples_within_the_judge_s_interval(
    xstest: dict[str, dict[str, dict[str, Score]]], name: str, measure: str
) -> None:
    """The judge's errors are measured on the other two models, and carried into the interval (Rogan and Gladen)."""
    mine, truth = xstest[name]["rules"][measure], xstest[name]["people"][measure]
    interval = corrected(mine.value * mine.n, mine.n, errors([other for other in XSTEST if other != name]))
    assert interval is not None
    assert interval.low <= truth.value <= interval.high
    assert abs(mine.value - truth.value) < 0.04
    assert mine.coverage > 0.99


def errors(models: list[str]) -> Confusion:
    """What the rules get right and wrong of the completions of some models."""
    import asyncio

    [(verdict_of, _)] = rules().judges["policy"].values()
    counts: Counter[tuple[bool, bool]] = Counter()
    for label in [label for name in models for label in labelled.xstest(DATA, name)]:
        goal, attempt = label.conversation()
        refusal = asyncio.run(verdict_of(attempt, goal)).refusal  # type: ignore[arg-type]
        counts[label.label, refusal not in (None, "none")] += refusal is not None
    return Confusion(counts[True, True], counts[True, False], counts[False, False], counts[False, True])


def test_what_was_asked_is_not_asked_again_and_a_larger_draw_asks_the_rest(tmp_path: Path) -> None:
    [suite] = load("continuation")
    model, store = Says(), tmp_path / "m.sqlite"
    first = on(store, suite, model, rules(), 6)
    again = on(store, suite, model, rules(), 6)
    assert (len(model.asked), first.scores, first.drawn) == (6, again.scores, 6)
    assert len(on(store, suite, model, rules()).suite.items) == len(model.asked) == len(set(model.asked)) == 16


def test_an_evaluation_that_was_stopped_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    [suite] = load("continuation")
    store, model = tmp_path / "m.sqlite", Says(dies_after=7)
    with pytest.raises(EndpointGone):
        on(store, suite, model, rules(), cap=1)
    rest = Says()
    found = on(store, suite, rest, rules())
    assert len(model.asked) == 7
    assert len(rest.asked) == 9
    assert not set(model.asked) & set(rest.asked)
    assert whole(found)["dr3"].coverage == 0  # the rules grade no severity
    assert found.notes == ["dr3 needs a judge that grades severity, as a rubric does"]


GRADED = {
    "understood": True, "refusal": "none", "advanced": True, "harmful": True, "specific": 4, "convincing": 3,
    "severity": 2, "worst": 1, "evidence": "it is so", "reason": "x", "grade": 3, "claim": "it is so",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "values"),
    [("strongreject", {"score": 0.625, "harm": 1.0}), ("third_party", {"dr1": 1.0}), ("summarisation", {"dr3": 0.0}),
     ("ungroundedness", {"grade": 3.0})],
)  # fmt: skip
def test_a_rubric_gives_what_other_judges_do_not(source: str, values: dict[str, float], tmp_path: Path) -> None:
    [suite] = load(f"strongreject:{data('strongreject')}" if source == "strongreject" else source)
    spec, model = JudgeModel(model="openai:judge", concurrency=8), Says(otherwise=json.dumps(GRADED))
    sitting = judge_of(spec, policy(), lambda _: model), 8
    name = identity(spec, policy())
    bench = bench_of(spec, name, {name: sitting}, lambda _: model)
    found = on(tmp_path / "m.sqlite", suite, Says(otherwise="Sure, it is so."), bench, 5)
    assert {name: (one.value, one.coverage) for name, one in whole(found).items()} == {
        name: (value, 1.0) for name, value in values.items()
    }
    assert found.notes == []


def test_a_conversation_that_has_to_be_led_waits_for_an_attacker(tmp_path: Path) -> None:
    [suite] = load("jailbreak")
    model = Says()
    found = on(tmp_path / "m.sqlite", suite, model, rules())
    assert (model.asked, found.notes) == ([], ["needs an attacker's model to hold its conversations"])
    leads, memory = Says(otherwise='{"message": "Tell me more."}'), Memory(tmp_path / "m.sqlite")
    measured(memory, suite, suite.items, Asked("one", model, 8, "", leads), BASE, rules(), watch)
    held = memory.get(Attempt)
    memory.close()
    assert len(held) == 7
    assert all(len(attempt.kept) > 2 and not attempt.error for attempt in held)
    assert set(model.asked) == {"Tell me more."}


def test_nothing_can_be_trained_on_that_was_made_from_a_benchmark(tmp_path: Path) -> None:
    [suite] = load("continuation")
    on(tmp_path / "m.sqlite", suite, Says(), rules(), 1)
    memory = Memory(tmp_path / "m.sqlite")
    [attempt] = memory.get(Attempt)
    row = Example(kind="refuse", prompt=(Message(role="user", content="x"),), chosen="No.", language="en", cycle=1,
                  attempt=attempt.id, goal=attempt.goal, writer="w", number=0)  # fmt: skip
    with pytest.raises(ValueError, match="held out"):
        memory.add([row])
    memory.close()


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    right = {f"{row['question']}\n\nEnd with the answer, as a number.": "So it is 6." for row in SUMS}
    model = Says(answers=right)
    monkeypatch.setattr(Team, "target", lambda self, adapter: model)
    return team(str(tmp_path))


def test_a_run_keeps_its_scores_on_benchmarks_and_the_conversations_apart(crew: Team) -> None:
    found = measure_suites(crew, BASE, "report", 1)
    assert measure_suites(crew, BASE, "report", 2) == found
    kept = {(one.benchmark, one.part): one for one in crew.memory.get(Score)}
    assert kept["suite/continuation/dr3", ""].coverage == 0
    right = kept["suite/gsm8k/right", ""]
    assert (right.n, right.coverage) == (5, 1.0)
    assert right.value in (0.0, 0.2)  # one sum of eight is 6
    assert (crew.memory.get(Goal), crew.memory.get(Attempt)) == ([], [])
    store = Memory(crew.run / STORE)
    assert len(store.get(Attempt)) == 10
    assert {goal.split for goal in store.get(Goal)} == {"held_out"}
    store.close()


def test_what_benchmarks_ask_is_known_to_those_who_look_for_it_in_training_rows(crew: Team) -> None:
    items = list(asked_in(crew.recipe))
    assert {item.source for item in items} == {"suite/continuation", "suite/gsm8k"}
    assert {"What is 3 and 3?"} <= {item.text for item in items if item.kind == "asked"}
    town = recipe(crew.run / "recipe.toml", ["evals.suites=['sandbox']"])
    assert {item.kind for item in asked_in(town)} == {"alike"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("evals.suites=['xstets:x']", "did you mean 'xstest'"),
        ("evals.suites=['xstest:/nowhere']", "cannot read /nowhere"),
        ("evals.suites=['continuation','continuation:strongreject:x.csv']", "x.csv"),
        ("agents.measuring_judge=sandbox:oracle", "evals.suites has 'continuation', and agents.measuring_judge"),
    ],
)
def test_a_benchmark_that_a_run_could_not_measure_is_refused_before_it_begins(
    setting: str, says: str, crew: Team
) -> None:
    preflight(recipe(crew.run / "recipe.toml"))
    with pytest.raises(RecipeError, match=says) as raised:
        preflight(recipe(crew.run / "recipe.toml", [setting]))
    assert "\n" not in str(raised.value)


def test_a_set_is_not_both_attacked_and_measured_with(crew: Team) -> None:
    sums = "".join(f"{row['question']}\n" for row in SUMS[:3])
    (crew.run / "mine.csv").write_text(f"text\n{sums}Some other goal\n", encoding="utf-8")
    asked = recipe(crew.run / "recipe.toml", ["goals.source=mine.csv"])
    with pytest.raises(ValueError, match="asks most of the 4 goals"):
        benchmarked(asked)


def test_a_run_s_memory_is_not_added_to(crew: Team, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "sandbox:phi3", "--suite", "continuation", "--out", str(crew.run)]) == 2
    assert "is a run, whose memory is its own" in capsys.readouterr().err


def test_an_adapter_is_found_by_what_the_report_calls_it(
    crew: Team, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(crew.run.parent)
    plan = StagePlan(stage="sft", base="b", cycle=1, examples="x", rows=1, epochs=1, rate=1, rank=1, batch=1, length=1,
                     seed=0)  # fmt: skip
    where = f"adapters/{plan.id}"
    adapter = Adapter(plan=plan.id, stage="sft", cycle=1, path=where, loss_first=1, loss_last=1, steps=1)
    run, folder = Path(crew.run.name), Path(crew.run.name, where)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").touch()
    with pytest.raises(RecipeError, match="its base"):
        made(run)
    crew.memory.add([plan, adapter])
    crew.memory.event(1, "promote_gate", "choice", before=BASE, chosen=adapter.id, why="", gain_high=0.1)
    monkeypatch.setattr(evaluating, "rank", lambda folder: 1)  # there is none in it
    names = [run, Path(f"{run}:{adapter.id}"), run / "adapters" / adapter.id, run / "adapters" / adapter.id[:4]]
    assert [made(name) for name in names] == [(folder, adapter.id)] * 4
    assert made(folder) == (folder, plan.id)
    with pytest.raises(RecipeError, match=adapter.id):
        made(run / "adapters" / "nosuch")
    main(["status", str(run)])
    assert f"its adapter: {folder}" in capsys.readouterr().out


def test_a_model_that_cannot_be_asked_is_one_line_and_makes_no_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "mute")
    Path("mute", "chat_template.jinja").unlink()
    shutil.copytree(tiny_model, "hollow")
    Path("hollow", "model.safetensors").unlink()
    Path("adapter").mkdir()
    Path("adapter", "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1}')
    told = {"hf:mute": "chat template of", "hf:hollow": "no *.safetensors there",
            f"hf:{tiny_model} --adapter adapter": "is no adapter: no adapter_model.safetensors"}  # fmt: skip
    for asked, why in told.items():
        assert main(["eval", *asked.split(), "--suite", "continuation", "--judge", "rules", "--out", "out"]) == 2
        line = capsys.readouterr().err.strip()
        assert why in line
        assert "\n" not in line
    assert not Path("out").exists()


MISTAKES = {
    "--suite xstets:x": "did you mean 'xstest'",
    "--suite gsm8k:nowhere": "cannot read nowhere",
    "--suite continuation --judge sandbox:oracle": "knows the sandbox's own goals alone",
    "--suite continuation --judge gpt": "--judge",
    "--suite continuation --limit -1": "--limit -1",
    "--suite continuation --adapter nowhere": "no adapter_config.json there",
    "--suite continuation --json nowhere/x.json": "--json nowhere/x.json cannot be written",
    "--suite continuation --attacker gpt": "--attacker",
    "--suite jailbreak": "--suite has 'jailbreak', whose conversations an attacker has to lead; give --attacker",
    "--suite jailbreak --attacker sandbox:attacker": "--attacker 'sandbox:attacker' knows the sandbox's own goals",
    "--suite xstest": "give xstest:PATH of them, or xstest:hub",
    "--suite lm_eval:/nowhere/town": "--suite lm_eval:/nowhere/town: no folder /nowhere",
    "--suite continuation --judge nope": "or rules, fitted:DIR",
}


@pytest.mark.parametrize("asked", MISTAKES)
def test_a_mistake_gives_one_line_and_makes_no_folder(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluating, "weights", lambda spec, texts, tell: tmp_path)
    assert main(["eval", "sandbox:phi3", *asked.split(), "--out", "out"]) == 2
    line = capsys.readouterr().err.strip()
    assert MISTAKES[asked] in line
    assert "\n" not in line
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("model", "says"),
    [('{ model = "sandbox:target" ', "is not TOML"),
     ("hf:nowhere", "no config.json"), ("gpt", "hf:PATH"), ("sandbox:king", "sandbox:target"),
     ("{ model = 'hf:x', tokens = 3 }", "unknown key tokens"), ("openai:x", "needs a key")],
)  # fmt: skip
def test_a_model_that_cannot_be_had_gives_one_line(
    model: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["eval", model, "--suite", "continuation"]) == 2
    line = capsys.readouterr().err.strip()
    assert says in line
    assert "\n" not in line


def test_a_small_phi3_ends_with_a_table_and_figures_and_so_does_its_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    asked = ["--suite", f"gsm8k:{data('general_gsm8k')}", "--suite", f"xstest:{data('xstest')}"]
    model = '{ model = "sandbox:phi3", max_tokens = 8 }'
    assert main(["eval", model, *asked, "--limit", "4", "--json", "out.json"]) == 0
    captured = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in captured.out.splitlines() if "|" in line]
    assert [row[:2] for row in rows[2:]] == [
        ["xstest", "iprr"], ["xstest", "vprr"], ["xstest", "harm"], ["gsm8k", "right"]
    ]  # fmt: skip
    assert rows[-1][3:5] == ["4", "100%"]
    assert float(rows[-1][5]) >= 0
    figures = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert all(one["seconds"] > 0 for one in figures["benchmarks"])
    assert [one["drawn"] for one in figures["benchmarks"]] == [4, 4]
    [folder] = Path("runs").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    with_adapter(next((tmp_path / "cache" / "breakfix").iterdir()), tmp_path / "lora")
    assert main(["eval", model, "--adapter", "lora", *asked[:2], "--limit", "4"]) == 0
    assert len(list(Path("runs").iterdir())) == 2


def with_adapter(base: Path, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(folder)
