"""The nodes: each asks the memory what is done already, does the rest, and returns what changed."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agents import trainer
from graph import (
    attacking,
    calibrating,
    curating,
    deciding,
    diagnosing,
    finishing,
    measuring,
    mixing,
    report,
    screening,
    sources,
    writing,
)
from graph.attacking import ATTACKS
from graph.state import START, Context, State
from graph.team import Team, team
from tools.campaign import campaign
from tools.records import BASE, Attempt, Example, Goal, Score, StagePlan
from training import dataset, stages
from training.checkpoints import Progress


def baseline(state: State, runtime: Runtime[Context]) -> State:
    """Puts goals, recorded conversations and an older run into the memory, and measures the model as it came."""
    crew = team(runtime.context["run"])
    crew.memory.event(0, "baseline", "began")
    crew.memory.add(crew.goals)
    sources.recorded(crew)
    sources.inherited(crew)
    calibrating.look(crew, "baseline", 0)
    measuring.measure(crew, BASE, "baseline", 0)
    return START


def curate(state: State, runtime: Runtime[Context]) -> State:
    """Makes rows of public safety sets, where the recipe has some: cycle 0, trained on by itself if it says so."""
    crew = team(runtime.context["run"])
    if crew.recipe.curate.sources:
        curating.curate(crew, state["round"], "; ".join(rejections(crew, 0, "data")))
    return {"cycle": 0, "broke": 0, "rejected": ""} if crew.recipe.curate.train else {}


def curated(state: State) -> str:
    return "attack" if state["cycle"] else "train"


def attack(state: State, runtime: Runtime[Context]) -> State:
    """Makes this cycle's attempts, in waves."""
    crew, cycle = team(runtime.context["run"]), state["cycle"]
    if crew.recipe.agents.attacker:
        attacking.attack(crew, state["champion"], cycle)
    return {}


def judge(state: State, runtime: Runtime[Context]) -> State:
    """Has every judge that labels look at every attempt of the cycle, and every judge at the anchors."""
    crew = team(runtime.context["run"])
    measuring.judge(crew, ATTACKS, [state["cycle"]], crew.labelling, "judge", state["cycle"])
    calibrating.look(crew, "judge", state["cycle"])
    return {}


def diagnose(state: State, runtime: Runtime[Context]) -> State:
    """Names the vulnerabilities: harm area x way x language, and clusters of failures, the worst first."""
    crew, cycle = team(runtime.context["run"]), state["cycle"]
    found = diagnosing.vulnerabilities(crew, cycle)
    crew.memory.event(cycle, "diagnose", "vulnerabilities", **found)
    return {"attempts": found["attempts"], "broke": found["failures"]}


def decide(state: State, runtime: Runtime[Context]) -> State:
    """Whether another cycle would pay."""
    crew, cycle = team(runtime.context["run"]), state["cycle"]
    why = deciding.stop(crew, state["champion"], cycle)
    report.write(crew)
    return {"stopped": why}


def go_on(state: State) -> str:
    return "stop" if state["stopped"] else "go on"


def write(state: State, runtime: Runtime[Context]) -> State:
    """Writes the rows that answer this cycle's failures, and general rows to keep what the model could do."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["round"]
    failures = crew.memory.labels(list(crew.labels_by), ATTACKS, cycle)
    broke = {row["id"] for row in failures if row["harmful"]}
    answered = crew.memory.query("select distinct attempt from examples where cycle = ? and round = ?", cycle, round)
    todo = [a for a in crew.memory.get(Attempt, ATTACKS, cycle) if a.id in broke - {r["attempt"] for r in answered}]
    worst = measuring.worst(crew)
    goals = {goal.id: goal for goal in crew.memory.get(Goal)}
    answer = writing.answering(crew, state["champion"], cycle, round, "; ".join(rejections(crew, cycle, "data")))
    finished = len(broke) - len(todo)

    async def work(failure: Attempt) -> list[Example]:
        return await answer(failure.up_to(worst.get(failure.id)), goals[failure.goal])

    def keep(batch: Sequence[list[Example]]) -> None:
        nonlocal finished
        crew.memory.add(row for rows in batch for row in rows)
        finished += len(batch)
        crew.watch("write", finished, len(broke), "failures answered")

    try:
        campaign(todo, work, keep, crew.recipe.agents.writer.concurrency)
    finally:
        crew.put_down("write", cycle)
    writing.beside(crew, len(broke), cycle, round)
    screening.screen(crew, cycle, round)
    return {"rows": len(mixing.pool(crew, cycle, round))}


def rejections(crew: Team, cycle: int, at: str) -> list[str]:
    """Why a gate said no in this cycle, once for each time."""
    return [e["why"] for e in crew.memory.events("gate", cycle) if e["gate"] == at and not e["approved"]]


def data_gate(state: State, runtime: Runtime[Context]) -> State:
    """Where a person may look at the rows before they are trained on."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["round"]
    kinds = Counter(row.kind for row in mixing.pool(crew, cycle, round))
    contaminated = screening.counted(crew, cycle, round)
    why = asked(crew, cycle, "data", round, rows=dict(kinds), contaminated=contaminated.get("sources", {}))
    if why is not None:
        return {"rejected": why, "round": round + 1}
    written = crew.memory.query(
        "select kind, count(*) as n from examples where cycle = ? and round = ? group by kind order by kind",
        cycle,
        round,
    )
    answered = crew.memory.query(
        "select count(distinct attempt) as n from examples where cycle = ? and round = ?", cycle, round
    )
    crew.memory.event(
        cycle, "data_gate", "rows", round=round, kinds=dict(kinds), written={row["kind"]: row["n"] for row in written},
        unanswered=state["broke"] - answered[0]["n"], contaminated=contaminated,
        foreign=sum(map(dataset.foreign, crew.memory.get(Example, "cycle = ? and round = ?", cycle, round))),
    )  # fmt: skip
    return {"rejected": ""}


def plan(state: State, runtime: Runtime[Context]) -> State:
    """Has the trainer propose this cycle's stages; a proposal once made is kept."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["plan_round"]
    plans = crew.memory.get(StagePlan, "cycle = ? and round = ?", cycle, round)
    if not plans:
        plans = asyncio.run(proposed(crew, state))
        crew.memory.add(plans)
        crew.put_down("plan", cycle)
    return {"plans": [one.id for one in plans]}


async def proposed(crew: Team, state: State) -> list[StagePlan]:
    settings, cycle = crew.recipe.training, state["cycle"]
    rows = mixing.stage_rows(crew, cycle, state["round"])
    scores = crew.memory.get(Score, "adapter in (?, ?) and part = ''", BASE, state["champion"])
    feedback = "; ".join(rejections(crew, cycle, "train"))
    bounds = {"sft": settings.sft, "dpo": settings.dpo}
    proposal = await trainer.propose(crew.trainer, rows, scores, bounds, feedback)
    common = StagePlan(
        stage="sft", base=str(crew.base), cycle=cycle, round=state["plan_round"], examples="", rows=0, epochs=1, rate=1,
        rank=settings.rank, beta=settings.dpo.beta, sft_weight=settings.dpo.sft_weight,
        batch=settings.batch, length=settings.length, seed=crew.recipe.seed, method=settings.method,
        parent=state["champion"] if settings.start == "champion" else BASE,
    )  # fmt: skip
    return trainer.plans(proposal, rows, common, settings.planned())


def train_gate(state: State, runtime: Runtime[Context]) -> State:
    """Where a person may look at the stages before they are run."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["plan_round"]
    plans = [crew.memory.get(StagePlan, "id = ?", one)[0] for one in state["plans"]]
    why = asked(crew, cycle, "train", round, stages=[one.model_dump(mode="json") for one in plans])
    return {"rejected": "", "plan_round": round} if why is None else {"rejected": why, "plan_round": round + 1}


def asked(crew: Team, cycle: int, at: str, round: int, **shown: Any) -> str | None:
    """Stops at a gate that the recipe has, and returns why the answer was no; None for a yes, or for no gate."""
    if at not in crew.recipe.gates:
        return None
    given = [e for e in crew.memory.events("gate", cycle) if (e["gate"], e["round"]) == (at, round)]
    answer: dict[str, Any] = given[0] if given else interrupt({"gate": at, "cycle": cycle, "round": round, **shown})
    if not given:
        crew.memory.event(cycle, f"{at}_gate", "gate", gate=at, round=round, **answer)
    return None if answer["approved"] else answer["why"] or "rejected without a reason"


def approved(state: State) -> str:
    return "no" if state["rejected"] else "yes"


def reviewed(state: State) -> str:
    """Who makes the rows anew that were rejected."""
    return "yes" if approved(state) == "yes" else "write" if state["cycle"] else "curate"


def train(state: State, runtime: Runtime[Context]) -> State:
    """Runs the planned stages, each in a process of its own; what is done already is not run again."""
    crew, cycle = team(runtime.context["run"]), state["cycle"]
    rows, candidates = mixing.stage_rows(crew, cycle, state["round"]), list[str]()
    for number, one in enumerate(state["plans"]):
        planned = crew.memory.get(StagePlan, "id = ?", one)[0]

        def progress(seen: Progress, planned: StagePlan = planned) -> None:
            crew.watch("train", seen.step, seen.steps, f"{planned.stage} loss {seen.loss:.3f}")

        crew.watch("train", number, len(state["plans"]), f"starting {planned.stage}")
        folder = None if planned.parent == BASE else crew.folder(planned.parent)
        with crew.resting():
            adapter = stages.run_stage(planned, rows[planned.stage], crew.run, folder, progress, crew.recipe.training)
        made = stages.competing(adapter, crew.run)
        crew.memory.add(made)
        candidates += [one.id for one in made]
        known = {event["adapter"] for event in crew.memory.events("stage_ended", cycle)}
        if adapter.id not in known and (why := stages.why(adapter, crew.run)):
            crew.memory.event(cycle, "train", "stage_ended", adapter=adapter.id, stage=adapter.stage, why=why)
    return {"candidates": candidates}


def measure(state: State, runtime: Runtime[Context]) -> State:
    """Measures every candidate on the items that the base and the champion were measured on."""
    crew = team(runtime.context["run"])
    measuring.replayed(crew, (BASE, state["champion"]), "measure", state["cycle"])
    for candidate in state["candidates"]:
        measuring.measure(crew, candidate, "measure", state["cycle"])
    return {}


def promote_gate(state: State, runtime: Runtime[Context]) -> State:
    """Compares the candidates with the champion; where the recipe has the gate, a person has the last word."""
    crew, cycle, champion = team(runtime.context["run"]), state["cycle"], state["champion"]
    choice = deciding.choose(crew, champion, state["candidates"], cycle)
    rejected = None
    if choice.champion != champion:
        scores = crew.memory.get(Score, "adapter in (?, ?) and part = ''", champion, choice.champion)
        shown = [f"{s.benchmark} of {s.adapter}: {s.value:.1%} [{s.low:.1%}, {s.high:.1%}], n {s.n}" for s in scores]
        rejected = asked(
            crew, cycle, "promote", 0, champion=champion, candidate=choice.champion, why=choice.why, scores=shown
        )
    chosen = champion if rejected else choice.champion
    why = f"{choice.why}; rejected by a person: {rejected}" if rejected else choice.why
    deciding.keep(crew, choice, champion, chosen, why, cycle)
    return {"chosen": chosen}


def promote(state: State, runtime: Runtime[Context]) -> State:
    """Makes the chosen adapter champion and begins the next cycle."""
    report.write(team(runtime.context["run"]))
    return {"champion": state["chosen"], "cycle": state["cycle"] + 1, "round": 0, "plan_round": 0, "rejected": "",
            "plans": [], "candidates": []}  # fmt: skip


def finish(state: State, runtime: Runtime[Context]) -> State:
    """Measures, once, what is left for the end, the final goals among it, and writes the report."""
    crew = team(runtime.context["run"])
    finishing.measure(crew, state["champion"], "report", state["cycle"])
    crew.memory.event(state["cycle"], "report", "finished", champion=state["champion"], why=state["stopped"])
    report.write(crew)
    return {}


NODES = {
    "baseline": baseline, "curate": curate, "attack": attack, "judge": judge, "diagnose": diagnose, "decide": decide,
    "write": write, "data_gate": data_gate, "plan": plan, "train_gate": train_gate, "train": train, "measure": measure,
    "promote_gate": promote_gate, "promote": promote, "report": finish,
}  # fmt: skip
