"""One stage of training, in a process of its own: its memory is returned when it ends, whatever it did."""

import fcntl
import gc
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from tools.footprint import lacking
from tools.records import BASE, Adapter, Example, StagePlan, digest
from training import curve, dataset, dpo, loading, sft, watch
from training.checkpoints import Progress, newest, watcher
from training.saving import DONE, Done, save, weights, whole, write
from training.settings import Closed, Training

LOG, ROWS, SPEC, WORK = "log.txt", "rows.jsonl", "spec.json", "work"
STOPPED = 4
"""Exit code of a stage whose parent is gone: stopped, and resumable."""
CROWDED, SPOILT = 5, 6
"""Exit codes of a stage that wanted more memory than its card has, and of one whose weights are no numbers any more."""
KILLED, FULL, LOST = "(SIGKILL)", f"exitcode  : {CROWDED} ", f"exitcode  : {SPOILT} "
"""What accelerate says of a process of its own that was killed, that had too little memory, or that came to nothing."""
LOCK = "lock"
LEFT = 60.0
"""Seconds for which a stage waits for one that a dead parent left behind in its folder."""
TRIES = 3
"""How often a killed stage goes on by itself."""
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",
    "PYTHONSAFEPATH": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
"""Environment of a stage. Without the first two, threads that wait eat the core that another process needs; with
`PYTHONSAFEPATH`, no `training/` of the user's own folder is run. The last two have glibc keep what it was given: to ask
for the same pages at every step takes a quarter of a small model's CPU."""
TRAINERS: dict[str, Callable[..., Any]] = {"sft": sft.trainer, "dpo": dpo.trainer}


class StageError(RuntimeError):
    """A stage ended without an adapter: which, how, and its last words, in one line."""


class StageSpoilt(StageError):
    """A stage came to weights that are no numbers, and has no sound step to end with: its candidate is none."""


class Spec(Closed):
    """All that the process of a stage is told, beside its rows."""

    plan: StagePlan
    parent: Path | None
    settings: Training


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
    if plan.parent != BASE and parent is None:
        raise ValueError(
            f"{plan.stage} stage {plan.id} is planned to go on with {plan.parent}, and has no folder of it"
        )
    folder = (run / "adapters" / plan.id).resolve()
    if not whole(folder):
        (folder / DONE).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ROWS).write_text("".join(row.model_dump_json() + "\n" for row in examples), encoding="utf-8")
        spec = Spec(plan=plan, parent=parent.resolve() if parent else None, settings=settings)
        (folder / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        supervise(plan, folder, progress)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return Done.model_validate_json((folder / DONE).read_text(encoding="utf-8")).adapter


def again(folder: Path, progress: Callable[[Progress], None]) -> None:
    """Trains an adapter again, from the rows and the plan that lie in its folder. Raises as `run_stage` does."""
    spec = Spec.model_validate_json((folder / SPEC).read_text(encoding="utf-8"))
    (folder / DONE).unlink(missing_ok=True)
    supervise(spec.plan, folder.resolve(), progress)
    shutil.rmtree(folder / WORK, ignore_errors=True)


def competing(adapter: Adapter, run: Path) -> list[Adapter]:
    """The adapters that a stage made, in order: those kept within it, and the one that it ended with."""
    within = [Done.model_validate_json(file.read_text(encoding="utf-8")).adapter
              for file in (run / adapter.path).glob(f"step-*/{DONE}")]  # fmt: skip
    return [*sorted(within, key=lambda one: one.within), adapter]


def at_once(adapter: Adapter, run: Path) -> int:
    """How many rows a stage had in memory at once; fewer than it was told where the card had too little."""
    spec = Spec.model_validate_json((run / adapter.path / SPEC).read_text(encoding="utf-8"))
    return spec.settings.at_once


def why(adapter: Adapter, run: Path) -> str:
    """Why a stage ended before its time, or with the weights of an earlier step; empty where it did not."""
    return Done.model_validate_json((run / adapter.path / DONE).read_text(encoding="utf-8")).why


def supervise(plan: StagePlan, folder: Path, progress: Callable[[Progress], None]) -> None:
    """Runs the process of a stage to its end, and takes it along when this one is interrupted.

    One that somebody kills goes on from its last checkpoint, a bounded number of times; one that had too little memory
    on its card, with half the rows at once.
    """
    tries, settings = 0, Spec.model_validate_json((folder / SPEC).read_text(encoding="utf-8")).settings
    while True:
        with (folder / LOG).open("ab") as log:
            before = log.tell()
            code = watched(folder, log, progress, settings)
        if not code and whole(folder):
            return
        words = (folder / LOG).read_bytes()[before:].decode(errors="replace").split("\n")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        crowded = code == CROWDED or any(FULL in line for line in words)
        last = " | ".join([line.strip()[:300] for line in words if line.strip()][-3:]) or "it said nothing"
        if code == SPOILT or any(LOST in line for line in words):
            raise StageSpoilt(f"{plan.stage} stage {plan.id}: {last}")
        if crowded and (half := halved(folder / SPEC)):
            mend = f"too little memory on the card: going on with training.at_once = {half}"
        elif (code < 0 or any(KILLED in line for line in words)) and not crowded and tries < TRIES:
            tries += 1
            mend = f"going on, try {tries} of {TRIES}"
        else:
            mend = "; not even one row at a time fits: lower training.length or training.rank" if crowded else ""
            raise StageError(f"{plan.stage} stage {plan.id} ended with {how}: {last}{mend} (all of it: {folder / LOG})")
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"ended with {how}; {mend}\n")
        told = {"stage": plan.stage, "how": how, "mend": mend}
        logging.getLogger("breakfix").warning("stage is gone on with", extra={"told": told})


def watched(folder: Path, log: BinaryIO, progress: Callable[[Progress], None], settings: Training) -> int:
    """The exit code of the process of a stage, which is told of as long as it runs."""
    with subprocess.Popen(
        command(folder / SPEC, settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        encoding="utf-8", env=os.environ | QUIET | cards(settings), start_new_session=True,
    ) as child:  # fmt: skip
        try:
            for line in child.stdout or ():
                if line.startswith("{"):  # accelerate may say something there as well
                    progress(Progress.model_validate_json(line))
            return child.wait()
        finally:
            end(child)


def command(spec: Path, settings: Training) -> list[str]:
    """What is run for a stage: one process, or as many as accelerate's configuration says."""
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(settings.launch)] if settings.launch else []
    return [sys.executable, *launch, "-m", "training.stages", str(spec)]


def cards(settings: Training) -> dict[str, str]:
    """The environment that says which cards training may use: the first, where nothing is said."""
    if settings.launch and not settings.devices:
        return {}
    return {"CUDA_VISIBLE_DEVICES": settings.devices or os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]}


def halved(file: Path) -> int:
    """Halves how many rows a stage has in memory at once, and says how many they are; 0 where it was one."""
    spec = Spec.model_validate_json(file.read_text(encoding="utf-8"))
    half = min(spec.settings.at_once, spec.plan.batch) // 2
    if half:
        changed = spec.model_copy(update={"settings": spec.settings.model_copy(update={"at_once": half})})
        file.write_text(changed.model_dump_json(indent=1), encoding="utf-8")
    return half


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
    held = alone(path.parent) if os.environ.get("RANK", "0") == "0" else None
    spec = Spec.model_validate_json(path.read_text(encoding="utf-8"))
    if spec.settings.report_to != curve.NOBODY:
        os.chdir(path.parent)
        os.environ.update({name: place for name, place in curve.PLACES.items() if name not in os.environ})
    try:
        train(path.parent, spec, lambda seen: print(seen.model_dump_json(), file=lines))
    except watch.Spoilt as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(SPOILT)
    except (RuntimeError, MemoryError) as error:
        if not lacking(error):
            raise
        print(error or "out of memory", file=sys.stderr, flush=True)
        os._exit(CROWDED)
    sys.stderr.flush()
    del held
    if spec.settings.report_to == curve.NOBODY:  # a reporter puts away what it has when Python ends
        os._exit(0)  # a second sooner than torch would let go of what it holds


def alone(folder: Path) -> IO[bytes]:
    """Holds the folder of a stage for this process. One that a dead parent left behind is about to end, and waited for.

    Raises RuntimeError where it does not end.
    """
    lock, until = (folder / LOCK).open("ab"), time.monotonic() + LEFT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RuntimeError(f"another process still trains in {folder}; stop that first") from error
            time.sleep(0.1)


def die_with_parent() -> None:
    """Waits for the pipe that the parent holds open, and ends the process when it closes, however the parent died."""
    while os.read(0, 4096):
        pass
    os._exit(STOPPED)


def train(folder: Path, spec: Spec, tell: Callable[[Progress], None]) -> None:
    """Trains one adapter and puts it into the folder, and as it was on the way into others within."""
    began, plan, settings, work = time.monotonic(), spec.plan, spec.settings, folder / WORK
    loading.check(settings)
    with (folder / ROWS).open(encoding="utf-8") as file:
        rows = [Example.model_validate_json(line) for line in file]
    import torch
    from transformers import AutoTokenizer, PrinterCallback

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // here))
    tokenizer = AutoTokenizer.from_pretrained(plan.base, trust_remote_code=False)
    model, more = loading.loaded(plan, spec.parent, settings), dict[str, Any]()
    if plan.stage == "dpo":
        rows = dataset.thinned(dataset.pairs(rows), plan.rows, plan.seed)
        if plan.likeness:
            from training import filters

            rows = filters.apart(model, tokenizer, rows, plan)
        if plan.method == "full":
            more["reference"] = loading.loaded(plan, spec.parent, settings)
    rows, held = parted(rows, settings.held_out, plan.seed)
    trainer = TRAINERS[plan.stage](model, tokenizer, plan, rows, work / "saving", (), settings, held, **more)

    def put(step: int = 0, kept: Path | None = None, why: str = "") -> None:
        if kept is None and not watch.numbers(model):
            if step:
                return
            raise watch.Spoilt("the weights are no numbers any more; lower the rate")
        save(trainer, folder, plan, rows, time.monotonic() - began, step, kept, why)

    asked = watch.probe(rows, tokenizer, plan, settings.watch)
    looker = watch.watcher(trainer, asked, plan, settings, work, lambda: weights(trainer, plan),
                           lambda to, state: write(trainer, to, plan, state))  # fmt: skip
    callbacks = [looker, watcher(work, tell, settings.within, put), curve.recorder(folder),
                 *curve.reporters(settings.report_to)]  # fmt: skip
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)
    gc.enable()
    checkpoint = newest(work)
    if checkpoint:
        print(f"going on from {checkpoint.name}", file=sys.stderr, flush=True)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    put(0, *looker.verdict())
    trainer.accelerator.wait_for_everyone()


def parted(rows: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The rows to train on, and the share of them that is kept back: all that were made from a goal, or none."""
    back = {row.id for row in rows if int(digest(seed, "held out", row.goal or row.id), 16) < share * 16**16}
    return [row for row in rows if row.id not in back], [row for row in rows if row.id in back]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
