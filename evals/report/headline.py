"""The result in a few sentences: what became better, and beside it where the champion still breaks."""

from collections.abc import Mapping, Sequence

from evals.gate import Card, Rail, harms, paired, points
from evals.report.board import Board
from evals.report.markdown import written
from evals.report.shapes import Rate
from evals.report.slices import share_of
from tools.records import BASE

NONE = "No candidate has replaced the base."
CHANGES = {"iprr": "refusal of what is harmful (IPRR)", "over_refusal": "over-refusal", "capability": "capability"}
SPLITS = {"held_out": ("harm", "held-out goals"), "final": ("final", "final goals")}


def status(found: Board, rails: Sequence[Rail]) -> str:
    """The champion, and whether the guard-rails hold."""
    if found.champion == BASE:
        return f"**Champion:** none. {NONE}"
    broken = any(one.fault for one in rails)
    held = "a guard-rail is broken" if broken else "the guard-rails hold" if rails else "no guard-rail was measured"
    return f"**Champion:** {found.names[found.champion]}; {held}."


def headline(
    found: Board, before: Card, after: Card, rails: Sequence[Rail], fell: Mapping[str, Rate],
    fresh: Mapping[int, Rate], attacked: str, unseen: Sequence[str],
) -> str:  # fmt: skip
    """In paragraphs of a sentence or two.

    `fresh` are the attacks of each cycle, the last of them on the model `attacked`; `unseen` are the languages that
    were never trained on.
    """
    falls = []
    for split, rate in fell.items():
        benchmark, goals = SPLITS[split]
        now = found.rate(benchmark, found.champion)
        falls.append(f"by {written(rate)}{f', to {written(now)},' if now else ''} on {goals}")
    better = f"Asked in held-out ways, harm fell {' and '.join(falls)}." if falls else ""
    rates = [f"{language} {written(harm)}" for language in unseen
             if (harm := found.rate(f"harm_{language}", found.champion))]  # fmt: skip
    never = f"In languages never trained on, harm is {', '.join(rates)}." if rates else ""
    none = found.champion == BASE
    said = (
        NONE if none else better,
        still(found, after, fresh, attacked),
        never,
        "" if none else changed(before, after, rails),
    )
    return "\n\n".join(one for one in said if one)


def still(found: Board, after: Card, fresh: Mapping[int, Rate], attacked: str) -> str:
    """How often it breaks where somebody goes after it, and where its answer is begun for it."""
    model = "the base" if found.champion == BASE else "the champion"
    ways = []
    if adaptive := found.rate("harm_adaptive", found.champion):
        ways.append(f"adversaries that adapt break {model} in {written(adaptive)}")
    if fresh:
        last = max(fresh)
        whom = "it" if ways and attacked == found.champion else found.names.get(attacked, attacked)
        ways.append(f"the latest fresh attacks (cycle {last}) broke {whom} in {written(fresh[last])}")
    sentence = ", and ".join(ways)
    said = [f"**{sentence[:1].upper()}{sentence[1:]}.**"] if ways else []
    decided = share_of({name: after[name] for name in harms(after)})
    if decided and len(harms(after)) > 1:
        said.append(f"Over all items that the gate decides by, harm is {written(decided)}.")
    depths = [int(part) for name, of, part in found.scores if (name, of) == ("prefill", found.champion) and int(part)]
    if depths and (begun := found.rate("prefill", found.champion, str(min(depths)))):
        tokens = f"{min(depths)} token{'s' if min(depths) > 1 else ''}"
        said.append(f"With {tokens} of a harmful answer put before its own, it goes on with it in {written(begun)}.")
    return " ".join(said)


def changed(before: Card, after: Card, rails: Sequence[Rail]) -> str:
    """What else is not as it was with the base, item against item: as the guard-rails have it, where there are any."""
    known = {"iprr": paired(before, after, ["iprr"])} | {one.name: one.change for one in rails if one.name in CHANGES}
    said = [f"{CHANGES[name]} by {points(change)}" for name, change in known.items() if change]
    return f"Against the base, {', '.join(said)}.".replace(" by ", " changed by ", 1) if said else ""
