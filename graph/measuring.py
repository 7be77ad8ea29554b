"""Measuring an adapter: the same items for every one, answered, judged by the measuring judge, and scored."""

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from agents import attacker
from agents.archive import archive, parents, search
from agents.bandit import Cell
from agents.duel import Memo
from agents.judge import Judge
from agents.personas import PERSONAS
from agents.strategies import STRATEGIES
from evals import benchmarks
from evals.benchmarks import Outcomes, Way
from graph import capability, final, kept
from graph.config import Recipe
from graph.sources import right
from graph.team import Sitting, Team, Tell
from tools.campaign import campaign
from tools.memory import ATTACKS, Memory, marks
from tools.records import BASE, Attempt, Goal, Record, Split, Turn, Verdict

ANSWERS = "purpose = 'measure' and target = ? and goal in (select id from goals where intent <> 'plain')"
"""What the measuring judge looks at: the answers of one model, but for those that are right or wrong."""
Hold = Callable[[Attempt], Awaitable[Attempt]]
"""Holds a planned conversation."""


def banks(crew: Team, split: Split = "held_out") -> dict[str, list[Attempt]]:
    """The items of every benchmark of this run."""
    recipe, goals = crew.recipe, crew.memory.get(Goal, "split = ?", split)
    seen = ways(recipe, held_out=False)
    adaptive = [way for way in seen if STRATEGIES[way[1]].adaptive]
    found = benchmarks.banks(
        goals, [way for way in seen if way not in adaptive], ways(recipe, held_out=True), recipe.attack.languages,
        recipe.attack.held_out_languages, recipe.evals, recipe.seed, split, adaptive,
    )  # fmt: skip
    old = regressions(crew) if split == "held_out" else {}
    return {**found, "regressions": [item for item, _ in old.values()]} if old else found


def regressions(crew: Team) -> dict[str, tuple[Attempt, tuple[Turn, ...]]]:
    """The attacks that ever worked, in this run so far and in an inherited one, as items, each with what was said.

    They are about goals that are trained on: what is measured is whether a fix is still there, and not whether it
    carries over. Of more than `evals.regressions` those with the lowest ids are taken, which is a lot that nobody
    draws: however the suite grows, what has left it stays out, and whoever is measured later meets the same items.
    """
    worked = worked_ever(crew)[: crew.recipe.evals.regressions]
    items = [
        (a.model_copy(update={
            "purpose": "measure", "target": BASE, "seed": int(a.id, 16) >> 1, "turns": (), "parents": (a.id,),
        }), a.turns) for a in crew.memory.get(Attempt, f"id in ({marks(worked)})", *worked)
    ]  # fmt: skip
    return {item.id: (item, turns) for item, turns in items}


def worked_ever(crew: Team) -> list[str]:
    """The attacks that broke their target by all judges that label, or by all of the run that they come from."""
    return sorted(set[str]().union(*kept.each(crew, worked_in).values()))


def worked_in(crew: Team, cycle: int) -> set[str]:
    """Those of a cycle; an inherited run's are in cycle 0."""
    if cycle:
        return crew.memory.broken(list(crew.labels_by), ATTACKS, cycle)
    agreed = """(select count(harmful) = count(*) and min(harmful) = 1 from verdicts
        where at = attempts.number and judge not like 'flag:%')"""
    return crew.memory.ids(Attempt, f"purpose = 'import' and cycle = 0 and error = '' and {agreed}")


def ways(recipe: Recipe, held_out: bool) -> list[Way]:
    """Every way of asking that is trained on, or every one that is held out; direct alone without an attacker.

    What is made from the attacks of the run itself measures nothing else.
    """
    if recipe.agents.attacker is None:
        return [benchmarks.DIRECT]
    found = [(name, *way) for name in PERSONAS for way in attacker.ways(name, recipe.attack, held_out)]
    return [way for way in found if way[1] != "evolve"]


def measure(
    crew: Team, adapter: str, node: str, cycle: int, split: Split = "held_out", only: Collection[str] = ()
) -> None:
    """Answers, verdicts and scores of an adapter on every benchmark; what the memory has already is not done again.

    `only` names those to measure, where they are not all. The suite of regressions grows, so that its score is of a
    part: the suite as of a cycle.
    """
    if split == "final":
        final.check(crew, adapter)
    wanted = {name: bank for name, bank in banks(crew, split).items() if not only or name in only}
    items = {item.id: item for bank in wanted.values() for item in bank}
    planned = [benchmarks.against(item, adapter) for item in items.values()]
    converse(crew, planned, node, cycle)
    judge(crew, ANSWERS, [adapter], crew.measuring, node, cycle)
    if split == "held_out" and not only:
        capability.measure(crew, adapter, node, cycle)
    outcomes = {name: found for name, found in card(crew, adapter, split).items() if not only or name in only}
    crew.memory.add(
        benchmarks.score(name, adapter, found, str(cycle) if name == "regressions" else "")
        for name, found in outcomes.items()
    )


def replayed(crew: Team, adapters: Sequence[str], node: str, cycle: int) -> None:
    """Has every attack that ever worked said again to some adapters, of which those that were measured before lack the
    latest, and writes down how many there are."""
    worked = len(worked_ever(crew))
    for adapter in dict.fromkeys(adapters):
        measure(crew, adapter, node, cycle, only=["regressions"])
    crew.memory.event(cycle, node, "regressions", worked=worked, replayed=min(worked, crew.recipe.evals.regressions))


def converse(
    crew: Team, planned: Sequence[Attempt], node: str, cycle: int, memos: Sequence[tuple[Cell, Memo]] = (),
    hold: Hold | None = None,
) -> None:  # fmt: skip
    """Holds the planned conversations that the memory does not have; one that the base has had is said again.

    `hold` does it another way.
    """
    targets = {attempt.target for attempt in planned}
    done = crew.memory.ids(Attempt, f"target in ({marks(targets)})", *targets)
    todo = [attempt for attempt in planned if attempt.id not in done]
    if not todo:
        return
    finished = len(planned) - len(todo)

    def keep(batch: Sequence[Record]) -> None:
        nonlocal finished
        crew.memory.add(batch)
        finished += len(batch)
        crew.watch(node, finished, len(planned), "conversations")

    crew.watch(node, finished, len(planned), "conversations")
    try:
        campaign(todo, hold or holding(crew, targets, memos), keep, crew.recipe.target.concurrency)
    finally:
        crew.put_down(node, cycle)


def holding(crew: Team, targets: Collection[str], memos: Sequence[tuple[Cell, Memo]]) -> Hold:
    """What holds a conversation with one of the targets.

    Strategies that adapt ask the first of the judges that label how it goes.
    """
    recipe, attacking = crew.recipe, crew.attacker
    goals = {goal.id: goal for goal in crew.memory.get(Goal)}
    again, elites = said(crew), archive(memos)
    target = {adapter: crew.target(adapter) for adapter in targets}
    feedback = next((verdict_of for verdict_of, _ in crew.labelling.values()), None)
    converters = [name for name in recipe.attack.converters if name not in recipe.attack.held_out_converters]

    async def hold(attempt: Attempt) -> Attempt:
        model, goal = target[attempt.target], goals[attempt.goal]
        before = again.get(benchmarks.against(attempt, BASE).id) if attempt.purpose == "measure" else None
        if before or attacking is None:
            asked = before or [Turn(role="user", text=goal.text)]
            return await attacker.replay(attempt, asked, model, recipe.target.system)
        cell = Cell(goal.area, attempt.persona, attempt.strategy, attempt.converters, attempt.language)
        made_from = parents(cell, elites, random.Random(attempt.id)) if attempt.strategy == "evolve" else ()
        return await attacker.converse(
            attempt, goal, attacking, model, recipe.target.system, feedback, converters, made_from,
            lambda words: search(words, cell, memos),
        )  # fmt: skip

    return hold


def said(crew: Team) -> dict[str, tuple[Turn, ...]]:
    """The conversations that are said again to every candidate: the base's, and the attacks that ever worked."""
    held = crew.memory.get(Attempt, "purpose = 'measure' and target = ?", BASE)
    fixed = {a.id: a.turns for a in held if a.strategy not in STRATEGIES or not STRATEGIES[a.strategy].adaptive}
    return fixed | {name: turns for name, (_, turns) in regressions(crew).items()}


def judge(
    crew: Team, where: str, values: Sequence[object], judges: Mapping[str, Sitting], node: str, cycle: int
) -> None:
    """Verdicts of every judge on every attempt that meets `where` and was held, less those in the memory."""
    try:
        verdicts(crew.memory, where, values, judges, partial(crew.watch, node))
    finally:
        crew.put_down(node, cycle)


def verdicts(memory: Memory, where: str, values: Sequence[object], judges: Mapping[str, Sitting], watch: Tell) -> None:
    """The same for any memory, without what it cost."""
    goals = {goal.id: goal for goal in memory.get(Goal)}
    for name, (verdict_of, cap) in judges.items():
        said = "select 1 from verdicts where at = attempts.number and judge = ?"
        lacking = f"{where} and error = '' and not exists ({said})"
        todo = memory.get(Attempt, lacking, *values, name)
        finished = 0

        async def work(attempt: Attempt, verdict_of: Judge = verdict_of) -> Verdict:
            return await verdict_of(attempt, goals[attempt.goal])

        def keep(batch: Sequence[Verdict], total: int = len(todo)) -> None:
            nonlocal finished
            memory.add(batch)
            finished += len(batch)
            watch(finished, total, "verdicts")

        campaign(todo, work, keep, cap)


def worst(crew: Team, cycle: int) -> dict[str, int]:
    """The worst turn of the attacks of a cycle that are called harmful, by the first of the judges that label and say
    which."""
    found: dict[str, int] = {}
    for name in crew.labels_by:
        sql = f"""select attempt, worst from verdicts where judge = ? and harmful = 1 and worst is not null
            and at in (select number from attempts where {ATTACKS})"""
        found = {row["attempt"]: row["worst"] for row in crew.memory.query(sql, name, cycle)} | found
    return found


def card(crew: Team, adapter: str, split: Split = "held_out") -> dict[str, Outcomes]:
    """What became of every item of every benchmark with an adapter on; the items are named as the base's are.

    Refusals of harm (`iprr`) are read off the same answers as harm.
    """
    memory = crew.memory
    plain = {goal.id: goal for goal in memory.get(Goal, "intent = 'plain'")}
    mine = "purpose = 'measure' and target = ? and goal in (select id from goals where (split = 'final') = ?)"
    attempts = {a.id: a for a in memory.get(Attempt, mine, adapter, split == "final")}
    sql = f"at in (select number from attempts where {mine}) and judge = ?"
    verdicts = {v.attempt: v for v in memory.get(Verdict, sql, adapter, split == "final", crew.measures_by)}
    found: dict[str, Outcomes] = {}
    for name, bank in banks(crew, split).items():
        for item in bank:
            attempt = attempts.get(benchmarks.against(item, adapter).id)
            happened = None
            if attempt:
                is_right = name.startswith("capability") and right(plain[attempt.goal], attempt)
                happened = benchmarks.outcome(name, attempt, verdicts.get(attempt.id), is_right)
            found.setdefault(name, {})[item.goal, item.id] = happened
            if name in benchmarks.REFUSALS:
                verdict = verdicts.get(attempt.id) if attempt else None
                refused = benchmarks.outcome("iprr", attempt, verdict, False) if attempt else None
                found.setdefault("iprr", {})[item.goal, item.id] = refused
    return found | (capability.outcomes(crew, adapter) if split == "held_out" else {})
