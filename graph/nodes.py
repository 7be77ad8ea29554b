"""The nodes: each asks the memory what is done already, does the rest, and returns what changed."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from langgraph.runtime import Runtime

from graph import (
    attacking,
    budgets,
    calibrating,
    candidates,
    costs,
    curating,
    deciding,
    diagnosing,
    edits,
    finishing,
    gates,
    measuring,
    mishaps,
    mixing,
    planning,
    report,
    screening,
    sources,
    writing,
)
from graph.gates import Place
from graph.state import START, Context, State
from graph.team import Team, team
from tools.campaign import campaign
from tools.memory import ATTACKS
from tools.records import BASE, Attempt, Example, Goal, Score, StagePlan
from training import dataset

NO_REASON = "rejected without a reason"


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
    if crew.recipe.curate.sources and not budgets.reached(crew, "curate", 0):
        curating.curate(crew, state["round"], "; ".join(gates.rejections(crew.memory, 0, "data")))
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
    mishaps.silent(crew, state["cycle"])
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
    report.keep(crew, now=bool(why))
    return {"stopped": why}


def go_on(state: State) -> str:
    return "stop" if state["stopped"] else "go on"


def stop_gate(state: State, runtime: Runtime[Context]) -> State:
    """Where a person may have a run go on that would end."""
    crew, cycle = team(runtime.context["run"]), state["cycle"]
    said = gates.asked(crew, Place("stop", cycle, 0), why=state["stopped"], champion=state["champion"])
    if said is None or said.approved or said.end:
        return {}
    last = crew.memory.by_cycle("decision")[cycle]
    if last["stop"]:
        why = f"{said.who or 'somebody'} has it go on ({said.why or NO_REASON}), though: {state['stopped']}"
        numbers = {name: value for name, value in last.items() if name not in ("at", "cycle", "stop", "why", "despite")}
        crew.memory.event(cycle, "stop_gate", "decision", stop=False, why=why, despite=state["stopped"], **numbers)
    return {"stopped": ""}


def write(state: State, runtime: Runtime[Context]) -> State:
    """Writes the rows that answer this cycle's failures, and general rows to keep what the model could do."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["round"]
    broke = broken(crew, cycle)
    lacking = broke - answered(crew, cycle, round)
    todo = [attempt for attempt in crew.memory.get(Attempt, ATTACKS, cycle) if attempt.id in lacking]
    worst = measuring.worst(crew, cycle)
    goals = {goal.id: goal for goal in crew.memory.get(Goal)}
    feedback = "; ".join(gates.rejections(crew.memory, cycle, "data"))
    answer = writing.answering(crew, state["champion"], cycle, round, feedback)
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
    return {}


def broken(crew: Team, cycle: int) -> set[str]:
    """The attacks of a cycle that broke the target."""
    return crew.memory.broken(list(crew.labels_by), ATTACKS, cycle)


def answered(crew: Team, cycle: int, round: int) -> set[str]:
    """The failures for which rows were written in a round."""
    rows = crew.memory.query("select distinct attempt from examples where cycle = ? and round = ?", cycle, round)
    return {row["attempt"] for row in rows}


def data_gate(state: State, runtime: Runtime[Context]) -> State:
    """Where a person may look at the rows before they are trained on."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["round"]
    if spent := budgets.reached(crew, "data_gate", cycle):
        return {"stopped": spent}
    until = crew.memory.newest("verdicts")
    rows = mixing.staged(crew, cycle, round, until)
    contaminated = screening.counted(crew, cycle, round)
    place = Place("data", cycle, round, state.get("look", 0))
    kinds = Counter(row.kind for row in rows["sft"])
    said = gates.asked(crew, place, rows=dict(kinds), contaminated=contaminated.get("sources", {}))
    more = edits.settle(crew, place) - answered(crew, cycle, round)
    if over := gates.ending(said, "data"):
        return {"stopped": over}
    if said and not said.approved:
        return {"rejected": said.why or NO_REASON, "round": round + 1, "look": 0}
    if more:
        return {"rejected": f"verdicts were changed: {len(more)} more failures to answer", "look": place.look + 1}
    if said:  # whoever looked at the rows may have changed some
        until = crew.memory.newest("verdicts")
        rows = mixing.staged(crew, cycle, round, until)
    kinds = Counter(row.kind for row in rows["sft"])
    written = crew.memory.query(
        "select kind, count(*) as n from examples where cycle = ? and round = ? group by kind order by kind",
        cycle,
        round,
    )
    crew.memory.event(
        cycle, "data_gate", "rows", round=round, verdicts=until, kinds=dict(kinds),
        written={row["kind"]: row["n"] for row in written},
        unanswered=len(broken(crew, cycle) - answered(crew, cycle, round)), contaminated=contaminated,
        foreign=sum(map(dataset.foreign, crew.memory.get(Example, "cycle = ? and round = ?", cycle, round))),
    )  # fmt: skip
    crew.approved = (cycle, round), rows
    return {"rejected": ""}


def plan(state: State, runtime: Runtime[Context]) -> State:
    """Has the trainer propose this cycle's stages; a proposal once made is kept."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["plan_round"]
    plans = crew.memory.get(StagePlan, "cycle = ? and round = ?", cycle, round)
    if not plans:
        plans = asyncio.run(planning.proposed(crew, state))
        crew.memory.add(plans)
        crew.put_down("plan", cycle)
    return {"plans": [one.id for one in plans]}


def train_gate(state: State, runtime: Runtime[Context]) -> State:
    """Where a person may look at the stages before they are run."""
    crew, cycle, round = team(runtime.context["run"]), state["cycle"], state["plan_round"]
    if spent := budgets.reached(crew, "train_gate", cycle):
        return {"stopped": spent}
    plans = [crew.memory.get(StagePlan, "id = ?", one)[0] for one in state["plans"]]
    place = Place("train", cycle, round)
    takes = {one.stage: costs.told(crew.memory, one) for one in plans}
    said = gates.asked(crew, place, stages=[one.model_dump(mode="json") for one in plans], takes=takes)
    if over := gates.ending(said, "train"):
        return {"stopped": over}
    if said and not said.approved:
        return {"rejected": said.why or NO_REASON, "plan_round": round + 1}
    if wanted := edits.numbers(crew, place):
        plans = planning.changed(crew, state, plans, wanted, said.who if said else "")
        crew.memory.add(plans)
    return {"rejected": "", "plans": [one.id for one in plans]}


def approved(state: State) -> str:
    return "stop" if state["stopped"] else "no" if state["rejected"] else "yes"


def reviewed(state: State) -> str:
    """Who makes the rows anew that were rejected."""
    again = "write" if state["cycle"] else "curate"
    return {"no": again}.get(approved(state), approved(state))


def train(state: State, runtime: Runtime[Context]) -> State:
    """Runs the planned stages, each in a process of its own; what is done already is not run again."""
    return {"candidates": candidates.trained(team(runtime.context["run"]), state)}


def measure(state: State, runtime: Runtime[Context]) -> State:
    """Measures every candidate on the items that the base and the champion were measured on.

    No budget ends that: a candidate that is not measured would have been trained for nothing.
    """
    crew = team(runtime.context["run"])
    measuring.replayed(crew, (BASE, state["champion"]), "measure", state["cycle"])
    for candidate in state["candidates"]:
        measuring.measure(crew, candidate, "measure", state["cycle"])
    return {}


def promote_gate(state: State, runtime: Runtime[Context]) -> State:
    """Compares the candidates with the champion; where the recipe has the gate, a person has the last word."""
    crew, cycle, champion = team(runtime.context["run"]), state["cycle"], state["champion"]
    choice, said = deciding.choose(crew, champion, state["candidates"], cycle), None
    if choice.champion != champion:
        scores = crew.memory.get(Score, "adapter in (?, ?) and part = ''", champion, choice.champion)
        shown = [f"{s.benchmark} of {s.adapter}: {s.value:.1%} [{s.low:.1%}, {s.high:.1%}], n {s.n}" for s in scores]
        said = gates.asked(crew, Place("promote", cycle, 0), champion=champion, candidate=choice.champion,
                           why=choice.why, scores=shown)  # fmt: skip
    rejected = said is not None and not said.approved
    chosen = champion if rejected else choice.champion
    why = f"{choice.why}; rejected by a person: {said.why or NO_REASON}" if said and rejected else choice.why
    deciding.keep(crew, choice, champion, chosen, why, cycle)
    return {"chosen": chosen, "stopped": gates.ending(said, "promote")}


def promote(state: State, runtime: Runtime[Context]) -> State:
    """Makes the chosen adapter champion and begins the next cycle, if a budget is left for one."""
    crew = team(runtime.context["run"])
    stopped = state["stopped"] or budgets.reached(crew, "promote", state["cycle"])
    report.keep(crew, now=state["chosen"] != state["champion"])
    return {
        "champion": state["chosen"], "stopped": stopped, "cycle": state["cycle"] + 1, "round": 0, "plan_round": 0,
        "look": 0, "rejected": "", "plans": [], "candidates": [],
    }  # fmt: skip


def finish(state: State, runtime: Runtime[Context]) -> State:
    """Measures, once, what is left for the end, the final goals among it, and writes the report."""
    crew = team(runtime.context["run"])
    finishing.measure(crew, state["champion"], "report", state["cycle"])
    crew.memory.event(state["cycle"], "report", "finished", champion=state["champion"], why=state["stopped"])
    report.write(crew)
    return {}


NODES = {
    "baseline": baseline, "curate": curate, "attack": attack, "judge": judge, "diagnose": diagnose, "decide": decide,
    "stop_gate": stop_gate, "write": write, "data_gate": data_gate, "plan": plan, "train_gate": train_gate,
    "train": train, "measure": measure, "promote_gate": promote_gate, "promote": promote, "report": finish,
}  # fmt: skip
