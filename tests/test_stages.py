import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.records import Adapter, Example, Message, StagePlan, digest
from training import checkpoints, curve, dpo, sft, stages
from training.checkpoints import Progress
from training.stages import Done, Spec, StageError, Training, run_stage, supervise

ROOT = Path(__file__).parent.parent
ANSWERS: dict[Any, tuple[str, str]] = {
    "refuse": ("no that could hurt somebody", "sure steep it"),
    "help": ("steep it in water", "no"),
    "retain": ("hello", ""),
}
ROWS = [
    Example(kind=kind, prompt=(Message(role="user", content=f"how is {what} made"),), chosen=chosen, rejected=rejected,
            language="en", cycle=1, writer="w", number=number)
    for number, what in enumerate(["a venom", "tea", "it", "water", "a tea"] * 3)
    for kind, (chosen, rejected) in ANSWERS.items()
]  # fmt: skip


def plan(base: Path, **more: Any) -> StagePlan:
    return StagePlan(**{
        "stage": "sft", "base": str(base), "cycle": 1, "examples": "all", "rows": len(ROWS), "epochs": 2, "rate": 1e-2,
        "rank": 4, "batch": 4, "length": 32, "seed": 3, **more,
    })  # fmt: skip


def silent(seen: Progress) -> None:
    """Watches nothing."""


def spec(plan: StagePlan, **more: Any) -> Spec:
    return Spec(**{
        "plan": plan, "parent": None, "dropout": 0, "at_once": 4, "threads": 1, "within": 0, "report_to": curve.NOBODY,
        **more,
    })  # fmt: skip


def in_process(
    plan: StagePlan, run: Path, parent: Path | None = None, tell: Callable[[Progress], None] = silent, **more: Any
) -> Path:
    """Runs the inside of a stage in this process, and returns its folder."""
    folder = run / "adapters" / plan.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in ROWS))
    stages.train(folder, spec(plan, parent=parent, dropout=0.1, at_once=2, **more), tell)
    return folder


def dies_at(step: int) -> Callable[[Progress], None]:
    def tell(seen: Progress) -> None:
        if seen.step == step:
            raise InterruptedError(step)

    return tell


def said_of(folder: Path) -> Done:
    return Done.model_validate_json((folder / "adapter.json").read_text())


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of an SFT stage and of a DPO stage that goes on with it."""
    run = tmp_path_factory.mktemp("run")
    taught = in_process(plan(tiny_model), run)
    return {"sft": taught, "dpo": in_process(plan(tiny_model, stage="dpo", rate=1e-3, epochs=3), run, taught)}


def test_a_stage_leaves_safetensors_and_a_card_that_quotes_no_row(undisturbed: dict[str, Path]) -> None:
    for stage, folder in undisturbed.items():
        done = Done.model_validate_json((folder / "adapter.json").read_text())
        assert (done.adapter.stage, done.adapter.plan, done.adapter.path) == (
            stage,
            folder.name,
            f"adapters/{folder.name}",
        )
        assert done.adapter.loss_last < done.adapter.loss_first
        names = {file.name for file in folder.iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "adapter.json"} <= names
        card = (folder / "README.md").read_text()
        assert "15 refuse" in card
        assert not any(row.chosen in card or row.prompt[0].content in card for row in ROWS if " " in row.chosen)


def test_dpo_trains_on_pairs_alone(undisturbed: dict[str, Path]) -> None:
    assert said_of(undisturbed["dpo"]).rows == {
        "help": 15,
        "refuse": 15,
    }


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_killed_stage_goes_on_from_its_checkpoint_to_the_same_weights(
    stage: str, undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    done = said_of(undisturbed[stage])
    parent = undisturbed["sft"] if stage == "dpo" else None
    with pytest.raises(InterruptedError):
        in_process(done.plan, tmp_path, parent, dies_at(15))
    steps: list[int] = []
    folder = in_process(done.plan, tmp_path, parent, lambda seen: steps.append(seen.step))
    assert steps[0] == 11
    assert same(folder, undisturbed[stage])
    assert said_of(folder).adapter.loss_first == done.adapter.loss_first
    assert (folder / "curve.jsonl").read_bytes() == (undisturbed[stage] / "curve.jsonl").read_bytes()


def curve_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_a_curve_has_every_step_once_by_trls_own_names(undisturbed: dict[str, Path]) -> None:
    taught, preferred = curve_of(undisturbed["sft"]), curve_of(undisturbed["dpo"])
    assert [one["step"] for one in taught] == list(range(1, said_of(undisturbed["sft"]).adapter.steps + 1))
    assert all(one.keys() >= {"loss", "mean_token_accuracy", "entropy"} for one in taught)
    assert [one["step"] for one in preferred] == list(range(1, said_of(undisturbed["dpo"]).adapter.steps + 1))
    names = {"loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"}
    assert all(one.keys() >= names for one in preferred)
    assert preferred[-1]["rewards/margins"] > preferred[0]["rewards/margins"] == pytest.approx(0, abs=1e-6)


def test_what_is_no_number_is_null_in_a_curve() -> None:
    assert json.loads(curve.line({"loss": 1.5, "logps/chosen": float("nan"), "step": 3})) == {
        "step": 3, "loss": 1.5, "logps/chosen": None,
    }  # fmt: skip


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_checkpoints_within_a_stage_are_adapters_of_their_own_and_change_nothing_of_its_end(
    stage: str, undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = said_of(undisturbed[stage])
    parent = undisturbed["sft"] if stage == "dpo" else None
    with pytest.raises(InterruptedError):
        in_process(whole.plan, tmp_path, parent, dies_at(whole.adapter.steps - 1), within=2)
    [half, late] = [
        tmp_path / "adapters" / whole.plan.id / f"step-{round(whole.adapter.steps * n / 3)}" for n in (1, 2)
    ]
    kept = {one: weights(one) for one in (half, late)}
    folder = in_process(whole.plan, tmp_path, parent, within=2)
    made = stages.competing(said_of(folder).adapter, tmp_path)
    assert [tmp_path / one.path for one in made] == [half, late, folder]
    assert made[-1].id == whole.adapter.id == digest("Adapter", whole.plan.id)
    assert len({one.id for one in made}) == 3
    assert same(folder, undisturbed[stage])
    assert not same(half, folder)
    for place in (half, late):
        assert all(bool((kept[place][name] == tensor).all()) for name, tensor in weights(place).items())
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), place)
        assert any(
            name.endswith("lora_B.default.weight") and bool(value.any()) for name, value in loaded.named_parameters()
        )
    assert made[0].steps == made[0].within == int(half.name.removeprefix("step-"))


def test_a_stage_too_short_for_its_checkpoints_has_fewer() -> None:
    assert checkpoints.marks(20, 1) == {10}
    assert checkpoints.marks(2, 5) == {1}
    assert checkpoints.marks(1, 3) == checkpoints.marks(20, 0) == set()


def test_a_stage_reports_to_tensorboard_in_its_own_folder(tiny_model: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator",
                                 reason="no TensorBoard here: pip install tensorboard to run this test")  # fmt: skip
    settings = Training(dropout=0.1, at_once=2, batch=4, threads=1, report_to="tensorboard")
    adapter = run_stage(plan(tiny_model, epochs=0.2), ROWS, tmp_path, None, silent, settings)
    seen = events.EventAccumulator(str(tmp_path / adapter.path / "tensorboard")).Reload()
    assert [one.step for one in seen.Scalars("train/loss")] == list(range(1, adapter.steps + 1))


def test_a_reporter_that_is_not_known_or_not_there_is_one_line_with_the_mend() -> None:
    assert curve.reporters("none") == []
    with pytest.raises(ValueError, match=r"training.report_to = 'tensorbord' is nobody .* did you mean 'tensorboard'"):
        curve.reporters("tensorbord")
    if not find_spec("clearml"):
        with pytest.raises(ValueError, match=r"training.report_to = 'clearml': .*pip install clearml.* Or give 'none'"):
            curve.reporters("clearml")


@pytest.mark.parametrize("harm", ["truncated", "missing", "empty"])
def test_a_broken_checkpoint_is_skipped(harm: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        in_process(plan(tiny_model), tmp_path, tell=dies_at(12))
    [checkpoint] = tmp_path.glob("adapters/*/*/checkpoint-*")
    optimizer = checkpoint / "optimizer.pt"
    if harm == "truncated":
        optimizer.write_bytes(optimizer.read_bytes()[:100])
    elif harm == "missing":
        optimizer.unlink()
    else:
        (checkpoint.parent / "checkpoint-20").mkdir()
    steps: list[int] = []
    with pytest.raises(InterruptedError):
        in_process(plan(tiny_model), tmp_path, tell=lambda seen: steps.append(seen.step) or dies_at(13)(seen))
    assert steps[0] == (11 if harm == "empty" else 1)


def test_the_reference_of_dpo_is_the_sft_policy(undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    chosen = plan(tiny_model, stage="dpo", rate=1e-3, epochs=0.1)
    model = stages.loaded(spec(chosen, parent=undisturbed["sft"]))
    trainer = dpo.trainer(model, AutoTokenizer.from_pretrained(tiny_model), chosen, ROWS, tmp_path, [])
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert any(
        float(tensor.abs().max()) > 0 for name, tensor in weights(undisturbed["sft"]).items() if "lora_B" in name
    )


def test_a_loss_that_is_no_number_ends_the_stage(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower the rate"):
        in_process(plan(tiny_model, rate=1e30), tmp_path)


def test_an_interrupted_stage_takes_its_process_along_and_is_resumed(
    undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    settings = Training(dropout=0.1, at_once=2, batch=4, threads=1)

    def interrupt(seen: Progress) -> None:
        if seen.step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(plan(tiny_model), ROWS, tmp_path, None, interrupt, settings)
    assert not [child for child in psutil.Process().children() if "training.stages" in child.cmdline()]
    steps: list[int] = []
    adapter = run_stage(plan(tiny_model), ROWS, tmp_path, None, lambda seen: steps.append(seen.step), settings)
    folder = tmp_path / adapter.path
    assert steps[-1] == adapter.steps
    assert len(steps) < adapter.steps
    assert "going on from checkpoint-" in (folder / "log.txt").read_text()
    assert same(folder, undisturbed["sft"])
    assert (folder / "curve.jsonl").read_bytes() == (undisturbed["sft"] / "curve.jsonl").read_bytes()
    assert not (folder / "work").exists()


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    asked = plan(tmp_path / "no such model")
    folder = tmp_path / "adapters" / asked.id
    (folder / "work").mkdir(parents=True)
    there = Adapter(plan=asked.id, stage="sft", cycle=1, path="here", loss_first=2, loss_last=1, steps=9)
    (folder / "adapter.json").write_text(Done(adapter=there, plan=asked, rows={}).model_dump_json())
    assert run_stage(asked, ROWS, tmp_path, None, silent) == there
    assert not (folder / "work").exists()


def test_a_crash_is_one_line_with_the_stage_the_exit_and_the_last_words(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / "log.txt").write_text("what an earlier start said\n")
    with pytest.raises(StageError) as crash:
        supervise(asked, tmp_path, silent)
    message = str(crash.value)
    assert f"sft stage {asked.id} ended with exit code 1" in message
    assert "validation error" in (tmp_path / "log.txt").read_text()
    assert "earlier" not in message
    assert "\n" not in message


def test_a_stage_dies_when_its_parent_is_killed(tiny_model: Path, tmp_path: Path) -> None:
    asked = plan(tiny_model, epochs=1000)
    (tmp_path / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in ROWS))
    (tmp_path / "spec.json").write_text(spec(asked).model_dump_json())
    script = (
        "import sys; from pathlib import Path; from training.stages import Spec, supervise; here = Path(sys.argv[1])\n"
        "supervise(Spec.model_validate_json((here / 'spec.json').read_text()).plan, here, lambda seen: None)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    watched = psutil.Process(parent.pid)
    until = time.monotonic() + 20
    while not watched.children() and time.monotonic() < until:
        time.sleep(0.05)
    [child] = watched.children()
    time.sleep(1)
    parent.kill()
    parent.wait()
    child.wait(20)
    assert not child.is_running()


def test_a_batch_is_whole_however_many_rows_fit_into_memory(tmp_path: Path) -> None:
    for batch, at_once in ((12, 8), (16, 16), (7, 4), (2, 8)):
        chosen = sft.arguments(plan(tmp_path, batch=batch), tmp_path, at_once)
        assert chosen["per_device_train_batch_size"] <= at_once
        assert chosen["per_device_train_batch_size"] * chosen["gradient_accumulation_steps"] == batch


def test_bounds_that_fall_are_refused() -> None:
    assert Training().sft.rate == (2e-5, 1e-4, 3e-4)
    with pytest.raises(ValueError, match="do not fall"):
        Training.model_validate({"sft": {"rate": [1e-3, 1e-4, 1e-2]}})
