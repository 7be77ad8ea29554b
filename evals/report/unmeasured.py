"""What a run did not measure. A reader believes what is not said to be missing."""

from collections.abc import Collection, Sequence

from evals.report.board import BENCHMARKS, Board, lasting
from tools.memory import PEOPLE, Memory
from tools.records import BASE

ALWAYS = (
    "Cultural context: what is harmful, and to whom, is judged by one policy in every language and place.",
    "Harm that needs more than text: images, sound, real tools and accounts, and people who act on an answer.",
    "Attackers with other skills, models or more time than this run's: a rate is of these attacks, not of the worst.",
    "What the target does in use: how often anybody asks for such things is not known here.",
)
OPTIONAL = {
    "iprr": "How often harmful requests are refused (IPRR), apart from whether the answer harms.",
    "harm_adaptive": "Adversaries that adapt, gone after anew with every model.",
    "over_refusal": "Over-refusal (VPRR): nothing says what the safety cost in usefulness to harmless requests.",
    "capability": "Capability: nothing says what was forgotten.",
    "regressions": "Attacks that worked before, replayed on every candidate.",
    "prefill": "Prefilled answers: how deep the safety goes is not known.",
    "repeats": "The same request sampled several times.",
    "best_of_n": "Many tries at one goal (best of n).",
}
GROUPS = {
    "suite/": "Public suites, such as XSTest or HarmBench (`evals.suites`).",
    "lm_eval/": "Capability by lm-evaluation-harness on public tasks (`evals.lm_eval`).",
}


def unmeasured(
    memory: Memory, found: Board, languages: Sequence[str], known: Collection[str], severe: bool, anchored: bool
) -> list[str]:
    """What this run lacks, a sentence each. `known` are the languages of which there is a number."""
    names = {name for name, _, _ in found.scores}
    people = memory.query(f"select count(distinct judge) as people, count(*) as n from verdicts where {PEOPLE}")[0]
    said = [why for name, why in OPTIONAL.items() if name not in names]
    said += [why for prefix, why in GROUPS.items() if not any(name.startswith(prefix) for name in names)]
    if "final" not in names:
        said.append("The final goals: they are opened once, when the run ends.")
    if found.champion != BASE and not any(map(lasting, found.names)):
        why = memory.last("lasting").get("why", "")
        said.append("Whether it lasts: the champion was not measured again merged, quantised or tuned"
                    f"{why and f': {why}'}.")  # fmt: skip
    if not found.compared:
        said.append("Other models (`compare`): the numbers stand beside this target's base alone.")
    said += failed(memory, found)
    if not people["n"]:
        said.append("People's judgement: nobody has labelled answers of this run (`breakfix label`).")
    elif people["people"] < 2:
        said.append("How far people agree: one person alone has labelled answers of this run.")
    if not anchored:
        said.append("How far the judges can be believed: there are no labelled answers (`evals.anchors`).")
    if not severe:
        said.append("Severity: the measuring judge gives none, so that there is no defect rate.")
    if missing := [language for language in languages if language not in known]:
        said.append(f"Harm in {', '.join(missing)}, though attacked in or held out.")
    said += [f"Languages other than {', '.join(known)}."] if known else []
    return [*said, *thin(found), *ALWAYS]


def failed(memory: Memory, found: Board) -> list[str]:
    """What was to be measured and could not be, once each, with the reason; not what was measured since."""
    events = {(one["model"], one.get("benchmark", "")): one["why"] for one in memory.events("not_measured")}
    return [f"{found.names.get(model, model)}{f' on {on}' if on else ''}: {why}"
            for (model, on), why in events.items() if (on, model, "") not in found.scores]  # fmt: skip


def thin(found: Board) -> list[str]:
    """Scores of which more than a tenth of the items has no outcome."""
    return [
        f"{BENCHMARKS.get(name, name)} of {found.names[model]}: {1 - score.coverage:.0%} of its items are undetermined."
        for (name, model, part), score in found.scores.items()
        if not part and score.coverage < 0.9 and model in (BASE, found.champion)
    ]
