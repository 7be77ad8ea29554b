"""Out of the door: a run's model, and the rows that it was trained on, each a folder with a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from graph import cards, mixing
from graph.config import RecipeError
from graph.desk import champion
from graph.team import Team
from tools.goals import lines
from tools.records import BASE, Adapter, Example, StagePlan
from training.dataset import pairs, preference, unique
from training.merging import merge
from training.stages import ROWS

What = Literal["model", "data"]
MARK = "breakfix.json"
"""Says of a folder that it is a release, and of what."""
MODEL = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json", "config.json", "generation_config.json",
         "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab.*",
         "merges.txt")  # fmt: skip
"""The files of a model, or of an adapter: of what else lies beside them nothing is released."""
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "COPYING*")


class Stage(NamedTuple):
    """A stage on the way to an adapter, and the rows that it was given."""

    plan: StagePlan
    rows: list[Example]


def release_model(crew: Team, name: str, merged: bool, base: str, out: Path,
                  place: str = "") -> tuple[Adapter, str]:  # fmt: skip
    """The champion, or the adapter whose id begins with `name`, as an adapter or merged into the base's weights.

    `base` is the base's id on the Hub, and `place` where the release will lie, both for the card. Returns the adapter,
    and the command that serves it from here.
    """
    free(out, "model")
    adapter = chosen(crew, name)
    folder = crew.run / adapter.path
    if not list(folder.glob("*.safetensors")):
        raise RecipeError(f"{folder} holds no *.safetensors: the adapter is not there any more; give another --adapter")
    whole = merged or not (folder / "adapter_config.json").is_file()
    if merged and not (crew.base / "config.json").is_file():
        raise RecipeError(f"--merged wants the base's weights, and no model lies in {crew.base}; put it there again")
    base, stages = base or hub_id(crew.base), way(crew, adapter)

    def fill(made: Path) -> None:
        if merged and (folder / "adapter_config.json").is_file():
            crew.watch("export", 0, 0, "merging the adapter into the weights")
            merge(crew.base, folder, made)
        else:
            copy(folder, made, MODEL)
        copy(crew.base, made, LICENCES)
        if (settings := made / "adapter_config.json").is_file():
            told = json.loads(settings.read_text(encoding="utf-8"))
            told["base_model_name_or_path"] = base or crew.base.name
            settings.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        card = cards.model(crew, adapter, stages, whole, base, place or out.name)
        (made / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")

    put(out, "model", {"run": crew.run.name, "adapter": adapter.id, "whole": whole}, fill)
    return adapter, cards.served(adapter, stages[-1].plan.rank, whole, str(crew.base), str(out))


def release_data(crew: Team, name: str, everything: bool, harmful: bool, out: Path) -> dict[str, int]:
    """The rows that an adapter was trained on, or all that were approved, as parquet files that `datasets` loads.

    Returns how many rows each set has. What a refusal was preferred to is harmful, so that without `harmful` no
    refusal is in the pairs.
    """
    from datasets import Dataset, disable_progress_bars

    free(out, "data")
    disable_progress_bars()
    given = approved(crew) if everything else rows_of(crew, chosen(crew, name))
    kept = {"sft": given["sft"], "dpo": [row for row in given["dpo"] if harmful or row.kind != "refuse"]}
    if not kept["sft"]:
        raise RecipeError(f"{crew.run} has no rows to release yet; `breakfix resume {crew.run}` goes on with it")
    named = cards.sources(crew)

    def fill(made: Path) -> None:
        made.mkdir()
        for stage, rows in kept.items():
            if rows:
                Dataset.from_list([shaped(stage, row, named) for row in rows]).to_parquet(made / f"{stage}.parquet")
        card = cards.data(crew, kept, harmful, len(given["dpo"]) - len(kept["dpo"]))
        (made / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")

    put(out, "data", {"run": crew.run.name, "rows": {stage: len(rows) for stage, rows in kept.items()}}, fill)
    return {stage: len(rows) for stage, rows in kept.items()}


def shaped(stage: str, row: Example, named: Mapping[str, str]) -> dict[str, Any]:
    """A row as TRL takes it, with what it is and where it is from."""
    asked = [{"role": message.role, "content": message.content} for message in row.prompt]
    about = {"kind": row.kind, "language": row.language, "cycle": row.cycle,
             "source": named.get(row.writer, row.writer)}  # fmt: skip
    if stage == "sft":
        return {"messages": [*asked, *said(row.chosen)], **about}
    return {"prompt": asked, "chosen": said(row.chosen), "rejected": said(row.rejected), **about}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def chosen(crew: Team, name: str) -> Adapter:
    """The champion, or the adapter whose id begins with `name`. Raises RecipeError for the base, or none."""
    wanted = champion(crew) if name == "champion" else name
    if wanted == BASE:
        raise RecipeError(f"the champion of {crew.run} is the base: nothing was made that is better; --adapter ID "
                          "takes a candidate; give one")  # fmt: skip
    found = [one for one in crew.memory.get(Adapter) if one.id.startswith(wanted)]
    if len(found) != 1:
        ids = ", ".join(one.id for one in crew.memory.get(Adapter)) or "no adapters"
        raise RecipeError(f"--adapter {wanted!r} is none, or several, of {ids}; give the first digits of one")
    return found[0]


def way(crew: Team, adapter: Adapter) -> list[Stage]:
    """The stages that led to an adapter, the first one first."""
    known, found = {one.id: one for one in crew.memory.get(Adapter)}, list[Stage]()
    while True:
        plan = crew.memory.get(StagePlan, "id = ?", adapter.plan)[0]
        file = crew.run / "adapters" / plan.id / ROWS
        rows = [Example.model_validate_json(line) for _, line in lines(file)] if file.is_file() else []
        found.insert(0, Stage(plan, rows))
        if plan.parent not in known:
            return found
        adapter = known[plan.parent]


def rows_of(crew: Team, adapter: Adapter) -> dict[str, list[Example]]:
    """What an adapter was trained on, by stage."""
    found: dict[str, list[Example]] = {"sft": [], "dpo": []}
    for stage in way(crew, adapter):
        found[stage.plan.stage] = unique([*found[stage.plan.stage], *stage.rows])
    return found


def approved(crew: Team) -> dict[str, list[Example]]:
    """Every row that passed its gate and may be trained on."""
    gated = crew.memory.by_cycle("rows")
    last = max(gated, default=0)
    rows = unique(mixing.usable(crew, last, gated[last]["round"])) if gated else []
    return {"sft": [row for row in rows if not preference(row)], "dpo": pairs(rows)}


def hub_id(base: Path) -> str:
    """The id of a model that lies in the Hub's own cache, which names its folders so; empty for another."""
    found = next((part for part in base.resolve().parts if part.startswith("models--")), "")
    return found.removeprefix("models--").replace("--", "/", 1)


def copy(folder: Path, to: Path, names: Sequence[str]) -> None:
    to.mkdir(exist_ok=True)
    for file in {file for name in names for file in folder.glob(name) if file.is_file()}:
        shutil.copyfile(file, to / file.name)


def free(out: Path, what: What) -> None:
    """Raises RecipeError for a folder that holds anything but an earlier release of the same kind."""
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; give a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        before = json.loads((out / MARK).read_text(encoding="utf-8"))["what"]
    except (OSError, ValueError, KeyError, TypeError):
        before = ""
    if before != what:
        raise RecipeError(f"--out {out} holds something else; give a folder that is empty, or not there yet")


def put(out: Path, what: What, about: Mapping[str, object], fill: Callable[[Path], None]) -> None:
    """Makes a folder whole or not at all. An earlier release in its place is replaced."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            made = Path(scratch, "made")
            fill(made)
            (made / MARK).write_text(json.dumps({"what": what, **about}, indent=1) + "\n", encoding="utf-8")
            if out.exists():
                out.rename(Path(scratch, "before"))
            made.rename(out)
    except OSError as error:
        raise RecipeError(f"{out} cannot be made: {str(error).splitlines()[0]}") from error


def hub(repo: str, hub: Any = None) -> Any:
    """What speaks to the Hub in the user's name (`hub` stands in for it). Raises RecipeError without a token."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise RecipeError(f"--push {repo!r} is no place on the Hub; write OWNER/NAME")
    if hub is not None:
        return hub
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise RecipeError(f"--push {repo} wants a token of yours: set $HF_TOKEN, or log in with `hf auth login`")
    return HfApi(token=token)


def push(folder: Path, repo: str, what: What, hub: Any, public: bool = False) -> str:
    """Uploads a release, into a place that only its owner sees unless told otherwise; returns its address.

    Raises RecipeError, one line, when it is refused, and for a place that others see already.
    """
    kind = "dataset" if what == "data" else "model"
    try:
        hub.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        if not public and not hub.repo_info(repo, repo_type=kind).private:
            raise RecipeError(f"--push {repo} is there and anybody can see it; add --public if you mean that")
        hub.upload_folder(repo_id=repo, repo_type=kind, folder_path=str(folder), ignore_patterns=[MARK],
                          commit_message=f"breakfix: {what}")  # fmt: skip
    except RecipeError:
        raise
    except Exception as error:  # whatever the Hub's client raises, which is not of one kind
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(f"--push {repo} was refused: {why}") from error
    return f"https://huggingface.co/{'datasets/' if what == 'data' else ''}{repo}"
