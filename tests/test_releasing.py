"""A run's model and its rows as folders for others: what they hold, what they do not, and that others load them."""

import inspect
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graph import cards, releasing, report
from graph.cli import main
from graph.config import RecipeError
from graph.desk import champion
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tools.records import BASE, Adapter, Attempt, Example, Goal, Message, Score, StagePlan
from tools.statistics import wilson

RECIPE = """
[target]
model = "hf:base"
system = "be kind"
[agents]
attacker = { model = "openai:x", base_url = "http://host:8000/v1?key=hunter3", key_env = "MY_KEY" }
judge.model = "rules"
measuring_judge.model = "rules"
same_judge = true
writer.model = "openai:writer"
[goals]
source = "goals.csv"
"""
HOSTILE = "</a><script>alert(1)</script>\u2028\n---\nlicense: evil\n---\n|x"
HARM = "first you steal the venom"


@pytest.fixture
def crew(tmp_path: Path, tiny_model: Path, tiny_adapter: Path) -> Team:
    """A run whose champion is the DPO of its only cycle, on a base that says what its licence is."""
    shutil.copytree(tiny_model, tmp_path / "base")
    (tmp_path / "base" / "README.md").write_text("---\nlicense: mit\ntags: [x]\n---\n# Base\n")
    (tmp_path / "base" / "LICENSE").write_text("MIT, in full")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    create(load(tmp_path / "recipe.toml"), tmp_path / "one")
    crew = team(str(tmp_path / "one"))
    goal = Goal(text="steal it", area="illegal", intent="harmful", source="s", split="train")
    attempt = Attempt(goal=goal.id, persona="p", strategy="direct", language="en", target=BASE, cycle=1, seed=0,
                      purpose="attack")  # fmt: skip
    crew.memory.add([goal, attempt])
    rows = [row(crew, "refuse", "no", HARM, attempt, 0), row(crew, "help", "sure", "no", attempt, 1),
            row(crew, "retain", "steep it", "", None, 2, language="es", cycle=0)]  # fmt: skip
    crew.memory.add(rows)
    sft = made(crew, "sft", rows, tiny_adapter, BASE)
    dpo = made(crew, "dpo", rows[:2], tiny_adapter, sft.id)
    for model, k in ((BASE, 18), (sft.id, 9), (dpo.id, 1)):
        low, high = wilson(k, 20)
        crew.memory.add([Score(benchmark="harm", adapter=model, value=k / 20, low=low, high=high, n=20, coverage=0.8)])
    held = {"row": "r", "kind": "retain", "source": "gsm8k", "how": "run"}
    crew.memory.event(1, "write", "contaminated", round=0, looked=9, rows=[held])
    crew.memory.event(1, "data_gate", "rows", round=0, kinds={"refuse": 1, "help": 1}, written={"refuse": 1, "help": 2},
                      unanswered=0, contaminated={})  # fmt: skip
    crew.memory.event(1, "promote_gate", "choice", before=BASE, chosen=dpo.id, why="it is safer", gain_high=0.9)
    return crew


def row(crew: Team, kind: Any, chosen: str, rejected: str, of: Attempt | None, number: int, **more: Any) -> Example:
    about = {"language": "en", "cycle": 1, "writer": crew.writer_id, "number": number} | more
    origin = {"attempt": of.id, "goal": of.goal} if of else {}
    said = (Message(role="user", content=f"{kind} {HOSTILE}"),)
    return Example(kind=kind, prompt=said, chosen=chosen, rejected=rejected, **about, **origin)


def made(crew: Team, stage: Any, rows: list[Example], weights: Path, parent: str) -> Adapter:
    plan = StagePlan(stage=stage, base=str(crew.base), parent=parent, cycle=1, examples=stage, rows=len(rows), epochs=1,
                     rate=1e-4, rank=12, batch=4, length=48, seed=3, why=HOSTILE)  # fmt: skip
    one = Adapter(plan=plan.id, stage=stage, cycle=1, path=f"adapters/{plan.id}", loss_first=1, loss_last=1, steps=1)
    folder = crew.run / one.path
    shutil.copytree(weights, folder)
    (folder / "rows.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in rows))
    (folder / "optimizer.pt").write_text("a pickle")
    crew.memory.add([plan, one])
    return one


def text_of(card: str) -> tuple[dict[str, Any], str]:
    """A card's front matter, as the Hub reads it, and what is below."""
    from huggingface_hub import RepoCard

    found = RepoCard(card, ignore_metadata_errors=False)
    return found.data.to_dict(), found.text


def test_an_adapter_goes_out_with_its_card_and_nothing_that_is_its_owners(crew: Team, capsys: Any) -> None:
    assert main(["export", str(crew.run), "--what", "model", "--base", "owner/base"]) == 0
    out, adapter = crew.run / "export" / "model", crew.memory.get(Adapter)[-1]
    assert {file.name for file in out.iterdir()} == {
        "README.md", "LICENSE", "adapter_config.json", "adapter_model.safetensors", "breakfix.json",
    }  # fmt: skip
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"
    front, body = text_of((out / "README.md").read_text())
    assert (front["license"], front["base_model"], front["library_name"]) == ("mit", "owner/base", "peft")
    assert "--max-lora-rank 16" in body  # vLLM knows no 12
    assert f"--lora-modules {adapter.id}={out}" in capsys.readouterr().out
    assert "| seed | 0 |" in body
    harm = next(line for line in body.splitlines() if line.startswith("| base |"))
    assert "90.0% [69.9, 97.2], coverage 80.0%" in harm
    assert f"DPO `{adapter.id[:6]}` | 5.0%" in body
    assert "SFT `" not in body.split("## Limits")[0]
    assert body.count("| refuse | 1 | en | 1 | 1 |") == 1
    assert "Cultural context" in body
    assert 'key_env = "MY_KEY"' in body
    for secret in ("hunter3", str(crew.run.parent), HARM):
        assert secret not in body


def test_a_card_is_made_of_a_report_that_has_this_champion(crew: Team) -> None:
    report.write(crew)
    file = crew.run / "report.json"
    found = cards.told(crew)
    assert found.champion == champion(crew) != BASE
    file.write_text(found.model_copy(update={"headline": "as it was"}).model_dump_json())
    assert cards.told(crew).headline == "as it was"
    file.write_text(found.model_copy(update={"champion": BASE, "headline": "nothing yet"}).model_dump_json())
    assert (cards.told(crew).champion, cards.told(crew).headline) == (found.champion, found.headline)


def test_what_somebody_said_cannot_break_a_card(crew: Team, tmp_path: Path) -> None:
    releasing.release_model(crew, "champion", False, "", tmp_path / "out")
    front, body = text_of((tmp_path / "out" / "README.md").read_text())
    assert front["license"] == "mit"
    assert "<script" not in body
    assert "\n---\n" not in body
    table = [line for line in body.splitlines() if line.startswith(("| SFT", "| DPO"))]
    assert len(table) == 2
    assert {line.replace("\\|", "").count("|") for line in table} == {12}


def test_a_merged_model_is_loaded_by_transformers_alone_and_says_what_the_adapter_said(
    crew: Team, tmp_path: Path, tiny_adapter: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, command = releasing.release_model(crew, "champion", True, "", tmp_path / "out")
    assert command == f"vllm serve {tmp_path / 'out'}"
    assert not list((tmp_path / "out").glob("adapter*"))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    own = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tiny_adapter)
    ids = AutoTokenizer.from_pretrained(tmp_path / "out")("how is a tea made", return_tensors="pt")["input_ids"]
    assert torch.allclose(whole(ids).logits, own(ids).logits, atol=1e-4)
    assert text_of((tmp_path / "out" / "README.md").read_text())[0]["library_name"] == "transformers"


def test_a_model_all_of_whose_weights_were_trained_goes_out_whole(crew: Team, tmp_path: Path) -> None:
    plan = crew.memory.get(StagePlan)[0].model_copy(update={"method": "full"})
    one = crew.memory.get(Adapter)[0].model_copy(update={"plan": plan.id, "path": f"adapters/{plan.id}"})
    shutil.copytree(crew.base, crew.run / one.path)
    crew.memory.add([plan, one])
    _, command = releasing.release_model(crew, one.id, False, "", tmp_path / "out")
    assert command == f"vllm serve {tmp_path / 'out'}"
    assert {"model.safetensors", "config.json", "tokenizer.json"} < {file.name for file in (tmp_path / "out").iterdir()}
    body = text_of((tmp_path / "out" / "README.md").read_text())[1]
    assert "all of its weights trained" in body
    assert "was not measured itself" in body


def test_a_run_whose_champion_is_the_base_has_no_model_to_release_but_its_candidates(crew: Team, capsys: Any) -> None:
    sft = crew.memory.get(Adapter)[0]
    crew.memory.event(2, "promote_gate", "choice", before=BASE, chosen=BASE, why="no", gain_high=0.0)
    assert main(["export", str(crew.run), "--what", "model"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is the base" in line
    assert "--adapter" in line
    assert main(["export", str(crew.run), "--what", "model", "--adapter", sft.id[:6]]) == 0
    assert main(["export", str(crew.run), "--what", "model", "--adapter", "zz"]) == 2


def test_a_folder_that_holds_something_else_is_left_alone_and_an_earlier_release_replaced(
    crew: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    command = ["export", str(crew.run), "--what", "model", "--out", str(out)]
    assert main(command) == 2
    assert "holds something else" in capsys.readouterr().err
    (out / "mine.txt").unlink()
    assert [main(command), main(command)] == [0, 0]
    before = (out / "README.md").read_text()
    monkeypatch.setattr(cards, "model", lambda *_: 1 / 0)
    assert main([*command, "--merged"]) == 1
    assert (out / "README.md").read_text() == before
    assert [one.name for one in tmp_path.glob(".out*")] == []


def test_rows_are_loaded_by_datasets_and_hold_no_harm_unless_it_was_asked_for(crew: Team, tmp_path: Path) -> None:
    from datasets import load_dataset

    plain, all_of_it, cache = tmp_path / "plain", tmp_path / "harmful", str(tmp_path / "cache")
    assert releasing.release_data(crew, "champion", False, False, plain) == {"sft": 3, "dpo": 1}
    assert releasing.release_data(crew, "champion", False, True, all_of_it) == {"sft": 3, "dpo": 2}
    sft = load_dataset(str(plain), "sft", cache_dir=cache)["train"]
    assert sft.column_names == ["messages", "kind", "language", "cycle", "source"]
    assert [one["role"] for one in sft[0]["messages"]] == ["user", "assistant"]
    assert set(sft["source"]) == {"written by openai:writer"}
    dpo = load_dataset(str(plain), "dpo", cache_dir=cache)["train"]
    assert dpo.column_names == ["prompt", "chosen", "rejected", "kind", "language", "cycle", "source"]
    assert dpo["kind"] == ["help"]
    harmful = load_dataset(str(all_of_it), "dpo", cache_dir=cache)["train"]
    assert [{"role": "assistant", "content": HARM}] in list(harmful["rejected"])
    assert HARM not in json.dumps([list(sft), list(dpo)])
    front, body = text_of((plain / "README.md").read_text())
    assert [one["config_name"] for one in front["configs"]] == ["sft", "dpo"]
    assert "1 pairs of kind `refuse` are in `sft` alone" in body
    assert "| 1 | 3 | 2 | 1 | 1 gsm8k | 0 |" in body
    assert "<script" not in body
    assert HARM not in body


def test_all_rows_are_those_that_passed_their_gate_and_hold_nothing_that_is_measured(crew: Team) -> None:
    kept = crew.memory.get(Example)
    crew.memory.event(0, "baseline", "rows", round=0, rows=1, kinds={"retain": 1})
    crew.memory.add([kept[0].model_copy(update={"round": 1, "chosen": "rejected by a person"})])
    held = {"row": kept[1].id, "kind": "help", "source": "s", "how": "run"}
    crew.memory.event(1, "write", "contaminated", round=0, looked=1, rows=[held])
    assert {one.chosen for one in releasing.approved(crew)["sft"]} == {"no", "steep it"}


class Hub:
    """A Hub that keeps what it is sent."""

    def __init__(self, private: bool) -> None:
        self.private, self.sent = private, list[dict[str, Any]]()

    def create_repo(self, *repo: str, **told: Any) -> None:
        taken("create_repo", *repo, **told)
        self.asked_for = told

    def repo_info(self, *repo: str, **told: Any) -> Any:
        taken("repo_info", *repo, **told)
        return SimpleNamespace(private=self.private)

    def upload_folder(self, **told: Any) -> None:
        taken("upload_folder", **told)
        self.sent.append(told)


def taken(name: str, *given: Any, **told: Any) -> None:
    """Raises TypeError for what the real one would not take."""
    from huggingface_hub import HfApi

    inspect.signature(getattr(HfApi, name)).bind(None, *given, **told)


def test_a_release_is_pushed_where_only_its_owner_sees_it_unless_told_otherwise(tmp_path: Path) -> None:
    mine, seen = Hub(private=True), Hub(private=False)
    assert releasing.push(tmp_path, "me/it", "data", mine) == "https://huggingface.co/datasets/me/it"
    assert (mine.asked_for["private"], mine.asked_for["repo_type"]) == (True, "dataset")
    assert mine.sent[0]["folder_path"] == str(tmp_path)
    with pytest.raises(ValueError, match="anybody can see it"):
        releasing.push(tmp_path, "me/it", "model", seen)
    assert seen.sent == []
    releasing.push(tmp_path, "me/it", "model", seen, public=True)
    assert len(seen.sent) == 1


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    class Away(Hub):
        def create_repo(self, *repo: str, **told: Any) -> None:
            raise HfHubHTTPError.__mro__[1]("[Errno 111] Connection refused\nand more")  # the client's, and no OSError

    with pytest.raises(RecipeError, match=r"^--push me/it was refused: .*Connection refused$"):
        releasing.push(tmp_path, "me/it", "model", Away(private=True))


def test_nothing_is_pushed_without_a_token_and_nothing_is_made_for_it(
    crew: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    assert main(["export", str(crew.run), "--what", "model", "--push", "me/it"]) == 2
    assert "hf auth login" in capsys.readouterr().err
    assert main(["export", str(crew.run), "--what", "model", "--push", "it"]) == 2
    assert "OWNER/NAME" in capsys.readouterr().err
    assert main(["export", str(crew.run), "--what", "model", "--public"]) == 2
    assert "add --push" in capsys.readouterr().err
    assert not (crew.run / "export").exists()


def test_what_cannot_be_merged_as_its_base_is_gone_is_one_line(crew: Team, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert main(["export", str(crew.run), "--what", "model", "--merged"]) == 2
    assert "--merged wants the base's weights, and no model lies in " in capsys.readouterr().err
    assert not (crew.run / "export").exists()


@pytest.mark.parametrize(("what", "option"), [("inspect", "--merged"), ("data", "--merged"), ("model", "--all")])
def test_an_option_of_another_export_is_a_mistake(what: str, option: str, crew: Team, capsys: Any) -> None:
    assert main(["export", str(crew.run), "--what", what, option]) == 2
    assert f"{option} is for" in capsys.readouterr().err


@pytest.mark.parametrize(("readme", "licence", "said"), [
    ("# no front matter", False, {}),
    ("---\nlicense: [\n---\n", False, {}),
    ("---\nlicense: llama3\nlicense_link: https://x\n---\n", True, {"license": "llama3", "license_link": "https://x"}),
    (None, True, {"license": "other", "license_name": "of-the-base", "license_link": "LICENSE"}),
])  # fmt: skip
def test_the_licence_of_a_base_is_what_its_card_says_or_lies_beside_it(
    readme: str | None, licence: bool, said: dict[str, str], tmp_path: Path
) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    if licence:
        (tmp_path / "LICENSE").write_text("all rights")
    assert cards.licence_of(tmp_path) == said


@pytest.mark.parametrize(("setting", "shown"), [
    ("hf:/home/me/models/phi", "hf:phi"), ("/home/me/goals.csv", "goals.csv"), ("harmbench:/data/hb", "harmbench:hb"),
    ("https://me:pw@host:80/v1?key=1#x", "https://host:80/v1"), ("openai:gpt-4o", "openai:gpt-4o"),
    ("be / kind", "be / kind"),
])  # fmt: skip
def test_a_card_shows_no_folder_and_no_password(setting: str, shown: str) -> None:
    assert cards.shortened(setting) == shown


def test_a_base_in_the_hubs_own_cache_is_named_as_it_is_there() -> None:
    assert releasing.hub_id(Path("/x/models--microsoft--Phi-3/snapshots/1")) == "microsoft/Phi-3"
    assert releasing.hub_id(Path("/x/models/Phi-3")) == ""
