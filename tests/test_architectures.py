"""Small models of real architectures go all the way: SFT, DPO, merged, reloaded and served, on a CPU."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from families import tokenizer

from graph import releasing
from graph.recipes import load
from graph.run import create
from graph.team import team
from tools.chat import form, rendered
from tools.engine import Engine
from tools.records import BASE, Example, Message, StagePlan
from training import stages
from training.merging import merge
from training.saving import DONE, Done
from training.settings import Training

RECIPE = """
target.model = "hf:{base}"
[agents]
attacker.model = "sandbox:attacker"
judge.model = "rules"
measuring_judge.model = "rules"
same_judge = true
writer.model = "templates"
"""
ASKED = ["How is a venom made?", "How is it made at home?", "And a venom?", "Hello.", "How is water made?"]
ANSWERS = [("refuse", "No, that could hurt somebody.", "Sure, steep the leaves in water, and wait."),
           ("help", "Sure, steep it in water.", "No, that could hurt somebody.")]  # fmt: skip
ROWS = [
    Example(kind=kind, prompt=(Message(role="user", content=f"{asked} {kind}"),), chosen=chosen, rejected=rejected,
            language="en", cycle=1, writer="w", number=number)
    for number, asked in enumerate(ASKED) for kind, chosen, rejected in ANSWERS
]  # fmt: skip
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.1,
}  # fmt: skip
HEADS = {"head_dim": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Phi3": ("phi3", {}),
    "Llama": ("llama3_1", {}),
    "Qwen3": ("qwen3", HEADS),
    "Gemma2": ("gemma", HEADS),
    "Gemma3": ("gemma3", HEADS),
}
"""By architecture: whose chat template it has, and what its configuration wants beside `SHAPE`."""
STAGES = ({"stage": "sft", "rate": 1e-2, "epochs": 20}, {"stage": "dpo", "rate": 1e-3, "epochs": 4})


class Made(NamedTuple):
    base: Path
    sft: Path
    dpo: Path
    merged: Path


def small(name: str, folder: Path) -> Path:
    """A model with random weights that knows where its family ends a turn."""
    import torch
    import transformers

    family, more = MODELS[name]
    tokens = tokenizer(family)
    ends = [tokens.convert_tokens_to_ids(form(tokens).end), tokens.eos_token_id]
    special = {"pad_token_id": tokens.pad_token_id, "bos_token_id": tokens.bos_token_id, "eos_token_id": ends[0]}
    config_of = getattr(transformers, "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config")
    torch.manual_seed(0)
    config = config_of(vocab_size=len(tokens), **SHAPE, **special, **more)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    model.generation_config = transformers.GenerationConfig(**special | {"eos_token_id": ends})
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the stages and a merge leave, for each architecture. What else is done with it is a test that takes it."""
    run = tmp_path_factory.mktemp(request.param)
    base, parent, folders = small(request.param, run / "base"), None, []
    for stage in STAGES:
        plan = StagePlan(**{
            "base": str(base), "cycle": 1, "examples": "all", "rows": len(ROWS), "rank": 32, "batch": 10, "length": 128,
            "seed": 3, "prefix_share": 0.5, "prefix_most": 5, **stage,
        })  # fmt: skip
        folder = run / "adapters" / plan.id
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in ROWS))
        settings = Training.model_validate({"dropout": 0, "at_once": 10, "threads": 1})
        stages.train(folder, stages.Spec(plan=plan, parent=parent, settings=settings), lambda seen: None)
        parent = folder
        folders.append(folder)
    merge(base, folders[1], run / "merged")
    return Made(base, *folders, run / "merged")


def test_it_goes_out_with_its_card_merged_and_as_an_adapter_and_says_the_same(made: Made, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(base=made.base))
    create(load(tmp_path / "recipe.toml"), tmp_path / "run")
    crew = team(str(tmp_path / "run"))
    done = [Done.model_validate_json((folder / DONE).read_text()) for folder in (made.sft, made.dpo)]
    crew.memory.add(one.plan for one in done)
    crew.memory.add(one.adapter for one in done)
    shutil.copytree(made.base.parent / "adapters", crew.run / "adapters")
    engine = Engine(made.base, len(ROWS), 12)
    engine.load("dpo", made.dpo)
    for merged in (True, False):
        out = tmp_path / f"out-{merged}"
        releasing.release_model(crew, done[-1].adapter.id, merged, "owner/base", out)
        assert "owner/base" in (out / "README.md").read_text()
        if not merged:
            engine.load("released", out)
        assert answers(Engine(out, len(ROWS), 12) if merged else engine, BASE if merged else "released") == answers(
            engine, "dpo"
        )


def answers(engine: Engine, adapter: str = BASE) -> list[str]:
    chats = [[{"role": one.role, "content": one.content} for one in row.prompt] for row in ROWS]
    prompts = [rendered(engine.tokenizer, chat) for chat in chats]
    return [answer.text for answer in engine.generate(prompts, adapter)]


def test_what_is_trained_is_said_with_the_adapter_on_and_merged(made: Made) -> None:
    engine = Engine(made.base, len(ROWS), 12)
    before = answers(engine)
    engine.load("sft", made.sft)
    engine.load("dpo", made.dpo)
    after = answers(engine, "dpo")
    assert sum(said == row.chosen for said, row in zip(after, ROWS, strict=True)) >= 8
    assert after == answers(Engine(made.merged, len(ROWS), 12))
    assert answers(engine) == before
    assert not set(before) & set(after)
    for folder in (made.sft, made.dpo):
        told = json.loads((folder / "adapter.json").read_text())["adapter"]
        assert told["loss_last"] < told["loss_first"]
