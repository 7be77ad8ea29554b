"""What a dry run says beside what the run then takes: a small run of the sandbox, after one with another seed.

python -m tests.benchmarks.estimates FOLDER

Both runs lie in FOLDER/runs and are gone on with where they were stopped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import test_resume

from evals.report.markdown import table
from graph import budgets, estimating, timing
from graph.config import Recipe
from graph.estimating import Range
from graph.recipes import load
from graph.team import team

SETTINGS = ("seed=1",)
HEAD = ("what", "the dry run", "the run", "within")


def ended(folder: Path, name: str, *settings: str) -> Path:
    """The folder of a run that has come to its end."""
    run, more = folder / "runs" / name, [word for one in settings for word in ("--set", one)]
    command = ["resume", str(run)] if run.exists() else ["run", "recipe.toml", "--run", name, *more]
    subprocess.run([sys.executable, "-m", "graph.cli", *command], cwd=folder, check=True)
    return run


def rows(recipe: Recipe, run: Path, past: Path | None = None) -> list[tuple[str, str, str, str]]:
    """What was said of each thing, what it came to, and whether that was within; of its time, by a past run."""
    found, crew = estimating.sizes(recipe), team(str(run))
    told: dict[str, tuple[Range, float]] = {
        "conversations": (found.held, budgets.conversations(crew)),
        "bytes in its folder": (Range(found.held.low * estimating.KEPT[0], estimating.most(recipe, found)),
                                budgets.size(run)),
    }  # fmt: skip
    known = {past.name: estimating.paced(past, recipe)} if past else {}
    if past:
        told["seconds of work"] = estimating.alike(found, known, estimating.SECONDS), timing.worked(crew.memory)
    spent = crew.memory.query("""select role, sum(calls) as calls, sum(prompt_tokens) + sum(completion_tokens) as tokens
        from costs group by role order by role""")  # fmt: skip
    for row in spent:
        asked = estimating.calls(recipe, found)[row["role"]]
        told[f"{row['role']}: calls"] = asked, row["calls"]
        if past:
            told[f"{row['role']}: tokens"] = estimating.alike(found, known, row["role"]), row["tokens"]
    return [(what, str(said), f"{was:,.0f}", "yes" if said.low <= was <= said.high else "no")
            for what, (said, was) in told.items()]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(test_resume.RECIPE)
    first = ended(folder, "first")
    print(table(HEAD, rows(load(folder / "recipe.toml"), first)), flush=True)
    recipe = load(folder / "recipe.toml", SETTINGS)
    told = ["run", "recipe.toml", "--run", "second", "--set", *SETTINGS, "--dry-run"]
    subprocess.run([sys.executable, "-m", "graph.cli", *told], cwd=folder, check=True)
    run = ended(folder, "second", *SETTINGS)
    print(table(HEAD, rows(recipe, run, first)))


if __name__ == "__main__":
    main()
