"""What this machine can do, and whether that is enough for a recipe."""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from graph.config import Recipe, RecipeError
from graph.preflight import preflight
from graph.recipes import load
from graph.sizing import Line, sized
from tools.llm import Model

NEEDED = {"openai": "aiohttp", "hf": "transformers", "anthropic": "langchain_anthropic"}
"""The package that a provider is reached through."""
MARKS = {True: "ok  ", False: "MISS", None: "note"}
OURS = ("hf", "vllm", "sandbox", "ollama")
"""Providers of models that run where one says."""
VENDORS = re.compile(r"(openai|anthropic|googleapis|mistral|cohere|x|azure|amazonaws|groq|deepseek)\.(com|ai)\b")
"""Addresses of those who serve models of their own."""
USED = {"writer": "its output is trained on", "attacker": "its attacks are prompts of what is trained on",
        "judge": "its verdicts choose what is trained on",
        "second_judge": "its verdicts choose what is trained on"}  # fmt: skip
GATED = re.compile("llama|gemma|mistral", re.IGNORECASE)


def examine(recipe: Path | None, card: float | None = None) -> bool:
    """Prints what there is, a line each, and returns whether nothing that is needed is missing."""
    found = []
    for fine, text in (*machine(), *(needs(recipe, card) if recipe else ())):
        print(f"{MARKS[fine]}  {text}")
        found.append(fine is not False)
    return all(found)


def machine() -> list[Line]:
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


def needs(recipe: Path, card: float | None = None) -> Iterator[Line]:
    """What a recipe asks for: packages, keys, weights and room. Raises RecipeError when it is wrong."""
    found = load(recipe)
    yield True, f"{recipe} is a recipe: seed {found.seed}, gates {', '.join(found.gates) or 'none'}"
    lines = [line for role, spec in found.models.items() for line in (reached(role, spec), *lying(role, spec))]
    lines += packages(found)
    yield from lines
    yield from terms(found)
    yield from sized(found, card)
    try:
        preflight(found)
    except RecipeError as error:
        if (False, str(error)) not in lines:
            yield False, str(error)


def reached(role: str, spec: Model) -> Line:
    """Whether the package and the key of a model are there."""
    package = NEEDED.get(spec.provider)
    missing = package is not None and importlib.util.find_spec(package) is None
    keyless = spec.provider == "openai" and not spec.base_url and not os.environ.get(spec.key_env)
    sent = os.environ.get(spec.key_env) and spec.provider == "openai"
    goes = f" at {spec.base_url}, which gets ${spec.key_env}" if spec.base_url and sent else ""
    trouble = f"; pip install {package}" if missing else f"; set ${spec.key_env}" if keyless else ""
    return not trouble, f"{role}: {spec.model}{goes}{trouble}"


def lying(role: str, spec: Model) -> Iterator[Line]:
    """Whether the weights of a model that is served here lie there, and how they are had."""
    folder = Path(spec.name)
    if not spec.weights or spec.weights.startswith("sandbox:") or list(folder.glob("*.safetensors")):
        return
    *_, owner, name = ("OWNER", *folder.parts)
    gated = "; accept its licence on its page first, and log in" if GATED.search(spec.name) else ""
    lacking = "no *.safetensors" if (folder / "config.json").is_file() else "nothing"
    yield False, (f"{role}: {lacking} in {folder}; download it first: `hf download {owner}/{name} --local-dir {folder}`"
                  f"{gated}")  # fmt: skip


def packages(recipe: Recipe) -> Iterator[Line]:
    """What has to be installed beside breakfix for what a recipe asks for."""
    from tools import serve
    from training import curve, loading

    checks: tuple[Callable[[], object], ...] = (
        lambda: loading.check(recipe.training), lambda: curve.reporters(recipe.training.report_to),
    )  # fmt: skip
    for check in checks:
        try:
            check()
        except ValueError as error:
            yield False, str(error)
    if any(spec.provider == "vllm" for spec in recipe.models.values()) and (why := serve.missing()):
        yield False, why
    if recipe.evals.lm_eval.tasks and not importlib.util.find_spec("lm_eval"):
        yield False, "evals.lm_eval wants lm_eval; pip install 'breakfix[lm-eval]'"


def terms(recipe: Recipe) -> Iterator[Line]:
    """A reminder where what a vendor's model says ends up in what is trained."""
    for role, spec in recipe.models.items():
        why = USED.get(role.partition(".")[0])
        elsewhere = (spec.provider not in OURS and not spec.base_url) or VENDORS.search(spec.base_url)
        if why and elsewhere:
            yield None, (f"{role}: {spec.model}: {why}, and some providers' terms forbid that for models of one's own; "
                         "read them")  # fmt: skip
