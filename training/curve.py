"""The curve of a stage: what TRL logs at every step, kept in its folder, and told to whom the recipe names."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.names import instead

CURVE = "curve.jsonl"
NOBODY = "none"
COUNTS_ANEW = "num_tokens"
"""What TRL begins to count anew when a stage goes on from a checkpoint, so that it is no part of a curve."""
PLACES = {"TENSORBOARD_LOGGING_DIR": "tensorboard"}
"""Where a reporter writes that would not in the working directory, which is the folder of the stage."""


def recorder(folder: Path) -> Any:
    """A callback that keeps a line for every step, by TRL's own names.

    A stage that goes on from a checkpoint begins with the lines of that one, so that no step is there twice.
    """
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                (folder / CURVE).write_text("".join(map(line, state.log_history)), encoding="utf-8")

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                with (folder / CURVE).open("a", encoding="utf-8") as file:
                    file.write(line(state.log_history[-1]))

    return Recorder()


def line(logged: Mapping[str, Any]) -> str:
    """A step as JSON, with null for what is no number; nothing for the summary at the end, which is of no step.

    Step 0 is the look at what the stage starts from.
    """
    if "loss" not in logged and logged.get("step") != 0:
        return ""
    values = {name: value if math.isfinite(value) else None for name, value in sorted(logged.items())}
    values.pop(COUNTS_ANEW, None)
    return json.dumps({"step": values.pop("step"), **values}) + "\n"


def reporters(name: str) -> list[Any]:
    """The callback of transformers that reports to `name`. Raises ValueError where it cannot be had."""
    if name == NOBODY:
        return []
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    if name not in INTEGRATION_TO_CALLBACK:
        other = instead(name, [NOBODY, *sorted(INTEGRATION_TO_CALLBACK)])
        raise ValueError(f"training.report_to = {name!r} is nobody whom transformers reports to; {other}")
    try:
        return [INTEGRATION_TO_CALLBACK[name]()]
    except (ImportError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"training.report_to = {name!r}: {said} Or give {NOBODY!r}") from error
