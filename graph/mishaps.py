"""What went wrong on the way, and what was made of it: told as it happens, and in the report."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from evals.diagnosis import Count, total
from graph import kept, logs
from graph.team import Team, team
from tools.endpoints import patient
from tools.memory import ATTACKS

SILENT, LEAST, TIMES = 0.3, 10, 3.0
"""A judge has fallen silent that leaves this share of a cycle's attempts undetermined, of so many at least, and so many
times the share of the cycles before."""

NONE = (0, 0)


@contextmanager
def minded(run: Path) -> Iterator[None]:
    """Has a run go on from its last good state, and wait for endpoints as long as its recipe says."""
    from graph.soundness import mended

    crew = team(str(run))
    for what in mended(run, crew.watch):
        logs.LOG.warning("files were damaged", extra={"told": {"what": what}})
    with patient(crew.recipe.patience * 3600, partial(waited, crew)):
        yield


def silent(crew: Team, cycle: int) -> None:
    """Says so, once in a cycle, where a judge leaves far more undetermined than it did: it may have begun to refuse."""
    known = {event["judge"] for event in crew.memory.events("silent", cycle)}
    counts = kept.each(crew, undetermined)
    for name, role in crew.labels_by.items():
        now = counts.get(cycle, {}).get(name, NONE)
        before = total(some.get(name, NONE) for when, some in counts.items() if when < cycle)
        if name not in known and is_silent(now, before):
            said = {"undetermined": "{} of {}".format(*now), "before": "{} of {}".format(*before)}
            crew.memory.event(cycle, "judge", "silent", judge=name, role=role, **said)
            crew.watch("judge", now[1], now[1], f"verdicts: {role} left {now[0]} of {now[1]} undetermined; see to it")


def undetermined(crew: Team, cycle: int) -> dict[str, Count]:
    """How many of each judge's verdicts on the attacks of a cycle are none, and how many there are."""
    sql = f"""select judge, count(*) - count(harmful) as none, count(*) as n from verdicts
        where at in (select number from attempts where {ATTACKS}) group by judge"""
    return {row["judge"]: (row["none"], row["n"]) for row in crew.memory.query(sql, cycle)}


def is_silent(now: tuple[int, int], before: tuple[int, int]) -> bool:
    share, past = (none / n if n else 0.0 for none, n in (now, before))
    return now[1] >= LEAST and share >= SILENT and share >= TIMES * past


def replaced(crew: Team) -> Iterator[str]:
    """A sentence for every judge of the recipe that has judged nothing where others have.

    A judge is named by all that its verdicts depend on: with a policy that was worded anew it is another.
    """
    known: dict[str, set[str]] = {}
    for row in crew.memory.query(
        """select distinct purpose, judge from verdicts join attempts on attempts.number = at
        where judge not like 'human:%' and judge not like 'flag:%'"""
    ):
        known.setdefault(row["purpose"], set()).add(row["judge"])
    sitting = [("attack", *one) for one in crew.labels_by.items()]
    for purpose, name, role in [*sitting, ("measure", crew.measures_by, "measuring_judge")]:
        if name not in known.get(purpose, {name}):
            yield REPLACED.format(role=role.replace("_", " "), what=WHAT[purpose])


def waited(crew: Team, name: str, lasted: float, most: float, why: str) -> None:
    """Tells whoever watches of a wait for an endpoint, and the memory when it is over."""
    if why:
        crew.watch("waiting", round(lasted), round(most), f"seconds for {name}: {why}")
    else:
        crew.memory.event(0, "", "waited", endpoint=name, minutes=round(lasted / 60, 1))


def told(crew: Team, cycle: int | None = None) -> Iterator[str]:
    """A sentence for everything of the kind that happened in a run, or in a cycle of it."""
    for kind, sentence in SENTENCES.items():
        for event in crew.memory.events(kind, cycle):
            stage, what = str(event.get("stage", "")).upper(), "; ".join(event.get("what", ()))
            yield sentence.format_map(event | {"stage": stage, "what": what})


WHAT = {"attack": "attack", "measure": "measured answer"}
REPLACED = (
    "the {role} has judged no {what}, and others have: its model, prompt, settings or policy are not those that this "
    "run was judged by, so that those numbers are not here; or it was not its turn yet."
)
SENTENCES = {
    "stage_ended": "The {stage} stage of cycle {cycle} ended early: {why}.",
    "crowded": "The card had too little memory in the {stage} stage of cycle {cycle}: {at_once} rows at once in place "
    "of {wanted}, and as much more often; a step has the same rows.",
    "discarded": "The {stage} stage of cycle {cycle} made no candidate: {why}.",
    "silent": "**The {role} left {undetermined} attacks of cycle {cycle} undetermined**, and {before} before that: it "
    "may have begun to refuse. What it did not judge is in no rate, and was not trained on.",
    "waited": "{endpoint} gave no answer to anybody for {minutes} minutes, and was waited for.",
    "mended": "Files of this run were damaged: {what}.",
}
