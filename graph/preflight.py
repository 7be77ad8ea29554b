"""What a recipe names is looked for before anything is made or asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from graph.config import Recipe, RecipeError
from graph.mistakes import shown
from tools.labels import Task
from tools.llm import Model
from tools.records import Goal

if TYPE_CHECKING:
    from evals.suites.suite import Suite


def preflight(recipe: Recipe) -> None:
    """Raises RecipeError when something that the recipe names cannot be had, before anything is made or asked."""
    from agents.judge import identity
    from evals import harness
    from graph import curating
    from tools import general, policy, sets, transcripts
    from training.curve import reporters
    from training.loading import check

    for key, path in places(recipe):
        if not there(path):
            raise RecipeError(f"{key} = {str(path)[:200]!r}: nothing lies there; give the path of data that you have")
    try:
        known = policy.load(recipe.policy)
        if recipe.goals.files and not recipe.recorded.conversations:
            asked_for(sets.gathered(recipe.goals.files), recipe)
        for one in recipe.recorded.conversations:
            transcripts.read(one.path, one.format)
        for source in recipe.data.general:
            general.load(source, source != "sandbox", 0)
        for source in recipe.data.preferences:
            general.load(source, 1, 0, pairs=True)
        for source in recipe.curate.sources:
            asked = [one.prompt[-1].content for one in curating.load(source, recipe.curate.rows, 0)]
            agents = recipe.agents
            for place, model in (*agents.judge.asked("agents.judge"), ("agents.writer", agents.writer)):
                fits(f"curate.sources has {source!r}, and {place}", model, asked)
        if recipe.inherit and not (recipe.inherit / "memory.sqlite").is_file():
            raise ValueError(f"--from {recipe.inherit}: no memory.sqlite there; give the folder of a run")
        for role, spec in recipe.models.items():
            had(role, spec, recipe)
        for judge in recipe.judges.values():
            identity(judge, known)
        for task, source in recipe.evals.anchors.items():
            marked(task, source, recipe)
        benchmarked(recipe)
        for name in recipe.evals.lm_eval.tasks:
            harness.known(name, harness.trusted(recipe.evals.lm_eval.include))
        reporters(recipe.training.report_to)
        check(recipe.training)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"dials.{first['loc'][0]} = {shown(first['input'])}: {first['msg']}; give others") from error
    except (ValueError, OSError, RuntimeError) as error:
        raise RecipeError(str(error).splitlines()[0]) from error


def there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long a name
        return False


def places(recipe: Recipe) -> list[tuple[str, Path]]:
    """Every file and folder that a recipe names, by its key."""
    from tools import sets

    data, evals, recorded = recipe.data, recipe.evals, recipe.recorded
    named: list[tuple[str, Path | str | None]] = [
        ("policy", recipe.policy), ("base", recipe.base), ("recorded.lookalikes", recorded.lookalikes),
        *(("recorded.conversations", one.path) for one in recorded.conversations),
        *(("goals.source", where) for _, where in map(sets.parts, recipe.goals.files) if where != "hub"),
        *(("data.retain", source) for source in data.general),
        *(("data.preferences", source) for source in data.preferences),
        *(("curate.sources", source) for source in recipe.curate.sources),
        *((f"evals.anchors.{task}", source) for task, source in evals.anchors.items()),
        ("evals.lm_eval.include", evals.lm_eval.include), ("training.launch", recipe.training.launch),
    ]  # fmt: skip
    return [
        (key, Path(where)) for key, where in named if where and where != "sandbox" and not str(where).startswith("hub:")
    ]


def asked_for(goals: Sequence[Goal], recipe: Recipe) -> None:
    """Raises ValueError for goals that leave nothing to attack or to measure, or that an agent could not judge."""
    harmful = [goal.split for goal in goals if goal.intent == "harmful"]
    for split in ("train", "held_out"):
        if split not in harmful and "sandbox" not in recipe.goals.listed:
            raise ValueError(f"goals.source has {len(harmful)} harmful goals and none of split {split!r}; give more")
    for role, spec in recipe.models.items():
        if role not in ("target", "trainer") and not role.startswith("compare") and spec.provider == "sandbox":
            raise ValueError(
                f"agents.{role} = {spec.model!r} knows the sandbox's own goals alone, and goals.source has others; "
                "give another model"
            )


def marked(task: Task, source: str, recipe: Recipe) -> None:
    """Raises ValueError for labelled answers that cannot be read, or that a judge of the recipe cannot judge."""
    from graph.sources import labelled

    goals = [label.goal for label in labelled(source, task)]
    for role, judge in recipe.judges.items():
        for place, model in judge.asked(f"evals.anchors.{task} = {source!r}: agents.{role}"):
            fits(place, model, goals)


def benchmarked(recipe: Recipe) -> None:
    """Raises ValueError for a benchmark that cannot be read, or that the measuring judge cannot judge."""
    from tools import sets

    suites, leads = lying("evals.suites", recipe.evals.suites), recipe.agents.attacker
    led("evals.suites", recipe.evals.suites, suites, leads is not None and leads.provider != "sandbox",
        "name an agents.attacker that knows more than the sandbox, or leave it out")  # fmt: skip
    measured = {item.goal.text for suite in suites for item in suite.items}
    asked = [goal.text for source in recipe.goals.files if suites for goal in sets.load(source)]
    if asked and 2 * len(measured & set(asked)) > len(asked):
        raise ValueError(
            f"evals.suites asks most of the {len(asked)} goals of goals.source, which could not be trained on then; "
            "measure on other sets"
        )
    judged = [suite.name for suite in suites if suite.benchmark.grader]
    for place, model in recipe.agents.measuring_judge.asked("agents.measuring_judge"):
        if judged and model.provider == "sandbox":
            raise ValueError(
                f"evals.suites has {judged[0]!r}, and {place} = {model.model!r} knows the sandbox's own goals alone; "
                "give another judge"
            )


def lying(key: str, sources: Sequence[str]) -> "list[Suite]":
    """The benchmarks that a key names. Raises ValueError for one that cannot be read; none is looked for on the Hub
    that is not asked for there."""
    from evals.suites import BENCHMARKS, gathered, named

    try:
        for name, where in map(named, sources):
            if not where and name in BENCHMARKS and BENCHMARKS[name].files:
                raise ValueError(f"{name!r} says of no files; give {name}:PATH of them, or {name}:hub to fetch them")
        return gathered(sources)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def led(key: str, sources: Sequence[str], suites: "Sequence[Suite]", leads: bool, mend: str) -> None:
    """Raises ValueError for a benchmark that is asked for by name and whose conversations nobody can lead."""
    named = {source.partition(":")[0] for source in sources}
    for suite in suites if not leads else ():
        if suite.name in named and not all(item.said for item in suite.items):
            raise ValueError(f"{key} has {suite.name!r}, whose conversations an attacker has to lead; {mend}")


def fits(place: str, model: Model, goals: Sequence[str]) -> None:
    """Raises ValueError where one of the sandbox's agents is to judge or to answer what it does not know."""
    if model.provider == "sandbox":
        from tools.sandbox import world

        strange = next((goal for goal in goals if world.parse(goal) is None), None)
        if strange:
            raise ValueError(f"{place} = {model.model!r} knows the sandbox's own goals alone, and not {strange[:60]!r}")


def had(role: str, spec: Model, recipe: Recipe) -> None:
    """Raises ValueError when the model of a role cannot be had."""
    key = "target.model" if role == "target" else role if "compare" in role else f"agents.{role}.model"
    if spec.provider == "vllm":
        served(key, spec, recipe.training.rank if role == "target" else 1)
    if spec.weights == "sandbox:target":
        from tools.sandbox import target, world

        target.Settings.model_validate(spec.dials)
        strange = [
            name
            for name in (*recipe.attack.languages, *recipe.attack.held_out_languages)
            if name not in world.LANGUAGES
        ]
        if strange:
            raise ValueError(f"attack.languages has {strange[0]!r}; give some of {', '.join(world.LANGUAGES)}")
    elif spec.weights == "sandbox:phi3":
        if not recipe.recorded.conversations:
            raise ValueError(
                f"{key} = {spec.model!r} makes its tokenizer from recorded.conversations, of which there are none; "
                "give some, or another model"
            )
    else:
        if role == "target" and not spec.weights and recipe.base is None:
            raise ValueError(f"{key} = {spec.model!r} names no weights to train; give `base`, the folder of the model")
        reachable(key, spec)
        if spec.provider in ("hf", "vllm"):
            readable(f"{key} = {spec.model!r}", Path(spec.name), role == "target" or role.startswith("compare"))
        elif role == "target" and recipe.base:
            readable(f"base = {str(recipe.base)!r}", recipe.base, True)


def readable(place: str, folder: Path, talks: bool) -> None:
    """Raises ValueError for a folder of which transformers makes no model, or none that `talks`: it would be missed in
    the middle of the run, or at its end."""
    from transformers import AutoConfig, AutoTokenizer

    from tools import chat

    if not (folder / "config.json").is_file():
        raise ValueError(f"{place}: no config.json there; give the folder of a downloaded model")
    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0].rstrip(": ")
        raise ValueError(f"{place} is no model that can be loaded: {reason}; give one downloaded whole") from error
    try:
        if talks:
            chat.check(tokenizer)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"{place}: no *.safetensors there; give the folder of a downloaded model")


def reachable(key: str, spec: Model) -> None:
    """Raises ValueError for a model whose folder, key or package is missing."""
    from tools.llm import chat

    if spec.provider == "vllm":
        served(key, spec)
    if spec.adapters and not spec.base_url:
        raise ValueError(f"{key} = {spec.model!r}: adapters = {spec.adapters!r} wants the base_url to load them at")
    if spec.provider not in ("hf", "vllm"):
        chat(spec)
    elif not (Path(spec.name) / "config.json").is_file():
        raise ValueError(f"{key} = {spec.model!r}: no config.json there; give the folder of a downloaded model")


def served(key: str, spec: Model, rank: int = 1) -> None:
    """Raises ValueError where there is no vLLM to serve a model, or none with adapters of that rank."""
    from tools.serve import missing, roomy

    roomy(rank)
    if why := missing():
        raise ValueError(f"{key} = {spec.model!r}: {why}")
