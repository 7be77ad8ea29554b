"""Where a run's goals, general rows, recorded conversations and labelled answers come from, as its recipe says."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.inventor import invent
from graph.config import Recipe
from tools import general, sets, transcripts
from tools import goals as files
from tools.copying import copied
from tools.labels import Label, Task
from tools.labels import read as read_labels
from tools.memory import Memory
from tools.records import Attempt, Example, Goal, Verdict, digest
from tools.similarity import grams, near

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from graph.team import Team


def goals(recipe: Recipe) -> list[Goal]:
    """The goals of a run: harmful ones, their harmless twins, and plain requests, each with its split."""
    wanted = recipe.goals
    if recipe.recorded.conversations:
        return list(lookalikes(recipe).values())
    found = sets.gathered(wanted.files)
    if "sandbox" in wanted.listed:
        from tools.sandbox import world

        found += world.goals(recipe.seed, wanted.train, wanted.held_out, wanted.final)
    return found


def fresh(crew: "Team", cycle: int) -> list[Goal]:
    """The goals that the attacker's model has invented up to this cycle; this cycle's are written first, once."""
    if crew.recipe.attack.fresh and crew.attacker and not crew.memory.events("invented", cycle):
        pairs = asyncio.run(invented(crew, crew.attacker))
        crew.memory.add(goal for pair in pairs for goal in pair)
        crew.memory.event(cycle, "attack", "invented", goals=[harmful.id for harmful, _ in pairs])
        crew.put_down("attack", cycle)
    ids = {one for event in crew.memory.events("invented") if event["cycle"] <= cycle for one in event["goals"]}
    return [goal for goal in crew.memory.get(Goal, "source = 'invented'") if goal.id in ids]


async def invented(crew: "Team", model: "BaseChatModel") -> list[tuple[Goal, Goal]]:
    """New goals, as many of each area in force as their number allows."""
    areas = [area for area in crew.policy.areas if area.in_force and area.name in {goal.area for goal in crew.goals}]
    each = -(-crew.recipe.attack.fresh // max(len(areas), 1))
    known = [goal for goal in crew.memory.get(Goal) if goal.intent != "plain"]
    found = await asyncio.gather(*(
        invent(
            area.name, area.definition, each, [g.text for g in known if g.split == "train" and g.area == area.name],
            model, [g.text for g in known if g.split != "train"],
        )
        for area in areas
    ))  # fmt: skip
    return [pair for pairs in found for pair in pairs][: crew.recipe.attack.fresh]


def recorded(crew: "Team") -> None:
    """Puts the recipe's recorded conversations into the memory, as the first cycle's attempts."""
    for one in crew.recipe.recorded.conversations:
        store(crew, one.path, transcripts.read(one.path, one.format, 1, behaviours(crew.recipe)), 1)


def behaviours(recipe: Recipe) -> Path | None:
    """The file that says the area of JailbreakBench's requests, where the recipe has it."""
    folder = recipe.recorded.lookalikes
    return folder / "harmful-behaviors.csv" if folder else None


def store(crew: "Team", file: Path, imported: transcripts.Imported, cycle: int) -> tuple[int, list[str]]:
    """Puts conversations into the memory, their own flags as verdicts of a judge `flag:NAME`.

    Returns how many are new, whatever cycle the others were imported in, and why some were left out: those about a
    goal that is held out, which may not be trained on, and, in a sandbox run, those that its simulated agents could
    not read.
    """
    hidden = held_out(crew, imported.goals)
    refused = {goal.id: why for goal in imported.goals if (why := unfit(crew.recipe, goal, hidden))}
    known = {recording(attempt) for attempt in crew.memory.get(Attempt, "purpose = 'import' and cycle > 0")}
    new = [one for one in imported.attempts if one.goal not in refused and recording(one) not in known]
    verdicts = [
        Verdict(attempt=attempt.id, judge=f"flag:{name}", harmful=flag, refusal=None, understood=True)
        for attempt in new
        for name, flag in imported.flags.get(attempt.id, {}).items()
    ]
    crew.memory.add([*(goal for goal in imported.goals if goal.id not in refused), *new, *verdicts])
    left_out = [refused[attempt.goal] for attempt in imported.attempts if attempt.goal in refused]
    crew.memory.event(cycle, "import", "imported", file=file.name, conversations=len(new),
                      left_out=len(imported.malformed) + len(left_out))  # fmt: skip
    return len(new), left_out


def recording(attempt: Attempt) -> str:
    """Names a recording whatever cycle it was imported in."""
    return attempt.model_copy(update={"cycle": 0}).id


def held_out(crew: "Team", goals: Sequence[Goal]) -> set[str]:
    """The ids of those goals that say nearly what a goal of this run does that may not be trained on.

    In the sandbox, where all goals are worded alike, only the same words are the same goal.
    """
    hidden = [goal.text for goal in crew.memory.get(Goal, "split <> 'train'")]
    if crew.recipe.goals.source == "sandbox":
        known = {grams(text) for text in hidden}
        return {goal.id for goal in goals if grams(goal.text) in known}
    pairs = near([*hidden, *(goal.text for goal in goals)])
    return {goals[high - len(hidden)].id for low, high in map(sorted, pairs) if low < len(hidden) <= high}


def unfit(recipe: Recipe, goal: Goal, hidden: set[str]) -> str:
    """Why recordings about a goal cannot be part of a run; empty when they can."""
    if goal.id in hidden:
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


def inherited(crew: "Team") -> None:
    """Puts an older run's attacks and rows into the memory, as cycle 0: regressions to measure, rows to replay."""
    if crew.recipe.inherit is None:
        return
    inherited = crew.run / "inherited.sqlite"
    copied(crew.recipe.inherit / "memory.sqlite", inherited).close()
    old = Memory(inherited)
    goals = old.get(Goal, "split = 'train'")
    hidden = held_out(crew, goals)
    attacks = [a for a in old.get(Attempt, "purpose <> 'measure' and error = ''") if a.goal not in hidden]
    moved = {
        a.id: a.model_copy(update={"cycle": 0, "purpose": "import", "target": f"{a.target}@{a.cycle}"}) for a in attacks
    }
    crew.memory.add(goal for goal in goals if goal.id not in hidden)
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


def retained(recipe: Recipe, n: int, cycle: int, round: int) -> list[Example]:
    """`n` general rows that keep what the model could do; a different draw for each cycle and round."""
    seed = f"{recipe.seed}/{cycle}/{round}"
    return evenly(recipe, recipe.data.general, n, "retained", cycle, round,
                  lambda source, few: drawn(recipe, source, few, seed))  # fmt: skip


def preferences(recipe: Recipe, n: int, cycle: int, round: int) -> list[Example]:
    """`n` general pairs, what is chosen and what rejected; a different draw for each cycle and round."""
    seed = f"{recipe.seed}/{cycle}/{round}"
    return evenly(recipe, recipe.data.preferences, n, "preferred", cycle, round,
                  lambda source, few: general.load(source, few, seed, pairs=True))  # fmt: skip


def evenly(
    recipe: Recipe, listed: Sequence[str], n: int, use: str, cycle: int, round: int,
    load: Callable[[str, int], list[general.Row]],
) -> list[Example]:  # fmt: skip
    """`n` rows, as many of each source as of another."""
    found: list[Example] = []
    for place, source in enumerate(listed):
        few = (n + len(listed) - 1 - place) // len(listed)
        found += kept(recipe, source, load(source, few), use, cycle, round, len(found))
    return found


def drawn(recipe: Recipe, source: str, n: int, seed: str) -> list[general.Row]:
    """General rows of one source, without what they reject."""
    if source != "sandbox":
        return [row._replace(rejected="") for row in general.load(source, n, seed)]
    from tools.sandbox import world

    spoken = recipe.attack.languages
    rows = world.retained(seed, n, spoken)
    return [general.Row(*row, language=spoken[number % len(spoken)]) for number, row in enumerate(rows)]


def kept(
    recipe: Recipe, source: str, rows: Sequence[general.Row], use: str, cycle: int, round: int, before: int
) -> list[Example]:
    """General rows as examples, in the recipe's first language where they do not say.

    They are numbered on from those `before`: two sources may have one file name, and are then one by their writer.
    """
    writer, language = digest(use, Path(source).name), recipe.attack.languages[0]
    return [
        Example(kind="retain", prompt=row.prompt, chosen=row.chosen, rejected=row.rejected, cycle=cycle, round=round,
                language=row.language or language, writer=writer, number=number)
        for number, row in enumerate(rows, before)
    ]  # fmt: skip


def labelled(source: str, task: Task) -> list[Label]:
    """The labels of a file, or those that the sandbox's oracle gives. Raises ValueError, one line."""
    if source != "sandbox":
        return read_labels(Path(source))
    from tools.sandbox import anchors as sandbox

    return sandbox.labelled(task)


def right(goal: Goal, attempt: Attempt) -> bool:
    """Whether the answer to a plain request is right: the sandbox's oracle knows, elsewhere it must match exactly."""
    if goal.source == "sandbox":
        from tools.sandbox import oracle

        return oracle.right(goal.text, attempt.language, attempt.response)
    return attempt.response.strip() == goal.reference.strip()
