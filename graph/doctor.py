"""What this machine can do, and whether that is enough for a recipe."""

import importlib.util
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from graph.config import RecipeError, load
from graph.preflight import preflight

NEEDED = {"openai": "aiohttp", "hf": "transformers", "vllm": "vllm", "anthropic": "langchain_anthropic"}
"""The package that a provider is reached through."""


def examine(recipe: Path | None) -> bool:
    """Prints what there is, a line each, and returns whether nothing that is needed is missing."""
    found = []
    for fine, text in (*machine(), *(needs(recipe) if recipe else ())):
        print(f"{'ok  ' if fine else 'MISS'}  {text}")
        found.append(fine)
    return all(found)


def machine() -> list[tuple[bool, str]]:
    import torch

    cuda = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())] if cuda else []
    there = importlib.util.find_spec("lm_eval") is not None
    harness = f"lm_eval {version('lm_eval')}" if there else "no lm_eval: pip install 'breakfix[lm-eval]' for its tasks"
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    power = ", ".join(gpus) or "no GPU: the sandbox runs"
    return [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer)"),
        (
            True,
            f"torch {torch.__version__}, {os.cpu_count()} cores, {power}",
        ),
        (True, harness),
        (free > 2, f"{free:.0f} GB of disk free here (2 or more; a real model's run wants 20)"),
    ]


def needs(recipe: Path) -> list[tuple[bool, str]]:
    """What a recipe asks for: packages and keys. Raises RecipeError when it is wrong."""
    found = load(recipe)
    lines = [(True, f"{recipe} is a recipe: seed {found.seed}, gates {', '.join(found.gates) or 'none'}")]
    for role, spec in found.models.items():
        package = NEEDED.get(spec.provider)
        missing = package is not None and importlib.util.find_spec(package) is None
        keyless = spec.provider == "openai" and not spec.base_url and not os.environ.get(spec.key_env)
        trouble = f"; pip install {package}" if missing else f"; set ${spec.key_env}" if keyless else ""
        lines.append((not trouble, f"{role}: {spec.model}{trouble}"))
    try:
        preflight(found)
    except RecipeError as error:
        lines.append((False, str(error)))
    return lines
