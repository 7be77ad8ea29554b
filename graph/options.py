"""What the command line takes: every command, with what it is for and what it may be told."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

Add = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command by its name and what it is for."""
FORMATS = ("jsonl", "csv", "jbb", "phi3", "pyrit", "garak")
"""`tools.transcripts.Format`, which would be slow to import for help."""
TASKS = ("harmful", "refusal")
"""`tools.labels.Task`."""
EPILOG = """\
exit status: 0 finished, 1 failure, 2 your mistake, 3 waiting at a gate, 4 stopped and resumable
a run is a folder, runs/NAME; it holds harmful text, so only you can read it
start with: breakfix run runs/demo.toml"""

KEYS = """\
keys: n p next and back, / search, s show what is hidden, e another answer, d drop, u undo, h k o it is harmful,
harmless, or cannot be told, i b pin or ban its cell, c other numbers for a stage, + a row and w an attack of your
own, a approve, r reject, x end the run, q leave (all is kept), ? all of them. $EDITOR opens for an answer."""

CONSOLE = """\
  breakfix console runs
  breakfix console runs/demo --port 0

it prints an address with a token: whoever has that can read the runs and decide in them, and nobody else. It asks for
a name once; what is changed and decided is kept with it. After a decision a run goes on by itself, in a process of its
own where none waits (its words are in RUN/console.log). Several people can look at once: who is first decides."""

ABLATE = """\
  breakfix ablate runs/demo.toml --vary data.chosen=writer,target --vary 'training.rank=8,32' --seeds 3
  breakfix ablate runs/experiments/02-mixed-data.toml --jobs 2

every arm is run with every seed in a folder of its own, runs/NAME/ARM-SEED, on a base that is measured once for all
that measure it alike. Stopped or killed, the same command goes on; a run that failed is tried again, and the report
says which did. --seeds may grow later. Values with commas go into brackets, braces or quotes, as in TOML."""

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


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line, as every other mistake is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"breakfix: {message}; `{self.prog} --help` says what it takes\n")


def parser() -> argparse.ArgumentParser:
    """Every command, with what it is for."""
    top = Parser(
        prog="breakfix", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Red-teams a language model, judges what broke, writes the data that fixes it, fine-tunes, "
        "measures, and repeats until another cycle would not pay.",
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")

    for some in (running, looking, judging, measuring, keeping):
        some(command)
    return top


def running(command: Add) -> None:
    one = command("run", "start a run from a recipe and go on until it ends or waits")
    one.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    one.add_argument("--dry-run", dest="dry", action="store_true",
                     help="check the recipe, say what the run would take, and make and ask nothing")  # fmt: skip
    fresh(one)
    one = command("resume", "go on with a run that was stopped or killed")
    one.add_argument("folder", type=Path, metavar="RUN")
    one = command("step", "pass one node, or several, of a run or of a new run from a recipe")
    one.add_argument("recipe", type=Path, metavar="RECIPE.toml|RUN")
    one.add_argument("--until", default="", metavar="NODE",
                     help="go on until this node is passed, a gate is reached, or the end (default: one node; "
                     "`breakfix graph` shows them)")  # fmt: skip
    fresh(one)
    for name, about in (("status", "say where a run is"),
                        ("why", "say why a run stopped, and why each candidate won or lost")):  # fmt: skip
        one = command(name, about)
        one.add_argument("folder", type=Path, metavar="RUN")
        one.add_argument("--json", action="store_true", help="for programs")
    for name, about, why in (
        ("approve", "say yes at the gate where a run waits, and go on", "a remark, which is kept"),
        ("reject", "say no at the gate where a run waits, and go on another way",
         "the reason; the writer and the trainer are told"),
    ):  # fmt: skip
        one = command(name, about)
        one.add_argument("folder", type=Path, metavar="RUN")
        one.add_argument("--why", default="", help=why)
        one.add_argument("--as", dest="who", default="", metavar="NAME", help="who decides (default: $USER)")
        one.add_argument("--end", action="store_true", help="the run ends here, with what it has")

    one = command("review", "look at what waits at a gate, one item at a time, change it, and decide")
    one.epilog, one.formatter_class = KEYS, argparse.RawDescriptionHelpFormatter
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--as", dest="who", default="", metavar="NAME", help="who you are (default: $USER)")
    forking(command("fork", "make a new run that begins at a checkpoint of another, which stays as it is"))


def forking(one: argparse.ArgumentParser) -> None:
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--at", required=True, metavar="CHECKPOINT",
                     help="its number in `breakfix history RUN`, or the first digits of its id")  # fmt: skip
    one.add_argument("--name", required=True, metavar="NEW", help="name of the new run, which lies beside the other")
    one.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings",
                     help="change one key of the recipe from there on; not what the base has been measured with, such "
                     "as its goals or the seed")  # fmt: skip


def looking(command: Add) -> None:
    one = command(
        "report", "write a run's report so far, a page among it, and print its beginning; of several, a comparison"
    )
    one.add_argument("folders", type=Path, nargs="+", metavar="RUN")
    one = command("history", "list a run's checkpoints, oldest first, while it goes on as well")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--json", action="store_true", help="for programs")
    command("graph", "print the graph of a run as Mermaid")
    one = command("chat", "talk to the base, the champion or any candidate")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--with", dest="adapter", default="champion", metavar="ADAPTER",
                     help="base, champion, or the first digits of an adapter's id (default: champion)")  # fmt: skip
    one = command("import", "add recorded conversations to a run's memory")
    one.add_argument("file", type=Path, metavar="FILE")
    one.add_argument("--format", required=True, choices=FORMATS, help="how the file is laid out")
    one.add_argument("--run", required=True, type=Path, dest="folder", metavar="RUN")
    one = command("console", "show runs in the browser, and change and decide what waits at their gates")
    one.epilog, one.formatter_class = CONSOLE, argparse.RawDescriptionHelpFormatter
    one.add_argument("folders", type=Path, nargs="+", metavar="RUN|RUNS", help="a run, or a folder of runs")
    one.add_argument("--port", type=int, default=8421, help="default: 8421; 0 takes a free one")
    one.add_argument("--host", default="127.0.0.1",
                     help="where it can be reached (default: 127.0.0.1, from this machine alone)")  # fmt: skip
    exporting(command("export", "write a run's conversations, its model or its rows for others to use"))


def exporting(one: argparse.ArgumentParser) -> None:
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--what", required=True, choices=("inspect", "model", "data"),
                     help="inspect: a log for each benchmark and model, for `inspect view --log-dir DIR`; model: the "
                     "champion with a model card; data: the rows that it was trained on, for `datasets`")  # fmt: skip
    one.add_argument("--out", type=Path, metavar="DIR",
                     help="where to (default: RUN/inspect, RUN/export/model or RUN/export/data)")  # fmt: skip
    one.add_argument("--adapter", default="champion", metavar="ID",
                     help="model, data: another adapter than the champion, by the first digits of its id")  # fmt: skip
    one.add_argument("--merged", action="store_true", help="model: merged into the base's weights")
    one.add_argument("--base", default="", metavar="OWNER/NAME", help="model: what the base is called on the Hub")
    one.add_argument("--all", action="store_true", help="data: every approved row of the run")
    one.add_argument("--with-harmful", action="store_true",
                     help="data: also the harmful answers that refusals are preferred to")  # fmt: skip
    one.add_argument("--push", default="", metavar="OWNER/NAME",
                     help="model, data: upload it to the Hub, with your token, where only you see it")  # fmt: skip
    one.add_argument("--public", action="store_true", help="with --push: everybody sees it")


def judging(command: Add) -> None:
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


def measuring(command: Add) -> None:
    ablating(command("ablate", "run a recipe with one thing or several varied, and report what each does"))
    one = command("eval", "measure any model on public benchmarks")
    one.formatter_class, one.epilog = argparse.RawDescriptionHelpFormatter, SUITES
    one.add_argument("model", metavar="MODEL",
                     help="hf:PATH, openai:NAME, or settings as in a recipe: "
                     "'{ model = \"openai:NAME\", base_url = \"http://localhost:8000/v1\" }'")  # fmt: skip
    one.add_argument("--adapter", type=Path, metavar="DIR",
                     help="an adapter to put on a model of hf:PATH: its folder, RUN (its champion), or "
                     "RUN/adapters/ID with the first digits of an id")  # fmt: skip
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


def ablating(one: argparse.ArgumentParser) -> None:
    one.formatter_class, one.epilog = argparse.RawDescriptionHelpFormatter, ABLATE
    one.add_argument("recipe", type=Path, metavar="RECIPE.toml|EXPERIMENT.toml")
    one.add_argument("--vary", action="append", default=[], metavar="KEY=A,B[,C]",
                     help="a key of the recipe and its values; repeated, each combination is an arm")  # fmt: skip
    one.add_argument("--seeds", type=int, metavar="N",
                     help="how often each arm is run, with the recipe's seed and those after it (default: the "
                     "experiment's, or 3)")  # fmt: skip
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="how many runs at once (default: 1)")
    one.add_argument("--on", default="", metavar="ray[:ADDRESS]",
                     help="have Ray place the runs: here with --jobs workers, or on the cluster of an address, whose "
                     "machines see this folder")  # fmt: skip
    one.add_argument("--recipe", type=Path, dest="other", metavar="RECIPE.toml",
                     help="ask an experiment's question of another recipe than its own")  # fmt: skip
    one.add_argument("--run", metavar="NAME", help="folder of the ablation in runs/ (default: ablate-RECIPE)")
    one.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings",
                     help="override one key of the recipe in every arm, unless the arm has its own")  # fmt: skip


def keeping(command: Add) -> None:
    one = command("purge", "delete a run and all it holds, after asking")
    one.add_argument("folder", type=Path, metavar="RUN")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = command("doctor", "say what this machine can do, and what a recipe needs of it")
    one.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE.toml")
    one.add_argument("--recipe", type=Path, dest="named", metavar="RECIPE.toml", help="the same")
    one.add_argument("--card", type=float, metavar="GB",
                     help="memory of each GPU that the recipe is for (default: of those that are here)")  # fmt: skip


def fresh(one: argparse.ArgumentParser) -> None:
    """What a new run is told."""
    one.add_argument("--run", metavar="NAME", help="name of the run (default: the recipe's)")
    one.add_argument("--from", dest="inherit", metavar="OLD_RUN", type=Path,
                     help="start with an older run's attacks as regressions and its rows as replay")  # fmt: skip
    one.add_argument("--for", dest="time", metavar="TIME",
                     help="most that it may work, such as 8h, 30m or 1h30m, before it measures its champion and ends "
                     "(stop.hours)")  # fmt: skip
    one.add_argument("--gates", metavar="LIST", help="where to stop for a person: data,train,promote,stop")
    one.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings",
                     help="override one key of the recipe, such as agents.judge.model=openai:gpt-4o")  # fmt: skip


def judged(one: argparse.ArgumentParser) -> None:
    """Who judges."""
    one.add_argument("--judge", required=True, metavar="SPEC",
                     help="rules, fitted:DIR, PROVIDER:MODEL, or settings as in a recipe: "
                     "'{ model = \"openai:NAME\", base_url = \"http://localhost:8000/v1\" }'")  # fmt: skip
