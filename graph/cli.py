"""The command line: picks a recipe and controls the run, of which nothing can be set but by the recipe and --set."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph import commands, signals
from graph.commands import FAILED, FINISHED, MISTAKE, RESUMABLE, WAITING, look, no_run
from graph.options import parser

if TYPE_CHECKING:
    from graph.config import Recipe
    from graph.run import Standing

RUNNING = ("run", "resume", "step", "approve", "reject", "review")
"""The commands that go on with a run."""
WRITING = ("approve", "reject", "review", "import", "label", "rejudge")
"""Those that write into its memory before."""
LONGEST = 2000
"""Letters of what went wrong: a server may have said it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    asked = parser().parse_args(arguments)
    os.umask(0o077)
    if asked.command in RUNNING:
        signals.heed()
    try:
        if asked.command in WRITING:
            brought_up(asked.folder)
        return COMMANDS[asked.command](asked)
    except KeyboardInterrupt:
        folder = about(asked)
        begun = folder and folder.is_dir() and asked.command in RUNNING
        going = f"; `breakfix resume {folder}` goes on" if begun else ""
        going = "; the same command goes on" if asked.command in ("eval", "ablate") else going
        print(f"\nstopped{going}", file=sys.stderr)
        signals.leave()
        return RESUMABLE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED
    except Exception as error:
        return complain(error, asked)


def brought_up(folder: Path) -> None:
    """Brings a run of an older version up to today's before it is written into."""
    from graph.run import locked
    from graph.soundness import stores, upgraded
    from tools.schema import older

    if any(map(older, stores(folder))):
        with locked(folder):
            upgraded(folder)


def complain(error: Exception, asked: argparse.Namespace) -> int:
    """One line for a user's mistake and for a failure that has a name; a traceback only for what is our fault."""
    from graph import faults
    from graph.config import RecipeError
    from graph.terminal import plain
    from tools.endpoints import EndpointGone, EndpointRefused, Unanswered
    from tools.schema import Newer

    if isinstance(error, RecipeError | EndpointRefused | Newer):
        print(f"breakfix: {plain(str(error), LONGEST)}", file=sys.stderr)
        return MISTAKE
    if isinstance(error, EndpointGone | Unanswered):
        print(f"breakfix: {plain(str(error), LONGEST)}", file=sys.stderr)
        return RESUMABLE
    if said := faults.line(error, about(asked) or Path(), asked.command in RUNNING):
        print(f"breakfix: {said}", file=sys.stderr)
        return RESUMABLE
    if os.environ.get("BREAKFIX_DEBUG"):
        raise error
    line = next(iter(str(error).strip().splitlines()), "")
    print(f"breakfix: {type(error).__name__}: {plain(line, LONGEST)} (BREAKFIX_DEBUG=1 shows where)", file=sys.stderr)
    return FAILED


def place(asked: argparse.Namespace) -> Path:
    """The run folder that a command is about."""
    if asked.recipe.is_dir():
        return Path(asked.recipe)
    return Path("runs", asked.run or asked.recipe.stem)


def about(asked: argparse.Namespace) -> Path | None:
    """The run folder that a command is about, where it is about one."""
    given: Path | None = getattr(asked, "folder", None)
    return given or (place(asked) if hasattr(asked, "run") else None)


def begin(asked: argparse.Namespace) -> Path:
    """Makes a run folder from a recipe; nothing is left behind when the recipe is wrong."""
    from graph.run import create

    folder, recipe = ordered(asked)
    create(recipe, folder)
    return folder


def ordered(asked: argparse.Namespace) -> "tuple[Path, Recipe]":
    """Where a new run is to lie, and its recipe, which was looked into."""
    from graph.preflight import preflight
    from graph.recipes import load
    from graph.timing import hours

    settings = list(asked.settings)
    if asked.gates is not None:
        settings.append("gates=" + json.dumps([name.strip() for name in asked.gates.split(",") if name.strip()]))
    if asked.time is not None:
        settings.append(f"stop.hours={hours(asked.time)}")
    if asked.inherit:
        settings.append(f"inherit={json.dumps(str(asked.inherit.resolve()))}")
    if asked.run is not None:
        commands.named("--run", asked.run)
    folder = place(asked)
    recipe = load(asked.recipe, settings)
    preflight(recipe)
    return folder, recipe


def go(folder: Path, until: str = "") -> int:
    """Goes on with a run, shows how it goes, and says where it stands."""
    from graph.run import advance
    from graph.team import team
    from graph.terminal import Console, show

    if not (folder / "recipe.toml").is_file():
        raise no_run(folder)
    with Console(folder) as console:
        team(str(folder)).watch = console.watch
        now = advance(folder, until=until)
    show(folder, now)
    return status_of(now)


def status_of(now: "Standing") -> int:
    return {"finished": FINISHED, "waiting": WAITING}.get(now.state, RESUMABLE)


def run(asked: argparse.Namespace) -> int:
    if not asked.dry:
        return go(begin(asked))
    from graph.estimating import estimate

    folder, recipe = ordered(asked)
    for line in estimate(recipe, folder.parent):
        print(line)
    return FINISHED


def resume(asked: argparse.Namespace) -> int:
    return go(asked.folder)


def step(asked: argparse.Namespace) -> int:
    from graph.build import ORDER
    from graph.config import RecipeError

    if asked.until and asked.until not in ORDER:
        raise RecipeError(f"--until {asked.until!r} is no node; give one of {', '.join(ORDER)}")
    until = asked.until or "*"
    if not asked.recipe.is_dir():
        return go(begin(asked), until=until)
    if asked.run or asked.inherit or asked.gates is not None or asked.time is not None or asked.settings:
        raise RecipeError(
            f"{asked.recipe} is a run, whose recipe is fixed; --run, --from, --for, --gates and --set make a new one"
        )
    return go(asked.recipe, until=until)


def status(asked: argparse.Namespace) -> int:
    from graph.terminal import as_json, show

    now = look(asked.folder)
    if asked.json:
        print(as_json(asked.folder, now))
    else:
        show(asked.folder, now)
    return status_of(now)


def why(asked: argparse.Namespace) -> int:
    """Why a run stopped, and why its candidates won or lost."""
    from graph.explaining import explained, sentences

    now = look(asked.folder)
    found = explained(asked.folder, now)
    print(json.dumps(found, indent=2) if asked.json else "\n".join(sentences(found, asked.folder)))
    return FINISHED


def answer(asked: argparse.Namespace) -> int:
    """Approve and reject: the answer that a waiting run gets, here or in the process that waits with it."""
    from graph.config import RecipeError
    from graph.gates import Decided, Decision, decide, place_of
    from graph.team import team

    gate, who = waits(asked.folder), name(asked)
    said = Decision(approved=asked.command == "approve", why=asked.why, who=who, end=asked.end)
    try:
        decide(team(str(asked.folder)).memory, place_of(gate), said)
    except Decided as first:
        raise RecipeError(str(first)) from first
    return follow(asked.folder)


def waits(folder: Path) -> dict[str, Any]:
    """What the gate shows where a run waits. Raises RecipeError where it does at none."""
    from graph.config import RecipeError

    now = look(folder)
    if now.state != "waiting":
        raise RecipeError(f"{folder} waits at no gate: it is {now.state}; `breakfix status` says where")
    return now.gate


def name(asked: argparse.Namespace) -> str:
    """Who is at the gate."""
    from graph.config import RecipeError
    from graph.gates import NOBODY

    who: str = asked.who or os.environ.get("USER", "")
    if who.casefold() == NOBODY:
        raise RecipeError(f"--as {who!r} is who decides when a gate's time is over; give another name")
    return who


def review(asked: argparse.Namespace) -> int:
    """Looks at what waits at a gate, changes it, and decides."""
    from graph.review import Review, pressed, typed
    from graph.team import team

    gate, who = waits(asked.folder), name(asked)
    if not Review(team(str(asked.folder)), gate, who, pressed, typed).run():
        return WAITING
    return follow(asked.folder)


def follow(folder: Path) -> int:
    """Goes on after a decision, unless the process that waits at the gate does."""
    from graph.run import holder

    if process := holder(folder):
        print(f"{folder}: process {process}, which waits there, goes on")
        return FINISHED
    return go(folder)


def ablate(asked: argparse.Namespace) -> int:
    from graph import ablating

    return ablating.ablate(asked)


COMMANDS = {
    "run": run, "resume": resume, "step": step, "status": status, "why": why, "approve": answer, "reject": answer,
    "review": review, "history": commands.history, "fork": commands.fork, "graph": commands.draw,
    "report": commands.report, "chat": commands.chat, "import": commands.bring_in, "calibrate": commands.calibrate,
    "fit-judge": commands.fit_judge, "label": commands.label, "rejudge": commands.rejudge, "export": commands.export,
    "eval": commands.evaluate, "ablate": ablate, "console": commands.console,
    "purge": commands.purge, "doctor": commands.doctor,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
