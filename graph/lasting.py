"""Does it last: the champion measured again after what becomes of models once they are out."""

from evals.benchmarks import REFUSALS, Change
from graph import measuring, sources
from graph.team import Team
from tools.records import BASE, Example, Score, StagePlan, digest
from training import stages
from training.checkpoints import Progress
from training.merging import merge

BANKS = (*REFUSALS, "iprr", "over_refusal", "capability")
"""What is measured again: what can be said again word for word."""
ROWS = 400
"""General rows that a user's own fine-tune is played with: none of them is about safety."""


def measure_lasting(crew: Team, champion: str, node: str, cycle: int) -> None:
    """Measures the champion after each of the changes that the recipe names; what comes of them is no candidate."""
    changes, why = crew.recipe.evals.lasting, unmeasured(crew, champion)
    for change in changes if not why else ():
        name = f"{champion}+{change}"
        if not crew.memory.get(Score, "adapter = ? and benchmark in ('harm', 'capability')", name):
            changed(crew, champion, change, node, cycle)
        measuring.measure(crew, name, node, cycle, only=BANKS)
    crew.memory.event(cycle, node, "lasting", measured=[] if why else list(changes), why=why)


def unmeasured(crew: Team, champion: str) -> str:
    """Why it cannot be said whether it lasts; empty where it can."""
    if not crew.recipe.evals.lasting:
        return "switched off: evals.lasting is empty"
    if champion == BASE:
        return "no candidate replaced the base"
    served = bool(crew.recipe.target.weights)
    return "" if served else "the target is an endpoint: what it serves cannot be merged or tuned from here"


def changed(crew: Team, champion: str, change: Change, node: str, cycle: int) -> None:
    """Makes the champion with its adapter merged in, from which eight bits and a fine-tune start, and tunes it."""
    folder = crew.run / "lasting" / f"{champion}+merged"
    crew.watch(node, 0, 0, f"the champion {change}")
    merge(crew.base, crew.folder(champion), folder)
    tuned = folder.with_name(f"{champion}+tuned")
    if change != "tuned" or tuned.exists():
        return
    rows, settings = general(crew), crew.recipe.training
    plan = StagePlan(
        stage="sft", base=str(folder.resolve()), cycle=cycle, examples=digest(sorted(row.id for row in rows)),
        rows=len(rows), epochs=1, rate=settings.sft.rate[1], rank=settings.rank, batch=settings.batch,
        length=settings.length, seed=crew.recipe.seed,
        why="What a user may do to it: a small fine-tune on general rows.",
    )  # fmt: skip
    alone = settings.model_copy(update={"within": 0})

    def progress(seen: Progress) -> None:
        crew.watch(node, seen.step, seen.steps, f"tuning the champion, loss {seen.loss:.3f}")

    with crew.resting():
        adapter = stages.run_stage(plan, rows, folder.parent, None, progress, alone)
    tuned.symlink_to(adapter.path)


def general(crew: Team) -> list[Example]:
    """General rows of a draw that no cycle uses, without those that say what the run teaches as a refusal."""
    taught = {row.chosen for row in crew.memory.get(Example, "kind = 'refuse'")}
    return [row for row in sources.retained(crew.recipe, ROWS, -1, 0) if row.chosen not in taught]
