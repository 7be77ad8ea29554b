"""Fitting a judge of one's own on labels, and what it can be expected to do on answers that it has not seen."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from agents import fitted
from evals.calibration import scorecard
from evals.scorecard import Scorecard, shown
from graph.calibrating import given, labels_of
from graph.config import RecipeError
from graph.team import Watch
from tools.labels import Task
from tools.records import Seen

SCORECARDS = "scorecards.json"
Left = Literal["goal", "model"]
TITLES: dict[Left, str] = {
    "goal": "Judged by one that had not seen the goal",
    "model": "Judged by one that had not seen the model that answered",
}


def fit(file: Path, task: Task, out: Path, watch: Watch) -> str:
    """Fits a judge on labels and puts it in a new folder with its scorecards; returns them as Markdown.

    Every answer is scored by judges that were fitted without its goal, or without the model that gave it. Raises
    RecipeError, and then there is no folder.
    """
    if out.exists():
        raise RecipeError(f"--out {out} is there already; give the name of a new folder")
    labels = given(lambda: labels_of(file, task))
    ways: list[Left] = ["goal", *(["model"] if len({label.model for label in labels}) > 1 else [])]  # type: ignore[list-item]
    watch("fit", 0, len(ways) + 1, "fitting")
    judge = given(lambda: fitted.fit(labels, task))
    cards: dict[Left, Scorecard] = {}
    for number, by in enumerate(ways, 1):
        watch("fit", number, len(ways) + 1, f"leaving out each {by} in turn")
        found = given(lambda by=by: fitted.out_of_fold(labels, task, by))  # type: ignore[misc]
        cards[by] = scorecard(labels, [as_seen(one, task) for one in found], task, judge.digest)
    keep(judge, cards, out)
    watch("fit", len(ways) + 1, len(ways) + 1, f"kept in {out}")
    return "\n\n".join([*(f"## {TITLES[by]}\n\n{shown(card)}" for by, card in cards.items()), used(out)])


def as_seen(probability: float | None, task: Task) -> Seen:
    """What a judge with this probability of a yes sees."""
    yes = None if probability is None else probability >= 0.5
    if task == "harmful":
        return Seen(harmful=yes, refusal=None, understood=True, score=probability)
    return Seen(harmful=None, refusal=None if yes is None else "full" if yes else "none", understood=True)


def keep(judge: fitted.Fitted, cards: dict[Left, Scorecard], out: Path) -> None:
    """The whole folder or none of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        fitted.save(judge, made)
        found = {by: card.model_dump(mode="json") for by, card in cards.items()}
        (made / SCORECARDS).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        made.rename(out)
    except BaseException:
        shutil.rmtree(made)
        raise


def used(out: Path) -> str:
    return f'The judge is in {out}: `--judge fitted:{out}`, or in a recipe `judge = "fitted:{out}"`.'
