"""One stage of training, in a process of its own: its memory is returned when it ends, whatever it did."""

import gc
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tools.bounds import Bound, Choice
from tools.records import Adapter, Example, StagePlan
from training import dataset, dpo, sft
from training.dataset import Shares

DONE, LOG, ROWS, SPEC, WORK = "adapter.json", "log.txt", "rows.jsonl", "spec.json", "work"
SIZES = "sizes.json"
STOPPED = 4
"""Exit code of a stage whose parent is gone: stopped, and resumable."""
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",
}
"""Environment of a stage. Without the first two, threads that wait eat the core that another process needs."""
TRAINERS: dict[str, Callable[..., Any]] = {"sft": sft.trainer, "dpo": dpo.trainer}


class StageError(RuntimeError):
    """A stage ended without an adapter: which, how, and its last words, in one line."""


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sft(Choice):
    """Low, default and high of what the trainer may choose for SFT."""

    epochs: Bound = (1.0, 2.0, 3.0)
    rate: Bound = (2e-5, 1e-4, 3e-4)
    """5e-5 is a better default from 7 B on."""


class Dpo(Choice):
    """Low, default and high of what the trainer may choose for DPO, and what is fixed."""

    epochs: Bound = (1.0, 1.0, 2.0)
    rate: Bound = (1e-6, 5e-6, 2e-5)
    beta: float = Field(default=0.1, gt=0)
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the SFT term, which keeps chosen text likely."""
    most_pairs: int = Field(default=3000, gt=0)


class Training(Closed):
    """How adapters are trained. The defaults are for models of 1-14 B."""

    rank: int = Field(default=32, gt=0)
    batch: int = Field(default=16, gt=0)
    """Rows for each step."""
    at_once: int = Field(default=8, gt=0)
    """Most rows in memory at a time; a larger batch is gone through in equal parts."""
    length: int = Field(default=1024, gt=0)
    """Tokens; the end of a longer row is cut off."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    threads: int | None = Field(default=None, gt=0)
    """None takes all that the machine has."""
    shares: Shares = Shares()
    most_rows: int = Field(default=6000, gt=0)
    sft: Sft = Sft()
    dpo: Dpo = Dpo()


class Progress(Closed):
    """How far a stage is."""

    step: int
    steps: int
    loss: float


class Spec(Closed):
    """All that the process of a stage is told, beside its rows."""

    plan: StagePlan
    parent: Path | None
    dropout: float
    at_once: int
    threads: int


class Done(Closed):
    """What `adapter.json` says: the adapter, how it was made, and from how many rows of each kind."""

    adapter: Adapter
    plan: StagePlan
    rows: dict[str, int]


def run_stage(
    plan: StagePlan,
    examples: Sequence[Example],
    run: Path,
    parent: Path | None,
    progress: Callable[[Progress], None],
    settings: Training = Training(),  # noqa: B008
) -> Adapter:
    """Trains the adapter of a plan into `run/adapters/<plan.id>`, from the adapter in `parent` if one is given.

    An adapter that is there already is returned as it is, and a stage that was killed goes on from its last
    checkpoint. Raises StageError when the process of the stage ends without one.
    """
    folder = (run / "adapters" / plan.id).resolve()
    if not (folder / DONE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ROWS).write_text("".join(row.model_dump_json() + "\n" for row in examples), encoding="utf-8")
        spec = Spec(
            plan=plan, parent=parent.resolve() if parent else None, dropout=settings.dropout,
            at_once=settings.at_once, threads=settings.threads or os.cpu_count() or 1,
        )  # fmt: skip
        (folder / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        supervise(plan, folder, progress)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Done.model_validate_json((folder / DONE).read_text(encoding="utf-8")).adapter


def supervise(plan: StagePlan, folder: Path, progress: Callable[[Progress], None]) -> None:
    """Runs the process of a stage to its end, and takes it along when this one is interrupted."""
    one_gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    with (folder / LOG).open("ab") as log:
        before = log.tell()
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "training.stages", str(folder / SPEC)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8",
            env=os.environ | QUIET | {"CUDA_VISIBLE_DEVICES": one_gpu}, start_new_session=True,
        ) as child:  # fmt: skip
            try:
                for line in child.stdout or ():
                    progress(Progress.model_validate_json(line))
                code = child.wait()
            finally:
                end(child)
    if code or not (folder / DONE).exists():
        words = (folder / LOG).read_bytes()[before:].decode(errors="replace").split("\n")
        last = " | ".join([line.strip()[:300] for line in words if line.strip()][-3:]) or "it said nothing"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise StageError(f"{plan.stage} stage {plan.id} ended with {how}: {last} (all of it: {folder / LOG})")


def end(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(path: Path) -> None:
    """The process of a stage. Standard output carries its progress, one JSON line a step, and nothing else."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=die_with_parent, daemon=True).start()
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    gc.disable()  # until all is imported, which takes a tenth longer with it
    spec = Spec.model_validate_json(path.read_text(encoding="utf-8"))
    train(path.parent, spec, lambda seen: print(seen.model_dump_json(), file=lines))


def die_with_parent() -> None:
    """Waits for the pipe that the parent holds open, and ends the process when it closes, however the parent died."""
    while os.read(0, 4096):
        pass
    os._exit(STOPPED)


def train(folder: Path, spec: Spec, tell: Callable[[Progress], None]) -> None:
    """Trains one adapter and puts it into the folder; `adapter.json`, which says that it is whole, comes last."""
    began, plan = time.monotonic(), spec.plan
    with (folder / ROWS).open(encoding="utf-8") as file:
        rows = [Example.model_validate_json(line) for line in file]
    import torch
    from transformers import AutoTokenizer, PrinterCallback

    torch.set_num_threads(spec.threads)
    if plan.stage == "dpo":
        rows = dataset.thinned(dataset.pairs(rows), plan.rows, plan.seed)
    tokenizer = AutoTokenizer.from_pretrained(plan.base, trust_remote_code=False)
    work = folder / WORK
    trainer = TRAINERS[plan.stage](
        loaded(spec), tokenizer, plan, rows, work / "saving", [watcher(work, tell)], spec.dropout, spec.at_once
    )
    trainer.remove_callback(PrinterCallback)
    gc.enable()
    checkpoint = newest(work)
    if checkpoint:
        print(f"going on from {checkpoint.name}", file=sys.stderr, flush=True)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    few = min(5, max(1, len(losses) // 2))
    adapter = Adapter(
        plan=plan.id, stage=plan.stage, cycle=plan.cycle, path=f"adapters/{plan.id}",
        loss_first=fmean(losses[:few]), loss_last=fmean(losses[-few:]), steps=trainer.state.global_step,
        seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip
    done = Done(adapter=adapter, plan=plan, rows=dict(sorted(Counter(row.kind for row in rows).items())))
    trainer.model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    (folder / "README.md").write_text(card(done, len(trainer.train_dataset)), encoding="utf-8")
    (folder / f"{DONE}.part").write_text(done.model_dump_json(indent=1), encoding="utf-8")
    (folder / f"{DONE}.part").rename(folder / DONE)


def loaded(spec: Spec) -> Any:
    """The base model, with the parent's adapter on it if there is one."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        spec.plan.base, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    if spec.parent is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, spec.parent, is_trainable=True)


def watcher(work: Path, tell: Callable[[Progress], None]) -> Any:
    """A callback that tells of every step, and keeps one whole checkpoint."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" in logs and not math.isfinite(logs["loss"]):
                raise ValueError(f"the loss is {logs['loss']} at step {state.global_step}; lower the rate")
            if "loss" in logs:
                tell(Progress(step=state.global_step, steps=state.max_steps, loss=logs["loss"]))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            every = max(10, state.max_steps // 4)
            if state.global_step % every == 0 and state.global_step < state.max_steps:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            keep(Path(args.output_dir) / f"checkpoint-{state.global_step}", work)

    return Watcher()


def keep(made: Path, work: Path) -> None:
    """Moves a checkpoint that has been written to where it is looked for, and lets go of the ones before."""
    shutil.rmtree(made / "ref", ignore_errors=True)  # DPO's reference: with it there, Trainer would not load the policy
    sizes = {str(file.relative_to(made)): file.stat().st_size for file in made.rglob("*") if file.is_file()}
    (made / SIZES).write_text(json.dumps(sizes), encoding="utf-8")
    before = list(work.glob("checkpoint-*"))
    shutil.rmtree(work / made.name, ignore_errors=True)
    made.rename(work / made.name)
    for old in before:
        if old.name != made.name:
            shutil.rmtree(old, ignore_errors=True)


def newest(work: Path) -> Path | None:
    """The latest checkpoint that is whole."""
    found = sorted(work.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]))
    return next((one for one in reversed(found) if whole(one)), None)


def whole(checkpoint: Path) -> bool:
    """Whether every file of a checkpoint is there and as long as it was."""
    try:
        sizes = json.loads((checkpoint / SIZES).read_text(encoding="utf-8"))
        return bool(sizes) and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def card(done: Done, fit: int) -> str:
    """The model card: how the adapter was made, and no word of what it was trained on."""
    adapter, plan = done.adapter, done.plan
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.rows.items())
    terms = f", beta {plan.beta:g}, SFT weight {plan.sft_weight:g}" if plan.stage == "dpo" else ""
    return f"""---
library_name: peft
base_model: {json.dumps(plan.base)}
tags: [breakfix, {plan.stage}, lora]
---
# {adapter.id}

A LoRA adapter that breakfix made by {plan.stage.upper()} in cycle {plan.cycle}, from `{plan.parent}`.

| | |
|---|---|
| plan | `{plan.id}` |
| rows | {sum(done.rows.values())} ({kinds}), {fit} of which fit into {plan.length} tokens |
| epochs, rate, batch | {plan.epochs:g}, {plan.rate:g}, {plan.batch} |
| LoRA | rank {plan.rank}, alpha {2 * plan.rank}, every linear layer{terms} |
| seed | {plan.seed} |
| steps | {adapter.steps} |
| loss, first and last steps | {adapter.loss_first:.4f}, {adapter.loss_last:.4f} |

{plan.why}
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # a second sooner than torch would let go of what it holds
