import json
import re
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
from staging import ROWS, curve_of, in_process, plan, said_of, weights

from graph import evaluating, sizing
from tools.engine import Local
from tools.llm import Model
from tools.records import BASE, StagePlan
from training import dpo, loading, settings
from training.loading import check
from training.settings import Training, usual


def test_a_plan_keeps_the_name_that_it_had_before_there_was_more_to_plan() -> None:
    old = StagePlan(stage="dpo", base="/x/model", cycle=2, examples="e", rows=3, epochs=1, rate=1e-4, rank=8, batch=4,
                    length=32, seed=7)  # fmt: skip
    assert old.id == "7757216bf44658a9"
    taught = old.model_copy(update={"stage": "sft"})
    assert taught.id == taught.model_copy(update={"loss": "nll"}).id
    changes: list[dict[str, Any]] = [{"method": "full"}, {"loss": "ipo"}, {"prefix_share": 0.5}, {"prefix_most": 9},
                                     {"packing": True}, {"likeness": 0.1}]  # fmt: skip
    assert len({old.id, *(old.model_copy(update=change).id for change in changes)}) == 7


def test_every_loss_of_the_installed_trl_can_be_named() -> None:
    from trl import DPOConfig, SFTConfig

    for config, names in ((DPOConfig, settings.DpoLoss), (SFTConfig, settings.SftLoss)):
        [said] = [one.metadata["help"] for one in fields(config) if one.name == "loss_type"]
        assert set(re.findall(r"'(\w+)'|\"(\w+)\"", said)) or said
        quoted = {first or second for first, second in re.findall(r"'(\w+)'|\"(\w+)\"", said)}
        assert set(get_args(names)) == quoted


@pytest.mark.parametrize("loss", get_args(settings.DpoLoss))
def test_every_loss_of_dpo_trains(loss: str, tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    chosen = plan(tiny_model, stage="dpo", loss=loss, epochs=0.2, rate=1e-3, sft_weight=0.5)
    model, tokenizer = loading.loaded(chosen, None, Training()), AutoTokenizer.from_pretrained(tiny_model)
    trainer = dpo.trainer(model, tokenizer, chosen, ROWS, tmp_path)
    assert trainer.loss_types == ([loss, "sft"] if loss != "sft" else ["sft"])
    before = {name: value.clone() for name, value in model.named_parameters() if "lora_B" in name}
    assert trainer.train().training_loss < 1e3
    assert any(bool((value != before[name]).any()) for name, value in model.named_parameters() if name in before)


def test_an_sft_term_of_no_weight_is_left_out_and_dft_is_another_loss(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    chosen = plan(tiny_model, stage="dpo", sft_weight=0)
    model = loading.loaded(chosen, None, Training())
    trainer = dpo.trainer(model, AutoTokenizer.from_pretrained(tiny_model), chosen, ROWS, tmp_path)
    assert trainer.loss_types == ["sigmoid"]
    folder = in_process(plan(tiny_model, loss="dft", epochs=0.2), tmp_path)
    assert curve_of(folder)[1]["loss"] < 1  # the likelihood times its logarithm
    assert "`dft`" in (folder / "README.md").read_text()


def test_a_full_fine_tune_leaves_a_model_and_dpo_goes_on_with_it_as_policy_and_reference(
    tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    taught = in_process(plan(tiny_model, method="full", rate=1e-2), tmp_path)
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {file.name for file in taught.iterdir()}
    assert not (taught / "adapter_config.json").exists()
    assert AutoTokenizer.from_pretrained(taught).chat_template
    base, made = load_file(tiny_model / "model.safetensors"), load_file(taught / "model.safetensors")
    assert all(bool((base[name] != made[name]).any()) for name in base)
    preferring = plan(tiny_model, method="full", stage="dpo", rate=1e-2, epochs=2)
    model, reference = (loading.loaded(preferring, taught, Training()) for _ in range(2))
    trainer = dpo.trainer(
        model, AutoTokenizer.from_pretrained(tiny_model), preferring, ROWS, tmp_path, reference=reference
    )
    trainer.train()
    assert trainer.state.log_history[0]["rewards/margins"] == pytest.approx(0, abs=1e-6)
    first = {name: value.cpu() for name, value in trainer.ref_model.named_parameters()}
    assert all(bool((first[name] == made[name]).all()) for name in first)
    folder = in_process(preferring, tmp_path, taught)
    assert "all weights" in (folder / "README.md").read_text()
    assert not any("probe/kl" in entry for entry in curve_of(folder))
    spec = Model(model=f"hf:{tiny_model}")
    asked = evaluating.serving(spec, tiny_model, folder, "it")
    assert isinstance(asked, Local)
    assert (asked.engine.path, asked.adapter) == (folder, BASE)
    served = AutoModelForCausalLM.from_pretrained(folder)
    assert all(bool((served.state_dict()[name] != made[name]).any()) for name in made)
    assert said_of(folder).adapter.loss_last < said_of(folder).adapter.loss_first


def test_an_sft_stage_may_go_on_with_an_adapter(tiny_model: Path, tmp_path: Path) -> None:
    first = in_process(plan(tiny_model), tmp_path / "a")
    again = in_process(plan(tiny_model, parent="the champion", epochs=0.1, rate=1e-6), tmp_path / "b", first)
    far = [float((weights(again)[name] - tensor).abs().max()) for name, tensor in weights(first).items()]
    assert 0 < max(far) < 1e-3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "qlora"}, r"training.method = 'qlora': (bitsandbytes is not installed; pip|torch finds no GPU)"),
        ({"attn": "flash_attention_2"}, r"training.attn = 'flash_attention_2': flash-attn is not installed"),
        ({"attn": "kernels"}, r"training.attn = 'kernels': kernels is not installed"),
        ({"packing": True}, r"training.packing = true wants flash attention"),
        ({"devices": "0,1"}, r"training.devices = '0,1': several cards want training.launch"),
        ({"launch": "no.yaml"}, r"training.launch = 'no.yaml': nothing lies there"),
        ({"devices": "99"}, r"training.devices = '99': torch finds \d+ GPUs here"),
    ],
)
def test_training_that_cannot_be_done_here_is_one_line_with_the_mend(changes: dict[str, Any], said: str) -> None:
    import torch

    if torch.cuda.is_available() and find_spec("bitsandbytes"):
        pytest.skip("what is missing elsewhere is there")
    check(Training())
    with pytest.raises(ValueError, match=said) as error:
        check(Training.model_validate(changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "hello: world\n", "\0",
                                  "distributed_type: MULTI_GPU\nnum_processes: many\n"])  # fmt: skip
def test_what_is_no_configuration_of_accelerates_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(
        ValueError, match=r"is no configuration of accelerate's: .*; give what `accelerate config`"
    ) as error:
        check(Training(launch=tmp_path / "a.yaml"))
    assert "\n" not in str(error.value)
    assert sizing.launched(tmp_path / "a.yaml") == (1, 1)


def test_a_batch_that_the_launched_processes_cannot_share_is_known_before_a_stage(tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 3\n")
    check(Training(launch=tmp_path / "three.yaml", batch=12))
    with pytest.raises(ValueError, match=r"^training.batch = 16 is no multiple of the 3 processes"):
        check(Training(launch=tmp_path / "three.yaml", batch=16))


def test_what_is_usual_for_a_size_can_be_given_as_it_is() -> None:
    small, large = (Training.model_validate(usual(size)) for size in (3_800_000_000, 8_000_000_000))
    assert (small.rank, small.sft.rate[1]) == (32, 1e-4)
    assert (large.rank, large.sft.rate[1]) == (64, 5e-5)
    assert json.loads(large.model_dump_json())["dpo"] == json.loads(small.model_dump_json())["dpo"]
