"""The cards of what is released: what it is, how it was made, how far it can be believed, and whose it is."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import self_writer, templates
from evals.report.markdown import cell, text
from evals.report.shapes import Block, Cell, Report, Section, Source, Table
from graph import report
from graph.config import Recipe
from graph.desk import champion
from graph.run import manifest
from graph.team import Team
from tools.records import Adapter, Example, digest
from tools.serve import roomy

if TYPE_CHECKING:
    from graph.releasing import Stage

UNKNOWN = "unknown: look at the base's page"
SCORES = ("What was measured", "Languages never trained on")
"""The report's sections that have a row for each model."""
ABOUT = {"license", "license_name", "license_link"}
HARMFUL = """\
The prompts are attacks that worked, in the words in which they were made, and a conversation of several turns may hold
harmful answers: this is a data set for those who train and measure models to refuse."""


def model(crew: Team, adapter: Adapter, way: "Sequence[Stage]", whole: bool, base: str, place: str) -> str:
    """The card of an adapter, or (`whole`) of a model that it was merged into. `base` is the base's id on the Hub."""
    found, plan = told(crew), way[-1].plan
    licence = licence_of(crew.base)
    whose = inline(str(licence.get("license") or UNKNOWN))
    front = {
        "library_name": "transformers" if whole else "peft", "pipeline_tag": "text-generation",
        "base_model": base or None, "tags": ["breakfix", "safety", *(() if whole else ("lora",))], **licence,
    }  # fmt: skip
    called = base or crew.base.name
    merged = "with an adapter merged into its weights" if whole else "as an adapter to put on it"
    what = "all of its weights trained" if plan.method == "full" else merged
    step = f", as it was at step {adapter.within} of its last stage" if adapter.within else ""
    intro = (
        f"`{cell(called)}` after cycle {adapter.cycle} of a break-fix loop (attack, judge, write, train, measure; "
        f"https://arxiv.org/abs/2407.13833), {what}. Made by breakfix, whose run calls it `{adapter.id}`{step}."
    )
    best = [inline(found.headline), inline(f"The gate: {found.verdict}")] if found.champion == adapter.id else []
    parts = [
        Section(name="Licence", blocks=(f"Of the base, and carried: {whose}.",)),
        Section(name="Use", blocks=used(adapter, plan.rank, whole, called, place, crew.recipe)),
        Section(name="Scores", about="Base beside what is released, with 95 % intervals. n are items with a verdict; a "
                "coverage below 100 % leaves the rest undetermined, neither safe nor harmful.",
                blocks=(*best, *scores(found, adapter))),
        Section(name="Limits", blocks=limits(found)),
        Section(name="How it was trained", blocks=(stages(way), *data_of(way))),
        Section(name="Seeds and versions", blocks=made_by(crew)),
        Section(name="The recipe", blocks=(Source(title="As resolved, paths shortened", text=public(crew.recipe)),)),
    ]  # fmt: skip
    return card(front, f"{called}, {crew.run.name}", intro, parts)


def data(crew: Team, kept: Mapping[str, Sequence[Example]], harmful: bool, left_out: int) -> str:
    """The card of the rows, a set for each stage that has any."""
    stages = [stage for stage, rows in kept.items() if rows]
    languages = sorted({row.language for rows in kept.values() for row in rows})
    front = {
        "configs": [{"config_name": stage, "data_files": f"{stage}.parquet"} for stage in stages],
        "license": "unknown", "language": [one for one in languages if re.fullmatch("[a-z]{2,3}", one)],
        "task_categories": ["text-generation"], "tags": ["breakfix", "safety"],
    }  # fmt: skip
    rejected = (
        "`rejected` of a `refuse` row is the harmful answer that the target, or a public safety set, gave: it is here "
        "because it was asked for."
        if harmful
        else f"What a refusal was preferred to is a harmful answer, and is left out: {left_out} pairs of kind `refuse` "
        "are in `sft` alone."
    )
    if any(row.rejected for row in kept["dpo"] if row.kind == "retain"):
        rejected += " `rejected` of a `retain` row is what the public set that it is from rejects, harmful or not."
    columns = (("sft", "messages: the conversation, the last answer being the one to learn"),
               ("dpo", "prompt, chosen, rejected: messages"),
               ("both", "kind (refuse, help: a harmless look-alike, retain: a general row), language, cycle (0: from "
                "public safety sets, or of an earlier run), source"))  # fmt: skip
    parts = [
        Section(name="Sets", blocks=(Table(head=("set", "columns"), rows=columns), rejected)),
        Section(name="What is in it", blocks=(counted(kept),)),
        Section(name="How it was made", blocks=(written(crew, kept),)),
        Section(name="What was filtered", blocks=filtered(crew)),
        Section(name="Licence", blocks=(
            "The general rows keep the licence of the set that they are from, and written ones what the terms of their "
            "writer's model say of its output. Neither is known here: unknown unless you know it.",)),
        Section(name="Seeds and versions", blocks=made_by(crew)),
    ]  # fmt: skip
    sets = "\n".join(f'    load_dataset("PATH", "{stage}")' for stage in stages)
    intro = f"What a run of breakfix trained on (https://arxiv.org/abs/2407.13833).\n\n{sets}\n\n{HARMFUL}"
    return card(front, f"{crew.run.name}: rows", intro, parts)


def card(front: Mapping[str, object], title: str, intro: str, parts: Sequence[Section]) -> str:
    """Front matter (a line of JSON for each key, which is YAML and holds no line break), then the sections."""
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items() if value)
    body = "\n\n".join([f"# {cell(title)}", intro, *(text(part) for part in parts if part.blocks)])
    return f"---\n{head}---\n{body}\n"


def inline(said: str) -> str:
    """A text of somebody's on one line, in which nothing is a tag."""
    return cell(said).replace("\\|", "|")


def told(crew: Team) -> Report:
    """The report as it was gathered last; gathered now where none can be read, or that one has another champion."""
    file = crew.run / "report.json"
    try:
        found = Report.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found and found.champion == champion(crew):
        return found
    report.write(crew)
    return Report.model_validate_json(file.read_text(encoding="utf-8"))


def scores(found: Report, adapter: Adapter) -> list[Block]:
    """The rows of the base and the adapter, of every table that has one for each model."""
    mine = re.compile(f"`{adapter.id[:6]}`" + (rf"|at step {adapter.within} `" if adapter.within else ""))
    shown = list[Block]()
    for section in found.sections:
        for one in section.blocks if section.name in SCORES else ():
            if isinstance(one, Table):
                rows = [row for row in one.rows if row[0] == "base" or mine.search(str(row[0]))]
                shown.append(one.model_copy(update={"title": section.name, "rows": tuple(rows)}))
    own = any(row[0] != "base" for one in shown if isinstance(one, Table) for row in one.rows)
    return shown if own else [*shown, "What is released was not measured itself."]


def limits(found: Report) -> tuple[Block, ...]:
    """What a reader must know, and what was not measured, as the report has it."""
    missing = [block for section in found.sections if section.name == "What was not measured"
               for block in section.blocks]  # fmt: skip
    return (*(f"> {inline(note)}" for note in (*found.warnings, *found.notes)), *missing)


def used(adapter: Adapter, rank: int, whole: bool, base: str, place: str, recipe: Recipe) -> tuple[Block, ...]:
    """How it is served and loaded, and how it was asked when it was measured."""
    python = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if whole:
        python += [f"model = AutoModelForCausalLM.from_pretrained({place!r}, dtype='auto')",
                   f"tokenizer = AutoTokenizer.from_pretrained({place!r})"]  # fmt: skip
    else:
        python = ["from peft import PeftModel", *python,
                  f"model = AutoModelForCausalLM.from_pretrained({base!r}, dtype='auto')",
                  f"model = PeftModel.from_pretrained(model, {place!r})",
                  f"tokenizer = AutoTokenizer.from_pretrained({base!r})"]  # fmt: skip
    target = recipe.target
    prompt = "the system prompt that the recipe gives" if target.system else "no system prompt"
    asked = f"It was measured at temperature {target.temperature:g}, at most {target.max_tokens} tokens and {prompt}"
    return (Source(title="vLLM", text=served(adapter, rank, whole, base, place)),
            Source(title="transformers" if whole else "transformers and PEFT", text="\n".join(python)),
            f"{asked}: under another prompt it may do otherwise.")  # fmt: skip


def served(adapter: Adapter, rank: int, whole: bool, base: str, place: str) -> str:
    """The command that serves it."""
    if whole:
        return f"vllm serve {shlex.quote(place)}"
    return (f"vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {roomy(rank)} "
            f"--lora-modules {shlex.quote(f'{adapter.id}={place}')}")  # fmt: skip


def stages(way: "Sequence[Stage]") -> Table:
    rows = tuple(
        (plan.stage.upper(), plan.method, f"{plan.epochs:g}", f"{plan.rate:g}", plan.batch, plan.length,
         "" if plan.method == "full" else plan.rank, f"{plan.loss}, beta {plan.beta:g}, SFT weight {plan.sft_weight:g}"
         if plan.stage == "dpo" else "", plan.rows, plan.seed, plan.why)
        for plan, _ in way
    )  # fmt: skip
    head = ("stage", "method", "epochs", "rate", "batch", "tokens a row", "rank", "loss", "rows", "seed", "why")
    return Table(head=head, rows=rows)


def data_of(way: "Sequence[Stage]") -> list[Block]:
    by_stage: dict[str, list[Example]] = {}
    for one in way:
        by_stage.setdefault(one.plan.stage, []).extend(one.rows)
    return [counted(by_stage)] if any(by_stage.values()) else []


def counted(rows: Mapping[str, Sequence[Example]]) -> Table:
    """How many rows each set has, by kind, cycle and language."""
    counts = {stage: Counter((row.kind, row.cycle, row.language) for row in of) for stage, of in rows.items() if of}
    keys = sorted({key for count in counts.values() for key in count})
    body: list[tuple[Cell, ...]] = [(*map(str, key), *(count[key] for count in counts.values())) for key in keys]
    body.append(("all", "", "", *(count.total() for count in counts.values())))
    return Table(head=("kind", "cycle", "language", *(f"{stage.upper()} rows" for stage in counts)), rows=tuple(body))


def sources(crew: Team) -> dict[str, str]:
    """What the writers of rows are called, by their identity."""
    recipe, data = crew.recipe, crew.recipe.data
    sets = (("retained", data.general), ("preferred", data.preferences), ("curated", recipe.curate.sources))
    named = {digest(use, Path(one).name): f"{use} of {Path(one).name}" for use, listed in sets for one in listed}
    itself = self_writer.named(recipe.target.identity(), data.own)
    return named | {
        crew.writer_id: f"written by {recipe.agents.writer.model}", templates.NAME: "offline templates",
        itself: "said by the target itself, under a safety prompt that was dropped",
    }  # fmt: skip


def written(crew: Team, kept: Mapping[str, Sequence[Example]]) -> Table:
    """Who wrote the rows."""
    named, rows = sources(crew), {row.id: row for of in kept.values() for row in of}.values()
    counts = Counter((row.writer, row.kind) for row in rows)
    return Table(head=("source", "its identity", "kind", "rows"), rows=tuple(
        (shortened(named.get(writer, "another run, or a setting since changed")), writer, kind, n)
        for (writer, kind), n in sorted(counts.items())
    ))  # fmt: skip


def filtered(crew: Team) -> tuple[Block, ...]:
    """What became of the rows between their writing and their use, by cycle."""
    held: dict[int, Counter[str]] = {}
    for event in crew.memory.events("contaminated"):
        held.setdefault(event["cycle"], Counter()).update(match["source"] for match in event["rows"])
    rows = tuple(
        (event["cycle"], sum(event.get("written", {}).values()), sum(event["kinds"].values()),
         sum(held.get(event["cycle"], Counter()).values()), listed(held.get(event["cycle"], Counter())),
         event.get("foreign", 0))
        for event in crew.memory.by_cycle("rows").values()
    )  # fmt: skip
    alike = crew.recipe.training.dpo.likeness
    about = ("Rows that hold what the target is measured on are never trained on, nor those that are nearly another's "
             "duplicate; kinds are mixed by share with the rows of earlier cycles, and no refusal is preferred to "
             f"another. In training DPO left out {alike:.0%} of its pairs, the most alike: they are here.")  # fmt: skip
    if kept := crew.recipe.training.held_out:
        about += f" So are the {kept:.0%} of each stage's rows that chose the step to keep, and were not trained on."
    head = ("cycle", "written", "in the mix", "left out: they hold what is measured", "of",
            "left out: answered in another language")  # fmt: skip
    return (about, Table(head=head, rows=rows)) if rows else (about,)


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def made_by(crew: Team) -> tuple[Block, ...]:
    """The seed, the versions and the revision, from the run's manifest."""
    known = manifest(crew.run)
    facts = {key: known[key] for key in ("seed", "created", "python", "revision", "recipe") if key in known}
    rows = [(name, str(value)) for name, value in (*facts.items(), *known.get("versions", {}).items())]
    return (Table(head=("", ""), rows=tuple(rows)) if rows else report.UNKNOWN,)


def licence_of(base: Path) -> dict[str, Any]:
    """What the base's own card says of its licence, or `other` where a licence lies beside it; empty where neither."""
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

    try:
        said = metadata_load(base / "README.md") or {}
    except (OSError, ValueError, YAMLError, RecursionError):
        said = {}
    found = {key: value for key, value in said.items() if key in ABOUT and isinstance(value, str | list)}
    file = next((one.name for one in sorted(base.glob("LICEN[SC]E*"))), "")
    return found or ({"license": "other", "license_name": "of-the-base", "license_link": file} if file else {})


def public(recipe: Recipe) -> str:
    """The recipe without what is only its owner's: folders are cut to their names, and addresses hold no password."""
    import tomli_w

    return tomli_w.dumps(each(recipe.model_dump(mode="json", exclude_none=True)))


def each(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: each(one) for key, one in value.items()}
    if isinstance(value, list):
        return [each(one) for one in value]
    return shortened(value) if isinstance(value, str) else value


def shortened(said: str) -> str:
    """A setting without the folders of a path, or what is before the host of an address and after its path."""
    if address := re.fullmatch(r"(https?://)(?:[^/@]*@)?([^?#]*).*", said, re.DOTALL):
        return "".join(address.groups())
    if path := re.fullmatch(r"((?:[\w ]+:)?)/[^\n]*?([^/\n]+)/?", said):
        return "".join(path.groups())
    return said
