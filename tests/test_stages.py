import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from staging import ROWS, curve_of, dies_at, in_process, plan, said_of, same, silent, spec, weights

from tools.records import Adapter, digest
from training import checkpoints, curve, dpo, loading, sft, stages, watch
from training.checkpoints import Progress
from training.saving import Done, whole
from training.settings import Training
from training.stages import StageError, StageSpoilt, run_stage, supervise

ROOT = Path(__file__).parent.parent


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


def test_a_curve_has_every_step_once_by_trls_own_names(undisturbed: dict[str, Path]) -> None:
    taught, preferred = curve_of(undisturbed["sft"]), curve_of(undisturbed["dpo"])
    assert [one["step"] for one in taught] == list(range(said_of(undisturbed["sft"]).adapter.steps + 1))
    taught, preferred = taught[1:], preferred[1:]  # without the look at the start
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
    model = loading.loaded(chosen, undisturbed["sft"], Training())
    trainer = dpo.trainer(model, AutoTokenizer.from_pretrained(tiny_model), chosen, ROWS, tmp_path)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert any(
        float(tensor.abs().max()) > 0 for name, tensor in weights(undisturbed["sft"]).items() if "lora_B" in name
    )


def test_a_stage_that_comes_to_no_number_leaves_no_adapter_and_says_why(tiny_model: Path, tmp_path: Path) -> None:
    wild = plan(tiny_model, rate=1e30)
    settings = Training(dropout=0, at_once=4, batch=4, threads=1)
    with pytest.raises(StageSpoilt, match=rf"^sft stage {wild.id}: .*lower the rate$") as told:
        run_stage(wild, ROWS, tmp_path, None, silent, settings)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "adapters" / wild.id / "adapter.json").exists()


def test_weights_that_are_no_numbers_are_no_candidate_though_no_loss_was(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(seen: Progress, steps: tuple[int, ...]) -> None:
        if seen.step in steps:
            monkeypatch.setattr(watch, "numbers", lambda model: False)

    with pytest.raises(watch.Spoilt, match="the weights are no numbers"):
        in_process(plan(tiny_model), tmp_path / "blind", tell=lambda seen: spoil(seen, (24,)), watch={"looks": 0})
    monkeypatch.undo()
    folder = in_process(plan(tiny_model), tmp_path / "watched", tell=lambda seen: spoil(seen, (22,)))
    done = said_of(folder)
    assert "the weights were no numbers any more at step 24" in done.why
    assert 0 < (done.kept or 0) < 24


def test_an_adapter_that_was_cut_short_is_trained_again_to_the_same_weights(
    undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    folder = in_process(plan(tiny_model), tmp_path)
    file = folder / "adapter_model.safetensors"
    assert whole(folder)
    for left in (file.stat().st_size - 1, 100, 3, 0):
        file.write_bytes((undisturbed["sft"] / file.name).read_bytes()[:left])
        assert not whole(folder)
    (folder / "spec.json").write_text(spec(plan(tiny_model), dropout=0.1, at_once=2).model_dump_json())
    stages.again(folder, silent)
    assert whole(folder)
    assert same(folder, undisturbed["sft"])


def test_two_processes_never_train_in_one_folder(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from training import stages; stages.LEFT = float(sys.argv[2])\n" \
             "lock = stages.alone(Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()"  # fmt: skip

    def begun(left: float) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(left)], cwd=ROOT, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    with begun(60) as first:
        assert first.stdout
        assert first.stdout.readline() == "mine\n"
        with begun(0.1) as second:
            assert second.wait(60) == 1
            assert second.stderr
            assert f"another process still trains in {tmp_path}" in second.stderr.read()
        with begun(60) as third:
            first.kill()
            assert third.stdout
            assert third.stdout.readline() == "mine\n"
            third.kill()


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
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert run_stage(asked, ROWS, tmp_path, None, silent) == there
    assert not (folder / "work").exists()


def test_a_crash_is_one_line_with_the_stage_the_exit_and_the_last_words(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    (tmp_path / "spec.json").write_text(spec(asked).model_dump_json())
    (tmp_path / "log.txt").write_text("what an earlier start said\n")
    with pytest.raises(StageError) as crash:
        supervise(asked, tmp_path, silent)
    message = str(crash.value)
    assert f"sft stage {asked.id} ended with exit code 1" in message
    assert "rows.jsonl" in message
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
        chosen = sft.arguments(plan(tmp_path, batch=batch), tmp_path, Training(at_once=at_once))
        assert chosen["per_device_train_batch_size"] <= at_once
        assert chosen["per_device_train_batch_size"] * chosen["gradient_accumulation_steps"] == batch


def test_bounds_that_fall_are_refused() -> None:
    assert Training().sft.rate == (2e-5, 1e-4, 3e-4)
    with pytest.raises(ValueError, match="do not fall"):
        Training.model_validate({"sft": {"rate": [1e-3, 1e-4, 1e-2]}})


def processes() -> list[psutil.Process]:
    """Those that train, and no launcher of theirs."""
    found = [(one, one.cmdline()) for one in psutil.Process().children(recursive=True)]
    return [one for one, said in found if "training.stages" in said and "--config_file" not in said]


def test_a_trainer_that_is_killed_goes_on_by_itself(
    undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    steps: list[int] = []

    def kill(seen: Progress) -> None:
        if seen.step == 15 and 15 not in steps:
            processes()[0].kill()
        steps.append(seen.step)

    settings = Training(dropout=0.1, at_once=2, batch=4, threads=1)
    adapter = run_stage(plan(tiny_model), ROWS, tmp_path, None, kill, settings)
    folder = tmp_path / adapter.path
    assert steps.count(11) == 2
    assert steps.count(10) == 1
    assert "ended with signal SIGKILL; going on, try 1 of 3" in (folder / "log.txt").read_text()
    assert same(folder, undisturbed["sft"])
    assert (folder / "curve.jsonl").read_bytes() == (undisturbed["sft"] / "curve.jsonl").read_bytes()


def test_two_processes_that_accelerate_launches_train_one_adapter_and_one_of_them_may_be_killed(
    undisturbed: dict[str, Path], tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 2\nmain_process_port: 0\n")
    settings = Training(at_once=2, batch=4, threads=1, dropout=0, launch=tmp_path / "two.yaml")
    steps, several = list[int](), list[int]()

    def kill(seen: Progress) -> None:
        several.append(len(processes()))
        if seen.step == 15 and 15 not in steps:
            processes()[1].kill()
        steps.append(seen.step)

    taught = run_stage(plan(tiny_model), ROWS, tmp_path, None, kill, settings)
    assert max(several) == 2
    assert {n: steps.count(n) for n in (1, 10, 11, 24)} == {1: 1, 10: 1, 11: 2, 24: 1}
    alone = in_process(plan(tiny_model), tmp_path / "alone", dropout=0)
    ours, theirs = (curve_of(folder) for folder in (tmp_path / taught.path, alone))
    assert [one["step"] for one in ours] == list(range(25))
    for one, other in zip(ours[1:11], theirs[1:11], strict=True):  # of an epoch's last rows, two take other shares
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    chosen = plan(tiny_model, stage="dpo", rate=1e-3, epochs=0.5)
    preferred = run_stage(chosen, ROWS, tmp_path, tmp_path / taught.path, silent, settings)
    assert curve_of(tmp_path / preferred.path)[1]["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert not same(tmp_path / preferred.path, tmp_path / taught.path)


def instead(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Has a script run in place of a stage, which is given the path of the stage's spec."""
    monkeypatch.setattr(stages, "command", lambda spec, settings: [sys.executable, "-c", script, str(spec)])


def test_a_stage_that_is_always_killed_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    (tmp_path / "spec.json").write_text(spec(plan(tmp_path)).model_dump_json())
    with pytest.raises(StageError, match=r"ended with signal SIGKILL"):
        supervise(plan(tmp_path), tmp_path, silent)
    assert (tmp_path / "log.txt").read_text().count("going on") == stages.TRIES


def test_too_little_memory_on_the_card_halves_what_is_in_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(spec(plan(tmp_path, batch=16), at_once=8).model_dump_json())
    told = f"""
import torch
from pathlib import Path
from training import stages
def crowded(*_):
    raise torch.OutOfMemoryError("CUDA out of memory")
stages.train = crowded
stages.main(Path({str(file)!r}))
"""
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "CUDA out of memory" in done.stderr) == (stages.CROWDED, True)
    instead(monkeypatch, f"import sys; sys.exit({stages.CROWDED} * (chr(34) + 'at_once' + chr(34) + ':2,' not in "
            "open(sys.argv[1]).read().replace(' ', '')))")  # fmt: skip
    monkeypatch.setattr(stages, "whole", lambda folder: True)
    supervise(plan(tmp_path), tmp_path, silent)
    assert [line.rpartition(" ")[2] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["4", "2"]
    instead(monkeypatch, f"import sys; sys.exit({stages.CROWDED})")
    with pytest.raises(StageError, match=r"exit code 5"):
        supervise(plan(tmp_path), tmp_path, silent)


def test_too_little_memory_is_known_of_a_process_that_accelerate_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.json").write_text(spec(plan(tmp_path, batch=16), at_once=8).model_dump_json())
    monkeypatch.setattr(stages, "whole", lambda folder: True)
    told = """
import json, sys
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
if json.load(open(sys.argv[1]))["settings"]["at_once"] > 4:
    raise ChildFailedError("training.stages", {0: ProcessFailure(0, 7, 5, "none"), 1: ProcessFailure(1, 8, -9, "none")})
"""
    instead(monkeypatch, told)
    supervise(plan(tmp_path), tmp_path, silent)
    assert "going on with training.at_once = 4" in (tmp_path / "log.txt").read_text()


def test_training_gets_the_first_card_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert stages.cards(Training()) == {"CUDA_VISIBLE_DEVICES": "4"}
    assert stages.cards(Training(devices="2")) == {"CUDA_VISIBLE_DEVICES": "2"}
    assert stages.cards(Training(launch=Path("a.yaml"))) == {}
    assert stages.cards(Training(launch=Path("a.yaml"), devices="0,1")) == {"CUDA_VISIBLE_DEVICES": "0,1"}
    with pytest.raises(ValueError, match="devices"):
        Training(devices="gpu0")
