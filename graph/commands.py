"""The commands beside those that go on with a run: they look at one, label it, measure with it, or take it away."""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.run import Standing
    from graph.team import Team
    from tools.records import Attempt, Goal

FINISHED, FAILED, MISTAKE, WAITING, RESUMABLE = range(5)
"""Exit statuses."""
LONGEST = 100
"""Bytes of a run's name: files have more letters, and few file systems take more than 255."""


def look(folder: Path) -> "Standing":
    """Where a run stands, without going on; its files stay as they are."""
    from graph.run import as_it_is, standing

    with as_it_is(folder) as graph:
        return standing(graph)


def no_run(folder: Path) -> Exception:
    from graph.config import RecipeError

    return RecipeError(f"{folder} is no run: no recipe.toml there; `ls runs` shows what there is")


def report(asked: argparse.Namespace) -> int:
    """The report of a run, or several beside each other, which are then written into the first one's folder."""
    from graph.comparing import compare
    from graph.report import write
    from graph.team import team
    from graph.terminal import printed

    for folder in asked.folders:
        look(folder)
    crews = [team(str(folder)) for folder in dict.fromkeys(asked.folders)]
    printed(top(write(crews[0])) if len(crews) == 1 else compare(crews))
    name = crews[0].run / ("report" if len(crews) == 1 else "compare")
    print(f"the whole of it: {name}.md, as a page {name}.html, for programs {name}.json", file=sys.stderr)
    return FINISHED


def top(report: str) -> str:
    """What a report begins with: the headline, what a reader must know, and its first two sections."""
    return "".join(re.split("^(?=## )", report, flags=re.MULTILINE)[:3]).rstrip()


def chat(asked: argparse.Namespace) -> int:
    from graph.terminal import talk

    look(asked.folder)
    talk(asked.folder, asked.adapter)
    return FINISHED


def console(asked: argparse.Namespace) -> int:
    from graph.web.serve import serve

    with suppress(KeyboardInterrupt):
        serve(asked.folders, asked.host, asked.port)
    return FINISHED


def bring_in(asked: argparse.Namespace) -> int:
    """Imported conversations become attempts of the cycle that is under way."""
    from graph.config import RecipeError
    from graph.run import locked
    from graph.sources import behaviours, store
    from graph.team import team
    from graph.terminal import plain
    from tools.transcripts import read

    now = look(asked.folder)
    if now.state == "finished":
        raise RecipeError(
            f"{asked.folder} is finished and would never judge them; start another with --from {asked.folder}"
        )
    cycle = now.values.get("cycle", 1) + (now.node not in ("baseline", "attack", "judge"))
    crew = team(str(asked.folder))
    try:
        imported = read(asked.file, asked.format, cycle, behaviours(crew.recipe))
    except ValueError as error:
        raise RecipeError(str(error)) from error
    with locked(asked.folder):
        new, refused = store(crew, asked.file, imported, cycle)
    left_out = [*imported.malformed, *refused]
    for line in left_out:
        print(f"left out: {plain(line, 500)}", file=sys.stderr)
    known = len(imported.attempts) - len(refused) - new
    print(f"imported {asked.file}: {new} new, {known} there already, {len(left_out)} left out")
    return FINISHED if new or known else FAILED


def history(asked: argparse.Namespace) -> int:
    from graph.history import points, shown
    from graph.terminal import timeline

    lines = [shown(one) for one in points(asked.folder)]
    if asked.json:
        print(json.dumps(lines, indent=2))
    else:
        timeline(asked.folder, lines)
    return FINISHED


def fork(asked: argparse.Namespace) -> int:
    from graph import forking

    folder = asked.folder.resolve().parent / named("--name", asked.name)
    start = forking.fork(asked.folder, asked.at, folder, asked.settings)
    print(f"{folder} begins where {asked.folder} {f'was before {start.next}' if start.next else 'ended'}, "
          f"cycle {start.values['cycle']}; `breakfix resume {folder}` goes on")  # fmt: skip
    return FINISHED


def named(option: str, name: str) -> str:
    """The name of a new run. Raises RecipeError for what is none."""
    from graph.config import RecipeError

    if name in ("", ".", "..") or Path(name).name != name or not name.isprintable() or len(name.encode()) > LONGEST:
        raise RecipeError(f"{option} {name[:80]!r} is no name; give one of up to {LONGEST} letters, without slashes")
    return name


def draw(asked: argparse.Namespace) -> int:
    from graph.build import build

    print(build().get_graph().draw_mermaid(), end="")
    return FINISHED


def calibrate(asked: argparse.Namespace) -> int:
    from evals import injections
    from evals.scorecard import shown
    from graph.calibrating import calibrated
    from graph.team import team
    from graph.terminal import Console, printed

    if asked.folder:
        look(asked.folder)
    writable(asked.json)
    crew = team(str(asked.folder)) if asked.folder else None
    with Console(asked.folder) as console:
        if crew:
            crew.watch = console.watch
        card, flips = calibrated(asked.labels, asked.judge, asked.task, crew, asked.inject, console.watch)
    printed("\n\n".join([shown(card), *([injections.shown(flips)] if flips else [])]))
    if asked.json:
        body = card.model_dump(mode="json") | ({"flips": [one.model_dump() for one in flips]} if flips else {})
        put(asked.json, body)
    return FINISHED


def evaluate(asked: argparse.Namespace) -> int:
    from evals.suites.results import as_data, shown
    from graph.config import RecipeError
    from graph.evaluating import evaluated
    from graph.terminal import Console, printed

    writable(asked.json)
    if asked.out and asked.out.exists() and not asked.out.is_dir():
        raise RecipeError(f"--out {asked.out} is a file; give a folder: conversations and verdicts are kept in it")
    if asked.limit < 0:
        raise RecipeError(f"--limit {asked.limit}: give 0 for all items, or more")
    with Console(None) as console:
        folder, judge, found = evaluated(asked.model, asked.adapter, asked.suite, asked.judge, asked.attacker,
                                         asked.limit, asked.seed, asked.out, console.watch)  # fmt: skip
    printed(f"{shown(found)}\n\nconversations and verdicts: {folder} (judge `{judge}`)")
    if asked.json:
        body = {"model": asked.model, "adapter": str(asked.adapter or ""), "judge": judge, "seed": asked.seed,
                "limit": asked.limit, "benchmarks": as_data(found)}  # fmt: skip
        put(asked.json, body)
    return FINISHED


def writable(file: Path | None) -> None:
    """Raises RecipeError before anything is asked for a file that could not be written when it is answered."""
    from graph.config import RecipeError

    if file and (file.is_dir() or not file.parent.is_dir()):
        raise RecipeError(f"--json {file} cannot be written; give a file in a folder that is there")


def put(file: Path, body: dict[str, Any]) -> None:
    file.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fit_judge(asked: argparse.Namespace) -> int:
    from graph.fitting import fit
    from graph.terminal import Console, printed

    with Console(None) as console:
        told = fit(asked.labels, asked.task, asked.out, console.watch)
    printed(told)
    return FINISHED


def label(asked: argparse.Namespace) -> int:
    """A person's labels are kept one by one, so that it can be stopped and gone on with at any time."""
    from graph.config import RecipeError
    from graph.desk import champion
    from graph.labelling import KEYS, labels, sample
    from graph.team import team
    from graph.terminal import key, shown

    look(asked.folder)
    who = asked.who or os.environ.get("USER", "")
    if not who or asked.n < 1:
        raise RecipeError(f"--as {who!r} --n {asked.n}: give a name, and a number of 1 or more")
    crew = team(str(asked.folder))
    todo = sample(crew, who, asked.n, champion(crew))
    for choice, said in KEYS.items():
        print(f"  {choice}  {said.text}")
    print("  q  stop here; the same command goes on")

    def ask(number: int, goal: "Goal", attempt: "Attempt") -> str | None:
        shown(number, len(todo), goal, attempt)
        return key(KEYS, f"the model... [{''.join(KEYS)}q]")

    given = 0
    for verdict in labels(crew, who, todo, ask):
        crew.memory.add([verdict])
        given += 1
    left = len(todo) - given
    print(f"{given} labels by {who} kept, {left} left" + (f"; `breakfix label {asked.folder}` goes on" if left else ""))
    return FINISHED


def rejudge(asked: argparse.Namespace) -> int:
    from graph.calibrating import chosen, rejudged
    from graph.run import locked
    from graph.team import team
    from graph.terminal import Console, printed

    look(asked.folder)
    crew = team(str(asked.folder))
    spec, _, name = chosen(asked.judge, crew, ())
    with locked(asked.folder), Console(asked.folder) as console:
        crew.watch = console.watch
        told = rejudged(crew, spec, name)
    printed(told)
    return FINISHED


def export(asked: argparse.Namespace) -> int:
    from graph.config import RecipeError
    from graph.team import team
    from graph.terminal import Console

    for option, whats in ONLY.items():
        given = getattr(asked, option) not in (False, "", "champion")
        if given and asked.what not in whats:
            raise RecipeError(
                f"--{option.replace('_', '-')} is for --what {' and '.join(whats)}, not {asked.what}; leave it out"
            )
    if asked.public and not asked.push:
        raise RecipeError("--public says who may see what --push uploads; add --push OWNER/NAME")
    look(asked.folder)
    crew = team(str(asked.folder))
    with Console(None) as console:
        crew.watch = console.watch
        told = EXPORTS[asked.what](crew, asked)
    print(told)
    return FINISHED


def conversations(crew: "Team", asked: argparse.Namespace) -> str:
    from graph.config import RecipeError
    from graph.export import to_inspect

    out = asked.out or asked.folder / "inspect"
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; give a folder: there is a log for each benchmark and model")
    written = to_inspect(crew, out)
    return f"{len(written)} logs in {out}, which hold harmful text; `inspect view --log-dir {out}` shows them"


def model(crew: "Team", asked: argparse.Namespace) -> str:
    from graph import releasing

    hub = releasing.hub(asked.push) if asked.push else None
    out = asked.out or asked.folder / "export" / "model"
    adapter, serve = releasing.release_model(crew, asked.adapter, asked.merged, asked.base, out, asked.push)
    told = f"{adapter.id} is in {out}, with its card, README.md; to serve it: {serve}"
    return f"{told}\n{releasing.push(out, asked.push, 'model', hub, asked.public)}" if hub else told


def data(crew: "Team", asked: argparse.Namespace) -> str:
    from graph import releasing

    hub = releasing.hub(asked.push) if asked.push else None
    out = asked.out or asked.folder / "export" / "data"
    sizes = releasing.release_data(crew, asked.adapter, asked.all, asked.with_harmful, out)
    sets = ", ".join(f"{n} rows of {stage}" for stage, n in sizes.items())
    told = f"{sets} in {out}, with their card, README.md; `datasets.load_dataset('{out}', 'sft')` reads them"
    return f"{told}\n{releasing.push(out, asked.push, 'data', hub, asked.public)}" if hub else told


EXPORTS: dict[str, Callable[["Team", argparse.Namespace], str]] = {
    "inspect": conversations, "model": model, "data": data,
}  # fmt: skip
"""What can be exported: each writes it and returns what to say of it."""
ONLY = {
    "adapter": ("model", "data"), "merged": ("model",), "base": ("model",), "all": ("data",),
    "with_harmful": ("data",), "push": ("model", "data"), "public": ("model", "data"),
}  # fmt: skip
"""What the options of an export are for."""


def purge(asked: argparse.Namespace) -> int:
    from graph.budgets import size
    from graph.run import locked

    if not all((asked.folder / name).is_file() for name in ("recipe.toml", "manifest.json")):
        raise no_run(asked.folder)  # somebody's folder with a recipe in it is none either
    asked.folder = asked.folder.resolve()
    with locked(asked.folder):
        if not asked.yes:
            taken = size(asked.folder) / 1e6
            if typed(f"delete {asked.folder} and all it holds ({taken:.1f} MB)? type its name: ") != asked.folder.name:
                print("nothing deleted; type the run's name, or give --yes")
                return FINISHED
        shutil.rmtree(asked.folder)
    print(f"{asked.folder} is gone")
    return FINISHED


def typed(question: str) -> str:
    try:
        return input(question)
    except EOFError:
        return ""


def doctor(asked: argparse.Namespace) -> int:
    from graph.config import RecipeError
    from graph.doctor import examine

    if asked.recipe and asked.named:
        raise RecipeError(f"{asked.recipe} and --recipe {asked.named} are two; give one recipe")
    if asked.card is not None and not 0 < asked.card < 10_000:
        raise RecipeError(f"--card {asked.card:g} is no card's memory; give GB, such as 24")
    return FINISHED if examine(asked.recipe or asked.named, asked.card) else FAILED
