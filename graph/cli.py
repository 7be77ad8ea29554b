"""The command line: picks a recipe, controls the run, and has no knobs but --set."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graph.run import Standing
    from tools.records import Attempt, Goal

FINISHED, FAILED, MISTAKE, WAITING, RESUMABLE = range(5)
RUNNING = ("run", "resume", "step", "approve", "reject")
"""The commands that go on with a run."""
FORMATS = ("jsonl", "csv", "jbb", "phi3", "pyrit", "garak")
"""`tools.transcripts.Format`, which would be slow to import for help."""
TASKS = ("harmful", "refusal")
"""`tools.labels.Task`."""
EPILOG = """\
exit status: 0 finished, 1 failure, 2 your mistake, 3 waiting at a gate, 4 stopped and resumable
a run is a folder, runs/NAME; it holds harmful text, so only you can read it
start with: breakfix run runs/demo.toml"""

SUITES = """\
benchmarks, by what they measure:
  harm          harmbench, jailbreakbench, strongreject, simple_safety_tests, do_not_answer, ailuminate
                multijail, xsafety, catqa (by language), decodingtrust_toxicity, toxigen (by group)
  stereotypes   decodingtrust_stereotype
  over-refusal  xstest, or_bench, coconot, jailbreakbench
  the paper's   third_party, continuation, summarisation, jailbreak, ungroundedness (these need no files)
  capability    gsm8k, mmlu, truthfulqa; ifeval and mt_bench are read and not scored;
                lm_eval:TASK,TASK for lm-evaluation-harness, lm_eval:DIR/TASK for its tasks of your own
  the sandbox   sandbox (harm, refusals and capability of its own models, by its oracle)

  breakfix eval hf:models/phi-3 --suite xstest:data/xstest --suite harmbench:data/harmbench
  breakfix eval hf:models/phi-3 --adapter runs/one/adapters/ID --suite all:data --limit 50 --json out.json

conversations and verdicts are kept: the same command goes on where it was stopped, and a larger --limit or another
--judge asks the model nothing twice. A value without verdicts is undetermined; coverage is the share with one."""


def parser() -> argparse.ArgumentParser:
    """Every command, with what it is for."""
    top = argparse.ArgumentParser(
        prog="breakfix", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Red-teams a language model, judges what broke, writes the data that fixes it, fine-tunes, "
        "measures, and repeats until another cycle would not pay.",
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")

    def fresh(one: argparse.ArgumentParser) -> None:
        one.add_argument("--run", metavar="NAME", help="name of the run (default: the recipe's)")
        one.add_argument("--from", dest="inherit", metavar="OLD_RUN", type=Path,
                         help="start with an older run's attacks as regressions and its rows as replay")  # fmt: skip
        one.add_argument("--gates", metavar="LIST", help="where to stop for a person: data,train,promote")
        one.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings",
                         help="override one key of the recipe, such as agents.judge.model=openai:gpt-4o")  # fmt: skip

    def judged(one: argparse.ArgumentParser) -> None:
        one.add_argument("--judge", required=True, metavar="SPEC",
                         help="rules, fitted:DIR, PROVIDER:MODEL, or settings as in a recipe: "
                         "'{ model = \"openai:NAME\", base_url = \"http://localhost:8000/v1\" }'")  # fmt: skip

    one = command("run", "start a run from a recipe and go on until it ends or waits")
    one.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    fresh(one)
    one = command("resume", "go on with a run that was stopped or killed")
    one.add_argument("folder", type=Path, metavar="RUN")
    one = command("step", "pass one node: of a run, or of a new run from a recipe")
    one.add_argument("recipe", type=Path, metavar="RECIPE.toml|RUN")
    fresh(one)
    one = command("status", "say where a run is")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--json", action="store_true", help="for programs")
    one = command("approve", "say yes at the gate where a run waits, and go on")
    one.add_argument("folder", type=Path, metavar="RUN")
    one = command("reject", "say no at the gate where a run waits, and go on another way")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--why", default="", help="the reason; the writer and the trainer are told")
    one = command("report", "print and write the report of a run so far, a page among it; of several, a comparison")
    one.add_argument("folders", type=Path, nargs="+", metavar="RUN")
    one = command("chat", "talk to the base, the champion or any candidate")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--with", dest="adapter", default="champion", metavar="ADAPTER",
                     help="base, champion, or the first digits of an adapter's id (default: champion)")  # fmt: skip
    one = command("import", "add recorded conversations to a run's memory")
    one.add_argument("file", type=Path, metavar="FILE")
    one.add_argument("--format", required=True, choices=FORMATS, help="how the file is laid out")
    one.add_argument("--run", required=True, type=Path, dest="folder", metavar="RUN")
    one = command("calibrate", "measure a judge against answers that people have labelled")
    one.add_argument("labels", type=Path, metavar="LABELS",
                     help="a CSV or JSONL file of goal, response and label (0 or 1), to which prompt, language, area, "
                     "severity and model may be added; or a run, for the labels that people gave it")  # fmt: skip
    judged(one)
    one.add_argument("--task", choices=TASKS, default="harmful", help="what a label of 1 says (default: harmful)")
    one.add_argument("--json", type=Path, metavar="OUT", help="write the scorecard there as JSON")
    one.add_argument("--run", type=Path, dest="folder", metavar="RUN",
                     help="keep the scorecard in a run, for its report; --judge may be one of its roles")  # fmt: skip
    one.add_argument("--inject", nargs="?", const="", metavar="FILE",
                     help="also try to talk the judge round from inside the answers, and say how often its verdict "
                     "flips: by our own families of injections, or by those of a JSONL file")  # fmt: skip
    one = command("fit-judge", "fit a judge of your own on labels, to be used as fitted:DIR")
    one.add_argument("labels", type=Path, metavar="LABELS", help="as for calibrate")
    one.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to put it; its scorecard goes there too"
    )
    one.add_argument("--task", choices=TASKS, default="harmful", help="what a label of 1 says (default: harmful)")
    one = command("label", "judge some of a run's conversations yourself, without seeing what its judges said")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--n", type=int, default=100, help="how many (default: 100); half are the least sure, half by lot")
    one.add_argument("--as", dest="who", default="", metavar="NAME", help="whose labels they are (default: $USER)")
    one = command("rejudge", "have another judge look at a run's conversations; the old verdicts stay what counts")
    one.add_argument("folder", type=Path, metavar="RUN")
    judged(one)
    one = command("export", "write a run's conversations as another tool reads them")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--what", required=True, choices=("inspect",),
                     help="inspect: a log for each benchmark and model, for `inspect view --log-dir DIR`")  # fmt: skip
    one.add_argument("--out", type=Path, metavar="DIR", help="where to (default: RUN/inspect)")
    one = command("eval", "measure any model on public benchmarks")
    one.formatter_class, one.epilog = argparse.RawDescriptionHelpFormatter, SUITES
    one.add_argument("model", metavar="MODEL",
                     help="hf:PATH, openai:NAME, or settings as in a recipe: "
                     "'{ model = \"openai:NAME\", base_url = \"http://localhost:8000/v1\" }'")  # fmt: skip
    one.add_argument("--adapter", type=Path, metavar="DIR", help="an adapter to put on a model of hf:PATH")
    one.add_argument("--suite", action="append", required=True, metavar="NAME[:PATH]",
                     help="a benchmark and its file or folder, or NAME:hub; may be repeated. all:DIR is every one "
                     "whose files lie in DIR's folders")  # fmt: skip
    one.add_argument("--judge", default="rules", metavar="SPEC",
                     help="who judges the answers, as for calibrate (default: rules, which is offline)")  # fmt: skip
    one.add_argument("--attacker", default="", metavar="SPEC", help="a model to lead the conversations of `jailbreak`")
    one.add_argument("--limit", type=int, default=0, metavar="N", help="items of each benchmark, by lot (default: all)")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of the lot (default: 0)")
    one.add_argument("--out", type=Path, metavar="DIR", help="where conversations are kept (default: runs/eval-...)")
    one.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON, with their parts")
    one = command("purge", "delete a run and all it holds, after asking")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = command("doctor", "say what this machine can do, and what a recipe needs of it")
    one.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE.toml")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    asked = parser().parse_args(arguments)
    os.umask(0o077)
    try:
        return COMMANDS[asked.command](asked)
    except KeyboardInterrupt:
        folder = getattr(asked, "folder", None) or (place(asked) if hasattr(asked, "run") else None)
        going = f"; `breakfix resume {folder}` goes on" if folder and asked.command in RUNNING else ""
        going = "; the same command goes on" if asked.command == "eval" else going
        print(f"\nstopped{going}", file=sys.stderr)
        return RESUMABLE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED
    except Exception as error:
        return complain(error)


def complain(error: Exception) -> int:
    """One line for a user's mistake and for a failure that has a name; a traceback only for what is our fault."""
    from graph.config import RecipeError
    from tools.endpoints import EndpointGone, EndpointRefused, Unanswered

    if isinstance(error, RecipeError):
        print(f"breakfix: {error}", file=sys.stderr)
        return MISTAKE
    if isinstance(error, EndpointGone | EndpointRefused | Unanswered):
        print(f"breakfix: {error}", file=sys.stderr)
        return RESUMABLE
    if os.environ.get("BREAKFIX_DEBUG"):
        raise error
    line = str(error).strip().splitlines()
    print(
        f"breakfix: {type(error).__name__}: {line[0] if line else ''} (BREAKFIX_DEBUG=1 shows where)", file=sys.stderr
    )
    return FAILED


def place(asked: argparse.Namespace) -> Path:
    """The run folder that a command is about."""
    if asked.recipe.is_dir():
        return Path(asked.recipe)
    return Path("runs", asked.run or asked.recipe.stem)


def begin(asked: argparse.Namespace) -> Path:
    """Makes a run folder from a recipe; nothing is left behind when the recipe is wrong."""
    from graph.config import RecipeError, load
    from graph.preflight import preflight
    from graph.run import create

    settings = list(asked.settings)
    if asked.gates is not None:
        settings.append("gates=" + json.dumps([name.strip() for name in asked.gates.split(",") if name.strip()]))
    if asked.inherit:
        settings.append(f"inherit={json.dumps(str(asked.inherit.resolve()))}")
    if asked.run is not None and (asked.run in ("", ".", "..") or Path(asked.run).name != asked.run):
        raise RecipeError(f"--run {asked.run!r} is no name; give one without slashes")
    folder = place(asked)
    recipe = load(asked.recipe, settings)
    preflight(recipe)
    create(recipe, folder)
    return folder


def go(folder: Path, answer: dict[str, object] | None = None, one: bool = False) -> int:
    """Goes on with a run, shows how it goes, and says where it stands."""
    from graph.console import Console, show
    from graph.run import advance
    from graph.team import team

    if not (folder / "recipe.toml").is_file():
        return complain(no_run(folder))
    with Console(folder) as console:
        team(str(folder)).watch = console.watch
        now = advance(folder, answer, one)
    show(folder, now)
    return status_of(now)


def no_run(folder: Path) -> Exception:
    from graph.config import RecipeError

    return RecipeError(f"{folder} is no run: no recipe.toml there; `ls runs` shows what there is")


def status_of(now: "Standing") -> int:
    return {"finished": FINISHED, "waiting": WAITING}.get(now.state, RESUMABLE)


def run(asked: argparse.Namespace) -> int:
    return go(begin(asked))


def resume(asked: argparse.Namespace) -> int:
    return go(asked.folder)


def step(asked: argparse.Namespace) -> int:
    if not asked.recipe.is_dir():
        return go(begin(asked), one=True)
    if asked.run or asked.inherit or asked.gates is not None or asked.settings:
        from graph.config import RecipeError

        raise RecipeError(
            f"{asked.recipe} is a run, whose recipe is fixed; --run, --from, --gates and --set make a new one"
        )
    return go(asked.recipe, one=True)


def look(folder: Path) -> "Standing":
    """Where a run stands, without going on."""
    from graph.run import opened, standing

    with opened(folder) as graph:
        return standing(graph)


def status(asked: argparse.Namespace) -> int:
    from graph.console import as_json, show

    now = look(asked.folder)
    if asked.json:
        print(as_json(asked.folder, now))
    else:
        show(asked.folder, now)
    return status_of(now)


def answer(asked: argparse.Namespace) -> int:
    """Approve and reject: the answer that a waiting run gets."""
    from graph.config import RecipeError

    now = look(asked.folder)
    if now.state != "waiting":
        raise RecipeError(f"{asked.folder} waits at no gate: it is {now.state}; `breakfix status` says where")
    approved = asked.command == "approve"
    return go(
        asked.folder, {"approved": approved, "why": "" if approved else asked.why, "who": os.environ.get("USER", "")}
    )


def report(asked: argparse.Namespace) -> int:
    """The report of a run, or several beside each other, which are then written into the first one's folder."""
    from graph.comparing import compare
    from graph.console import printed
    from graph.report import write
    from graph.team import team

    for folder in asked.folders:
        look(folder)
    crews = [team(str(folder)) for folder in dict.fromkeys(asked.folders)]
    printed(write(crews[0]) if len(crews) == 1 else compare(crews))
    print(f"{crews[0].run / ('report.html' if len(crews) == 1 else 'compare.html')} has it as a page", file=sys.stderr)
    return FINISHED


def chat(asked: argparse.Namespace) -> int:
    from graph.console import talk

    look(asked.folder)
    talk(asked.folder, asked.adapter)
    return FINISHED


def bring_in(asked: argparse.Namespace) -> int:
    """Imported conversations become attempts of the cycle that is under way."""
    from graph.config import RecipeError
    from graph.run import locked
    from graph.sources import behaviours, store
    from graph.team import team
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
        print(f"left out: {line}", file=sys.stderr)
    known = len(imported.attempts) - len(refused) - new
    print(f"imported {asked.file}: {new} new, {known} there already, {len(left_out)} left out")
    return FINISHED if new or known else FAILED


def calibrate(asked: argparse.Namespace) -> int:
    from evals import injections
    from evals.scorecard import shown
    from graph.calibrating import calibrated
    from graph.config import RecipeError
    from graph.console import Console, printed
    from graph.team import team

    if asked.folder:
        look(asked.folder)
    if asked.json and (asked.json.is_dir() or not asked.json.parent.is_dir()):
        raise RecipeError(f"--json {asked.json} cannot be written; give a file in a folder that is there")
    crew = team(str(asked.folder)) if asked.folder else None
    with Console(asked.folder) as console:
        if crew:
            crew.watch = console.watch
        card, flips = calibrated(asked.labels, asked.judge, asked.task, crew, asked.inject, console.watch)
    printed("\n\n".join([shown(card), *([injections.shown(flips)] if flips else [])]))
    if asked.json:
        body = card.model_dump(mode="json") | ({"flips": [one.model_dump() for one in flips]} if flips else {})
        asked.json.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return FINISHED


def evaluate(asked: argparse.Namespace) -> int:
    from evals.suites.results import as_data, shown
    from graph.config import RecipeError
    from graph.console import Console, printed
    from graph.evaluating import evaluated

    if asked.json and (asked.json.is_dir() or not asked.json.parent.is_dir()):
        raise RecipeError(f"--json {asked.json} cannot be written; give a file in a folder that is there")
    if asked.limit < 0:
        raise RecipeError(f"--limit {asked.limit}: give 0 for all items, or more")
    with Console(None) as console:
        folder, judge, found = evaluated(asked.model, asked.adapter, asked.suite, asked.judge, asked.attacker,
                                         asked.limit, asked.seed, asked.out, console.watch)  # fmt: skip
    printed(f"{shown(found)}\n\nconversations and verdicts: {folder} (judge `{judge}`)")
    if asked.json:
        body = {"model": asked.model, "adapter": str(asked.adapter or ""), "judge": judge, "seed": asked.seed,
                "limit": asked.limit, "benchmarks": as_data(found)}  # fmt: skip
        asked.json.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return FINISHED


def fit_judge(asked: argparse.Namespace) -> int:
    from graph.console import Console, printed
    from graph.fitting import fit

    with Console(None) as console:
        told = fit(asked.labels, asked.task, asked.out, console.watch)
    printed(told)
    return FINISHED


def label(asked: argparse.Namespace) -> int:
    """A person's labels are kept one by one, so that it can be stopped and gone on with at any time."""
    from graph.config import RecipeError
    from graph.console import key, shown
    from graph.desk import champion
    from graph.labelling import KEYS, labels, sample
    from graph.team import team

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
    from graph.calibrating import rejudged
    from graph.console import Console, printed
    from graph.run import locked
    from graph.team import team

    look(asked.folder)
    crew = team(str(asked.folder))
    with locked(asked.folder), Console(asked.folder) as console:
        crew.watch = console.watch
        told = rejudged(crew, asked.judge)
    printed(told)
    return FINISHED


def export(asked: argparse.Namespace) -> int:
    from graph.config import RecipeError
    from graph.console import Console
    from graph.export import to_inspect
    from graph.team import team

    look(asked.folder)
    out = asked.out or asked.folder / "inspect"
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; give a folder: there is a log for each benchmark and model")
    crew = team(str(asked.folder))
    with Console(None) as console:
        crew.watch = console.watch
        written = to_inspect(crew, out)
    print(f"{len(written)} logs in {out}, which hold harmful text; `inspect view --log-dir {out}` shows them")
    return FINISHED


def purge(asked: argparse.Namespace) -> int:
    from graph.run import locked, sizes

    asked.folder = asked.folder.resolve()

    if not (asked.folder / "recipe.toml").is_file():
        raise no_run(asked.folder)
    with locked(asked.folder):
        if not asked.yes:
            size = sizes(asked.folder) / 1e6
            if typed(f"delete {asked.folder} and all it holds ({size:.1f} MB)? type its name: ") != asked.folder.name:
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
    from graph.doctor import examine

    return FINISHED if examine(asked.recipe) else FAILED


COMMANDS = {
    "run": run, "resume": resume, "step": step, "status": status, "approve": answer, "reject": answer,
    "report": report, "chat": chat, "import": bring_in, "calibrate": calibrate, "eval": evaluate,
    "fit-judge": fit_judge, "label": label, "rejudge": rejudge, "export": export, "purge": purge, "doctor": doctor,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
