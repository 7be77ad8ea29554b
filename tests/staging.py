"""A stage to train in a test: rows, a plan, and the inside of its process run in this one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.records import Example, Message, StagePlan
from training import stages
from training.checkpoints import Progress
from training.saving import Done
from training.settings import Training
from training.stages import Spec

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


def spec(plan: StagePlan, parent: Path | None = None, **more: Any) -> Spec:
    settings = Training.model_validate({"dropout": 0, "at_once": 4, "threads": 1, **more})
    return Spec(plan=plan, parent=parent, settings=settings)


def in_process(
    plan: StagePlan, run: Path, parent: Path | None = None, tell: Callable[[Progress], None] = silent, **more: Any
) -> Path:
    """Runs the inside of a stage in this process, and returns its folder."""
    folder = run / "adapters" / plan.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in ROWS))
    stages.train(folder, spec(plan, parent, **{"dropout": 0.1, "at_once": 2, **more}), tell)
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


def curve_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
