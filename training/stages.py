"""One stage of training, in a process of its own: its memory is returned when it ends, whatever it did."""

import gc
import json
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
from training import curve, dataset, dpo, sft
from training.checkpoints import Progress, newest, watcher
from training.dataset import Shares

DONE, LOG, ROWS, SPEC, WORK = "adapter.json", "log.txt", "rows.jsonl", "spec.json", "work"
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
    within: int = Field(default=0, ge=0)
    """Checkpoints within each stage that compete with the one at its end."""
    report_to: str = curve.NOBODY
    """Who else is told of every step: `tensorboard`, `wandb`, or another that transformers reports to."""
    sft: Sft = Sft()
    dpo: Dpo = Dpo()


class Spec(Closed):
    """All that the process of a stage is told, beside its rows."""

    plan: StagePlan
    parent: Path | None
    dropout: float
    at_once: int
    threads: int
    within: int
    report_to: str


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
            within=settings.within, report_to=settings.report_to,
        )  # fmt: skip
        (folder / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        supervise(plan, folder, progress)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Done.model_validate_json((folder / DONE).read_text(encoding="utf-8")).adapter


def competing(adapter: Adapter, run: Path) -> list[Adapter]:
    """The adapters that a stage made, in order: those kept within it, and the one that it ended with."""
    within = [Done.model_validate_json(file.read_text(encoding="utf-8")).adapter
              for file in (run / adapter.path).glob(f"step-*/{DONE}")]  # fmt: skip
    return [*sorted(within, key=lambda one: one.within), adapter]


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
    if spec.report_to != curve.NOBODY:
        os.chdir(path.parent)
        os.environ.update({name: place for name, place in curve.PLACES.items() if name not in os.environ})
    train(path.parent, spec, lambda seen: print(seen.model_dump_json(), file=lines))
    sys.stderr.flush()
    if spec.report_to == curve.NOBODY:  # a reporter puts away what it has when Python ends
        os._exit(0)  # a second sooner than torch would let go of what it holds


def die_with_parent() -> None:
    """Waits for the pipe that the parent holds open, and ends the process when it closes, however the parent died."""
    while os.read(0, 4096):
        pass
    os._exit(STOPPED)


def train(folder: Path, spec: Spec, tell: Callable[[Progress], None]) -> None:
    """Trains one adapter and puts it into the folder, and as it was on the way into others within."""
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

    def put(step: int = 0) -> None:
        save(trainer, folder, plan, rows, time.monotonic() - began, step)

    callbacks = [watcher(work, tell, spec.within, put), curve.recorder(folder), *curve.reporters(spec.report_to)]
    trainer = TRAINERS[plan.stage](
        loaded(spec), tokenizer, plan, rows, work / "saving", callbacks, spec.dropout, spec.at_once
    )
    trainer.remove_callback(PrinterCallback)
    gc.enable()
    checkpoint = newest(work)
    if checkpoint:
        print(f"going on from {checkpoint.name}", file=sys.stderr, flush=True)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    put()


def save(trainer: Any, folder: Path, plan: StagePlan, rows: Sequence[Example], seconds: float, step: int) -> None:
    """Puts the adapter as it is now into the folder of its stage, or of a step within.

    `adapter.json`, which says that it is whole, comes last.
    """
    place = f"step-{step}" if step else ""
    folder = folder / place
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    few = min(5, max(1, len(losses) // 2))
    adapter = Adapter(
        plan=plan.id, stage=plan.stage, cycle=plan.cycle, path=Path("adapters", plan.id, place).as_posix(), within=step,
        loss_first=fmean(losses[:few]), loss_last=fmean(losses[-few:]), steps=trainer.state.global_step,
        seconds=round(seconds, 1),
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
    from tools.adapters import put_on

    return put_on(model, spec.parent, trainable=True)


def card(done: Done, fit: int) -> str:
    """The model card: how the adapter was made, and no word of what it was trained on."""
    adapter, plan = done.adapter, done.plan
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.rows.items())
    when = f", as it was at step {adapter.within} of the stage" if adapter.within else ""
    terms = f", beta {plan.beta:g}, SFT weight {plan.sft_weight:g}" if plan.stage == "dpo" else ""
    return f"""---
library_name: peft
base_model: {json.dumps(plan.base)}
tags: [breakfix, {plan.stage}, lora]
---
# {adapter.id}

A LoRA adapter that breakfix made by {plan.stage.upper()} in cycle {plan.cycle}, from `{plan.parent}`{when}.

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
