"""Where a run's goals, general rows and recorded conversations come from, as its recipe says."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from graph.config import Recipe
from graph.team import Team
from tools import goals as files
from tools import transcripts
from tools.memory import Memory
from tools.records import Attempt, Example, Goal, Message, Verdict, digest


def goals(recipe: Recipe) -> list[Goal]:
    """The goals of a run: harmful ones, their harmless twins, and plain requests, each with its split."""
    wanted = recipe.goals
    if recipe.recorded.conversations:
        return list(lookalikes(recipe).values())
    if wanted.source == "sandbox":
        from tools.sandbox import world

        return world.goals(recipe.seed, wanted.train, wanted.held_out, wanted.final)
    return files.load(Path(wanted.source))


def recorded(crew: Team) -> None:
    """Puts the recipe's recorded conversations into the memory, as the first cycle's attempts."""
    folder = crew.recipe.recorded.lookalikes
    behaviours = folder / "harmful-behaviors.csv" if folder else None
    for one in crew.recipe.recorded.conversations:
        store(crew, one.path, transcripts.read(one.path, one.format, 1, behaviours), 1)


def store(crew: Team, file: Path, imported: transcripts.Imported, cycle: int) -> list[str]:
    """Puts conversations into the memory, their own flags as verdicts of a judge `flag:NAME`.

    Returns why some were left out: those about a goal that is held out, which may not be trained on, and, in a
    sandbox run, those that its simulated agents could not read.
    """
    hidden = {goal.text.strip().lower() for goal in crew.memory.get(Goal, "split <> 'train'")}
    refused = {goal.id: why for goal in imported.goals if (why := unfit(crew.recipe, goal, hidden))}
    attempts = [attempt for attempt in imported.attempts if attempt.goal not in refused]
    crew.memory.add(goal for goal in imported.goals if goal.id not in refused)
    crew.memory.add(attempts)
    crew.memory.add(
        Verdict(attempt=attempt, judge=f"flag:{name}", harmful=flag, refusal=None, understood=True)
        for attempt, flags in imported.flags.items()
        if attempt in {one.id for one in attempts}
        for name, flag in flags.items()
    )
    left_out = [refused[attempt.goal] for attempt in imported.attempts if attempt.goal in refused]
    crew.memory.event(cycle, "import", "imported", file=file.name, conversations=len(attempts),
                      left_out=len(imported.malformed) + len(left_out))  # fmt: skip
    return left_out


def unfit(recipe: Recipe, goal: Goal, hidden: set[str]) -> str:
    """Why recordings about a goal cannot be part of a run; empty when they can."""
    if goal.text.strip().lower() in hidden:
        return f"{goal.text[:60]!r} is held out in this run, and may not be trained on"
    if recipe.goals.source == "sandbox" and not recipe.recorded.conversations:
        from tools.sandbox import world

        if world.parse(goal.text) is None:
            return f"{goal.text[:60]!r} is nothing that the sandbox's simulated agents know"
    return ""


def lookalikes(recipe: Recipe) -> dict[str, Goal]:
    """For the text of a recorded goal, its harmless look-alike (JailbreakBench's pairs)."""
    folder = recipe.recorded.lookalikes
    return {harmful.text: twin for harmful, twin in files.jbb_pairs(folder)} if folder else {}


def inherited(crew: Team) -> None:
    """Puts an older run's attacks and rows into the memory, as cycle 0: regressions to measure, rows to replay."""
    if crew.recipe.inherit is None:
        return
    old = Memory(copied(crew.recipe.inherit / "memory.sqlite", crew.run / "inherited.sqlite"))
    attacks = old.get(Attempt, "purpose <> 'measure' and error = ''")
    moved = {
        a.id: a.model_copy(update={"cycle": 0, "purpose": "import", "target": f"{a.target}@{a.cycle}"}) for a in attacks
    }
    crew.memory.add(old.get(Goal, "split = 'train'"))
    crew.memory.add(moved.values())
    crew.memory.add(
        verdict.model_copy(update={"attempt": moved[verdict.attempt].id})
        for verdict in old.get(Verdict)
        if verdict.attempt in moved
    )
    rows = [row for row in old.get(Example) if not row.attempt or row.attempt in moved]
    crew.memory.add(
        row.model_copy(update={
            "cycle": 0, "round": 0, "number": number, "attempt": moved[row.attempt].id if row.attempt else "",
        }) for number, row in enumerate(rows)
    )  # fmt: skip
    crew.memory.event(0, "baseline", "rows", round=0, rows=len(rows), kinds=dict(Counter(row.kind for row in rows)))


def copied(memory: Path, to: Path) -> Path:
    """A copy of another run's memory, which is opened for reading alone."""
    with closing(sqlite3.connect(f"file:{memory}?mode=ro", uri=True)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)
    return to


def retained(recipe: Recipe, n: int, cycle: int, round: int) -> list[Example]:
    """`n` general rows that keep what the model could do; a different draw for each cycle and round."""
    source, seed = recipe.data.retain, f"{recipe.seed}/{cycle}/{round}"
    rows: Sequence[tuple[tuple[Message, ...], str]]
    if source == "sandbox":
        from tools.sandbox import world

        rows = world.retained(seed, n, recipe.attack.languages)
    else:
        rows = files.retained(Path(source), n, seed)
    writer = digest("retained", Path(source).name)
    languages = recipe.attack.languages if source == "sandbox" else recipe.attack.languages[:1]
    return [
        Example(kind="retain", prompt=prompt, chosen=chosen, language=languages[number % len(languages)], cycle=cycle,
                round=round, writer=writer, number=number)
        for number, (prompt, chosen) in enumerate(rows)
    ]  # fmt: skip


def right(recipe: Recipe, goal: Goal, attempt: Attempt) -> bool:
    """Whether the answer to a plain request is right: the sandbox's oracle knows, elsewhere it must match exactly."""
    if goal.source == "sandbox":
        from tools.sandbox import oracle

        return oracle.right(goal.text, attempt.language, attempt.response)
    return attempt.response.strip() == goal.reference.strip()
