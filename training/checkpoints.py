"""The checkpoints of a stage: one to go on from after a crash, and those that compete with what the stage ends with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

SIZES = "sizes.json"


class Progress(BaseModel):
    """How far a stage is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    steps: int
    loss: float


def watcher(work: Path, tell: Callable[[Progress], None], within: int, put: Callable[[int], None]) -> Any:
    """A callback that tells of every step, keeps one whole checkpoint, and has those within the stage put away.

    `put` is called before the checkpoint of its step is made: a stage that goes on from there has it already. Of
    several processes the first tells and keeps, and all of them `put`.
    """
    from accelerate import PartialState
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:
                return
            if state.global_step in marks(state.max_steps, within):
                put(state.global_step)
            if state.is_world_process_zero:
                tell(Progress(step=state.global_step, steps=state.max_steps, loss=logs["loss"]))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            every = max(10, state.max_steps // 4)
            if state.global_step % every == 0 and state.global_step < state.max_steps:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            PartialState().wait_for_everyone()
            if state.is_world_process_zero:
                keep(Path(args.output_dir) / f"checkpoint-{state.global_step}", work)
            PartialState().wait_for_everyone()

    return Watcher()


def marks(steps: int, within: int) -> set[int]:
    """The steps that divide a stage evenly, so that one checkpoint is at its middle; its end is none of them."""
    return {round(steps * number / (within + 1)) for number in range(1, within + 1)} - {0, steps}


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
