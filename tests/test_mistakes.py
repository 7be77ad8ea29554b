"""A user's mistakes: each gives one line that names it and what would do, exit status 2, and nothing on disk."""

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
from endpoint import Endpoint, running
from test_config import RECIPE

from graph.cli import main
from graph.recipes import load
from graph.run import create
from graph.team import team

MEND = re.compile(
    r"\b(give|write|set|name|leave|pip install|add|get|make|compare|check|fit it again|should (be|have)|is it)\b"
    r"|did you mean|there are|--help|`breakfix|`ls runs`|`lm-eval|as format|goes on|nothing to train on|there should be"
)
"""What would do."""
IN_A_RECIPE: dict[str, list[str]] = {
    # of a kind
    "seed=x": ["seed", "x", "integer"],
    "seed=1.5": ["seed", "1.5"],
    "seed=-1": ["seed", "-1", "or equal to 0"],
    "seed=99999999999": ["seed", "99999999999", "less than"],
    "seed={a=1}": ["seed", '"a": 1'],
    "target=sandbox:target": ["target", "sandbox:target", "write a table"],
    "target.model=''": ["target.model"],
    "target.temperature=-1": ["target.temperature", "-1"],
    "target.temperature=inf": ["temperature", "finite number"],
    "target.price=[nan,1]": ["target.price", "finite number"],
    "target.concurrency=0": ["target.concurrency", "0"],
    "agents=3": ["agents", "write a table"],
    "attack.languages=en": ["attack.languages", 'write a list: ["en"]'],
    "training.rank=3.5": ["training.rank", "3.5"],
    "gate.alpha=2": ["gate.alpha", "2", "less than 1"],
    "stop.hours=-1": ["stop.hours", "-1"],
    "stop.tokens={nobody=3}": ["stop.tokens", "nobody", "there are target"],
    "wait.data={minutes=1,otherwise='x'}": ["wait.data.otherwise", "approve"],
    "goals.train=0": ["goals.train"],
    "=3": ["=3", "KEY=VALUE"],
    "a..b=3": ["unknown key a", "there are seed"],
    "seed=[1": ["seed", "[1"],
    # judges and other models
    "agents.judge={model='majority',members=['rules']}": ["majority", "1 members", "two or more"],
    "agents.judge={model='cascade',members=['rules','rules']}": ["cascade", "the same judge twice"],
    "agents.judge={model='openai:x',guard='llama'}": ["guard", "llama", "llama_guard_3"],
    "agents.judge={model='rules',guard='wildguard'}": ["guard", "wildguard", "'rules' is none"],
    "agents.judge={model='rules',unsure=[0.9,0.1]}": ["unsure", "0.9", "[LOW, HIGH]"],
    "agents.judge=fitted:/nowhere": ["/nowhere", "no fitted judge", "give"],
    "agents.judge=openai:x": ["openai:x", "set $OPENAI_API_KEY"],
    "agents.judge={model='openai:x',key_env='MY_KEY'}": ["openai:x", "set $MY_KEY"],
    "agents.judge={model='openai:x',key_env='AWS_SECRET_ACCESS_KEY'}": ["key_env", "AWS_SECRET_ACCESS_KEY"],
    "evals.lm_eval={tasks=['tiny'],include='mine'}": ["evals.lm_eval.include", "mine", "set $BREAKFIX_TASKS"],
    "agents.judge={model='openai:x',base_url='nowhere'}": ["base_url", "nowhere", "http://localhost:8000/v1"],
    "agents.judge={model='openai:x',base_url='file:///etc/passwd'}": ["base_url", "file:///etc/passwd", "write one"],
    "agents.judge={model='openai:x',base_url='http://h:99999/v1'}": ["base_url", "h:99999", "write one"],
    "agents.judge={model='openai:x',base_url='http://[::1'}": ["base_url", "http://[::1", "write one"],
    "agents.judge.members=['rules','openai:x']": ["takes no members", "write model = 'majority'"],
    "target.adapters=vllm": ["target.adapters", "leave it out"],
    "base=/nowhere": ["base", "/nowhere"],
    # files
    "goals.source=empty.csv": ["empty.csv", "no column 'text'"],
    "goals.source=folder.csv": ["folder.csv", "directory"],
    "goals.source=binary.csv": ["binary.csv", "not UTF-8"],
    "goals.source=deep.jsonl": ["deep.jsonl", "too deeply"],
    "goals.source=loop.csv": ["goals.source", "loop.csv", "cannot be a path"],
    "goals.source=badsplit.csv": ["badsplit.csv, line 2", "lunch", "held_out"],
    'goals.source="a\\u0000.csv"': ["goals.source", "cannot be a path"],
    "policy=deep.toml": ["deep.toml", "not TOML"],
    "policy=areas.toml": ["areas.toml", "areas", "write a table"],
    "policy=folder.csv": ["folder.csv", "directory"],
    "data.retain=empty.jsonl": ["empty.jsonl", "is empty"],
    "data.retain=plain": ["plain", "without a suffix"],
    "data.retain='hub:'": ["hub:", "no repository"],
    "training.launch=plain": ["training.launch", "plain"],
    "curate.sources=['goals.csv']": ["goals.csv", "columns ['text'"],
    "curate.train=true": ["curate.train", "give"],
    "evals.anchors={harmful='goals.csv'}": ["goals.csv", "no column 'goal'"],
    "recorded.conversations=[{path='plain',format='word'}]": ["format", "word", "jsonl"],
    "recorded.conversations=[{path='deep.jsonl',format='jbb'}]": ["deep.jsonl", "too deeply", "jbb"],
    # languages and encodings
    "attack.languages=['en','en']": ["attack.languages", "en", "twice"],
    "attack.converters=['base65']": ["attack.converters", "base65", "did you mean 'base85' or 'base64'"],
    "attack.converters=['caesar(shift=x)']": ["caesar(shift=x)", "write parameters"],
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
"""What `breakfix run recipe.toml --set` is given, and what the line says."""
ON_THE_LINE: dict[str, list[str]] = {
    # what the parser sees
    "": ["COMMAND"],
    "rnu recipe.toml": ["rnu", "--help"],
    "run": ["RECIPE.toml"],
    "run recipe.toml --sset x": ["--sset"],
    "run recipe.toml --set": ["--set"],
    "import goals.csv --format word --run {run}": ["--format", "word"],
    "export {run} --what word": ["--what", "word"],
    "doctor --card big": ["--card", "big"],
    "label {run} --n many": ["--n", "many"],
    "fork {run}": ["--at"],
    "console": ["RUN"],
    "history {run} more": ["more"],
    # ablations
    "ablate recipe.toml": ["recipe.toml", "one arm", "--vary"],
    "ablate recipe.toml --vary training.rank=8": ["recipe.toml", "one arm", "--vary"],
    "ablate recipe.toml --vary training.rank=8,8.5": ["training.rank", "8.5"],
    "ablate recipe.toml --vary training.rnk=8,9": ["unknown key training.rnk"],
    "ablate recipe.toml --vary training.rank": ["--vary", "KEY=A,B"],
    "ablate recipe.toml --vary training.rank=8,9 --on slurm": ["--on 'slurm'", "ray"],
    "ablate recipe.toml --vary training.rank=8,9 --jobs 0": ["--jobs 0", "1 or more"],
    "ablate recipe.toml --vary training.rank=8,9 --seeds 0": ["--seeds 0", "1 or more"],
    "ablate nowhere.toml --vary training.rank=8,9": ["nowhere.toml", "No such file"],
    # recipes
    "run nowhere.toml": ["nowhere.toml", "No such file"],
    "run folder.csv": ["folder.csv", "directory"],
    "run broken.toml": ["broken.toml", "not TOML", "line 1"],
    "run twice.toml": ["twice.toml", "not TOML", "line 2"],
    "run binary.csv": ["binary.csv", "not text"],
    "run loop.csv": ["loop.csv", "symbolic links"],
    "run deep.toml": ["deep.toml", "not TOML"],
    "run {run}": ["{run}", "directory"],
    "doctor nowhere.toml": ["nowhere.toml"],
    "doctor recipe.toml --recipe twice.toml": ["twice.toml", "one recipe"],
    "doctor --card -3": ["--card -3", "give GB"],
    "doctor --card nan": ["--card nan", "give GB"],
    "step nowhere.toml": ["nowhere.toml"],
    "run recipe.toml --gates lunch": ["gates", "lunch", "promote"],
    # names
    "run recipe.toml --run a/b": ["--run", "a/b", "without slashes"],
    "run recipe.toml --run ..": ["--run", ".."],
    "run recipe.toml --run ''": ["--run", "''"],
    "run recipe.toml --run /abs": ["--run", "/abs"],
    "run recipe.toml --run 'a\nb'": ["--run", "no name"],
    f"run recipe.toml --run {'x' * 300}": ["--run", "xxx", "100"],
    "run recipe.toml --run one": ["one is there already", "another name"],
    "run recipe.toml --from nowhere": ["--from", "nowhere", "give the folder of a run"],
    "run recipe.toml --from plain": ["--from", "plain"],
    "fork {run} --at 1 --name a/b": ["--name", "a/b"],
    "fork {run} --at 99 --name new": ["has not begun", "breakfix resume"],
    "fork nowhere --at 1 --name z": ["nowhere"],
    "chat {run} --with nope": ["--with", "nope", "champion"],
    "step {run} --until lunch": ["lunch", "baseline"],
    "step {run} --set seed=4": ["is a run, whose recipe is fixed"],
    "approve {run}": ["{run}", "waits at no gate"],
    "reject {run} --why x": ["{run}", "waits at no gate"],
    "review {run}": ["{run}", "waits at no gate"],
    "label {run} --as ''": ["--as ''", "give a name"],
    "label {run} --as Ana --n 0": ["--n 0"],
    "export {run} --what model": ["the champion of", "is the base"],
    "export {run} --what data --adapter zz": ["zz"],
    "export {run} --what inspect --merged": ["--merged", "--what model"],
    "export {run} --what data --push x": ["'x'"],
    "export {run} --what data --public": ["--public", "--push"],
    "export {run} --what inspect --out plain": ["plain"],
    "export {run} --what data --out plain": ["plain", "give a folder"],
    # what is no run
    **{
        f"{command} {place}": [place, "is no run", "`ls runs`"]
        for place in ("nowhere", "plain", "folder.csv")
        for command in (
            "status",
            "resume",
            "approve",
            "reject",
            "review",
            "history",
            "report",
            "chat",
            "purge --yes",
            "label",
            "rejudge --judge rules",
            "export --what data",
        )
    },
    "console nowhere": ["nowhere", "holds none"],
    "console folder.csv": ["folder.csv", "holds none"],
    "console {runs} --port 99999999": ["--port 99999999", "--port 0"],
    "report {run} nowhere": ["nowhere", "is no run"],
    "purge --yes mine": ["mine", "is no run"],
    "purge --yes loop.csv": ["loop.csv", "is no run"],
    # files
    "import nowhere --format csv --run {run}": ["nowhere", "No such file"],
    "import folder.csv --format csv --run {run}": ["folder.csv", "directory"],
    "import binary.csv --format csv --run {run}": ["binary.csv", "not UTF-8"],
    "import goals.csv --format csv --run {run}": ["goals.csv", "no column 'goal'"],
    "import deep.jsonl --format jsonl --run {run}": ["deep.jsonl", "too deeply"],
    "import goals.csv --format jbb --run {run}": ["goals.csv", "not JSON"],
    "import goals.csv --format csv --run nowhere": ["nowhere", "is no run"],
    "calibrate {run} --judge rules": ["{run}", "has no labels yet", "breakfix label"],
    "calibrate labels.csv --judge 3": ["--judge", "3", "write a table"],
    "calibrate labels.csv --judge ''": ["--judge"],
    "calibrate labels.csv --judge hf:model": ["hf:", "no model that can be loaded"],
    "calibrate labels.csv --judge rules --inject deep.jsonl": ["deep.jsonl", "too deeply"],
    "rejudge {run} --judge '{'": ["'{'", "not TOML"],
    "rejudge {run} --judge nope": ["nope", "PROVIDER:NAME"],
    "fit-judge nowhere.csv --out new": ["nowhere.csv"],
    "fit-judge labels.csv --out plain": ["plain", "new folder"],
    "eval hf:nowhere --suite continuation --out new": ["nowhere", "config.json"],
    "eval hf:model --suite continuation --out new": ["hf:", "no model that can be loaded"],
    "eval openai:x --suite continuation --out new": ["openai:x", "set $OPENAI_API_KEY"],
    "eval {there} --suite gsm8k:deep.jsonl --out new": ["deep.jsonl", "too deeply"],
    "eval {there} --suite continuation --out plain": ["--out plain", "give a folder"],
    "eval {there} --suite continuation --out new --adapter pickle": ["pickle", "safetensors", "give"],
    "eval hf:model --suite continuation --out new --adapter huge": ["huge", "rank 1000000000", "of 2"],
    # versions
    "calibrate labels.csv --judge fitted:older": ["older", "another version", "fit it again"],
}
"""Commands, and what the line says."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and all that somebody may take for something else."""
    import torch
    from safetensors.torch import save_file

    here = tmp_path_factory.mktemp("world")
    texts = {
        "recipe.toml": RECIPE, "empty.csv": "", "empty.jsonl": "", "plain": "x", "goals.csv": "text\nSteal\n",
        "badsplit.csv": "text,split\nSteal,lunch\n", "labels.csv": "goal,response,label\nx,y,1\n",
        "deep.jsonl": "[" * 100_000, "deep.toml": "x = " + "[" * 100_000, "broken.toml": "seed = \n",
        "twice.toml": "seed = 1\nseed = 2\n", "areas.toml": "[areas]\nviolence = 3\n", "mine/recipe.toml": RECIPE,
        "model/config.json": '{"model_type": "llama"}', "empty/config.json": "{}", "mine/thesis.txt": "dear to me",
        "older/fitted.json": '{"version": "1", "content": ""}', "folder.csv/x": "",
        "pickle/adapter_config.json": '{"peft_type": "LORA", "r": 2}', "pickle/adapter_model.bin": "x",
        "huge/adapter_config.json": '{"peft_type": "LORA", "r": 1000000000}',
    }  # fmt: skip
    for name, text in texts.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    (here / "binary.csv").write_bytes(b"\xff\xfe\x00" * 9)
    (here / "loop.csv").symlink_to("loop.csv")
    save_file({"layer.lora_A.weight": torch.zeros(2, 2)}, here / "huge" / "adapter_model.safetensors")
    create(load(here / "recipe.toml"), here / "runs" / "one")
    main(["status", str(here / "runs" / "one")])
    assert team(str(here / "runs" / "one")).memory
    return here


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    """Nobody's keys, and a run that is begun after all fails at once."""
    for name in ("OPENAI_API_KEY", "USER", "BREAKFIX_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("graph.run.advance", lambda *_, **__: pytest.fail("it was taken for no mistake"))
    monkeypatch.chdir(world)


def held(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and when it was changed; SQLite's own, which come and go with a connection, aside."""
    found = {str(one.relative_to(folder)): one.lstat() for one in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()
            if not name.endswith(("-shm", "-wal")) and not (folder / name).is_dir()}  # fmt: skip


def mistaken(arguments: list[str], told: list[str], world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = held(world)
    capsys.readouterr()
    try:
        status = main(arguments)
    except SystemExit as left:
        status = int(str(left.code))
    line = capsys.readouterr().err.rstrip("\n")
    assert status == 2, line
    assert line.startswith("breakfix: ")
    assert "\n" not in line
    assert [part for part in told if part not in line] == [], line
    assert MEND.search(line), line
    assert "Traceback" not in line
    assert held(world) == before


@pytest.mark.parametrize("setting", IN_A_RECIPE)
def test_a_mistake_in_a_recipe_is_one_line_and_leaves_nothing(
    setting: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistaken(["run", "recipe.toml", "--run", "new", "--set", setting], IN_A_RECIPE[setting], world, capsys)


@pytest.mark.parametrize("command", ON_THE_LINE)
def test_a_mistake_on_the_command_line_is_one_line_and_changes_nothing(
    command: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = "{ model = 'openai:x', base_url = 'http://127.0.0.1:9/v1' }"
    known = {"{run}": str(world / "runs" / "one"), "{runs}": str(world / "runs"), "{there}": f'"{there}"'}

    def put(text: str) -> str:
        for name, value in known.items():
            text = text.replace(name, value)
        return text

    mistaken(shlex.split(put(command)), [put(part) for part in ON_THE_LINE[command]], world, capsys)


@pytest.mark.parametrize(("status", "told"), [
    (401, ["401", "key_env"]), (402, ["402", "credit"]), (403, ["403", "key_env"]), (404, ["404", "base_url"]),
    (301, ["301"]),
])  # fmt: skip
def test_what_an_endpoint_refuses_is_a_mistake_and_no_failure(
    status: int, told: list[str], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(Endpoint(say=lambda number, asked: status)) as one:
        judge = f"{{ model = 'openai:mine', base_url = '{one.url}' }}"
        mistaken(["calibrate", "labels.csv", "--judge", judge], ["mine at", *told], world, capsys)


def test_what_may_be_a_key_is_not_repeated(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting in (
        "agents.judge.api_key=hunter2",
        "agents.judge={model='openai:x',base_url='http://me:hunter2@h/v1'}",
    ):
        with suppress(SystemExit):
            assert main(["run", "recipe.toml", "--run", "new", "--set", setting]) == 2
        line = capsys.readouterr().err
        assert "hunter2" not in line
        assert "key_env" in line


def test_a_file_that_may_not_be_read_is_a_mistake(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    shut = world / "shut.csv"
    shut.write_text("text\n")
    shut.chmod(0)
    mistaken(["run", "recipe.toml", "--set", "goals.source=shut.csv"], ["shut.csv", "Permission denied"], world, capsys)
    shut.unlink()


def test_an_adapter_of_another_model_is_a_mistake(
    tiny_adapter: Path, tiny_model: Path, tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    small = LlamaConfig(vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(small).save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "other")
    out = str(tmp_path / "kept")
    command = [
        "eval",
        f"hf:{tmp_path / 'other'}",
        "--adapter",
        str(tiny_adapter),
        "--suite",
        "continuation",
        "--out",
        out,
    ]
    assert main(command) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("breakfix: ")
    assert str(tiny_adapter) in line
    assert "another model's" in line
