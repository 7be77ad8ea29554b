"""Why a run stopped, and why each candidate won or lost: what its memory and its log say, in sentences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.gate import points
from evals.report.board import board
from evals.report.decisions import renamed
from graph import logs, mishaps
from graph.desk import champion
from graph.team import Team, team
from tools.records import BASE
from tools.statistics import Interval

if TYPE_CHECKING:
    from graph.run import Standing

ENDS = ("goes on", "leaves off", "stopped", "failed")
"""What the log says of processes."""


def explained(folder: Path, now: "Standing") -> dict[str, Any]:
    """The same as data: how it stands and why, and each cycle with its decision and its candidates."""
    crew = team(str(folder))
    names = board(crew.memory, champion(crew)).names
    decisions, choices = (crew.memory.by_cycle(kind) for kind in ("decision", "choice"))
    cycles = [
        {"cycle": cycle, "decision": renamed(decisions.get(cycle, {}).get("why", ""), names),
         "candidates": [fate(trial, choices[cycle], names) for trial in choices.get(cycle, {}).get("trials", ())],
         "remarks": remarks(crew, cycle, choices.get(cycle, {}), names)}
        for cycle in sorted({*decisions, *choices})
    ]  # fmt: skip
    return {"run": str(folder), "state": now.state, "why": ending(folder, now), "cycles": cycles}


def ending(folder: Path, now: "Standing") -> str:
    """Why it does not go on, or where it is."""
    if now.state == "finished":
        return f"it is finished: {now.values.get('stopped') or 'its graph came to its end'}"
    if now.state == "waiting":
        return f"it waits for somebody at the {now.gate['gate']} gate of cycle {now.gate['cycle']}"
    said = [one for one in logs.lines(folder) if one.get("what") in ENDS]
    where = f"it stands before {now.node}, cycle {now.values.get('cycle', 1)}"
    return f"{where}; {left_off(said[-1])}" if said else f"{where}; it has not begun"


def left_off(line: Mapping[str, Any]) -> str:
    """How the last process left it."""
    node = f" in {line['node']}" if line.get("node") else ""
    if line["what"] == "failed":
        words = ": ".join(part for part in (line.get("error", ""), line.get("why", "")) if part)
        return f"at {line['at']} it failed{node} with {words} ({line.get('line', '')})"
    if line["what"] == "stopped":
        return f"at {line['at']} it was stopped{node} by {line.get('by')}, and can be gone on with"
    if line["what"] == "goes on":
        return f"a process began at {line['at']} and has not said how it ended: it goes on, or was killed"
    return f"at {line['at']} it left off, as it was told to"


def fate(trial: Mapping[str, Any], choice: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What became of a candidate, and why, in a sentence."""
    name, won = names.get(trial["candidate"], trial["candidate"]), trial["candidate"] == choice["chosen"]
    gain = Interval(*trial["gain"]) if trial.get("gain") else None
    fell = f"harm {'fell' if gain.value > 0 else 'rose or stayed'} by {points(gain)}" if gain else ""
    items = f"{trial.get('fell', 0)} of {trial.get('n', 0)} items mended, {trial.get('rose', 0)} newly broken"
    if won:
        why = f"became champion: {fell} ({items}), and no guard-rail is broken"
    elif trial.get("fault"):
        why = f"lost, as a guard-rail is broken: {trial['fault']}" + (f" (its {fell})" if fell else "")
    elif gain is None:
        why = "lost, as no harm was measured on the same items as the champion's"
    elif choice["chosen"] != choice["before"]:
        why = f"lost to {names.get(choice['chosen'], choice['chosen'])}: its {fell} ({items}) is not the largest shown"
    else:
        why = f"lost: its {fell} ({items}), which is not shown to be more than chance (p {trial.get('p', 1):.2g})"
        why += ", or a person said no" if "rejected by a person" in choice["why"] else ""
    return {"candidate": trial["candidate"], "name": name, "won": won, "why": why}


def remarks(crew: Team, cycle: int, choice: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What else happened in a cycle that a person would ask about."""
    spent = crew.memory.by_cycle("budget").get(cycle)
    kept = "rejected by a person" in choice.get("why", "")
    return [
        *(sentence.replace("**", "") for sentence in mishaps.told(crew, cycle)),
        *([f"a budget is spent: {spent['why']}; nothing more was begun"] if spent else []),
        *([f"the champion stayed: {choice['why'].rpartition('; ')[2]}"] if kept else []),
    ]


def sentences(found: Mapping[str, Any], folder: Path) -> Sequence[str]:
    """What `explained` found, a line each."""
    said = [f"{folder}: {found['why']}"]
    for one in found["cycles"]:
        said += [f"cycle {one['cycle']}: {one['decision']}"] if one["decision"] else [f"cycle {one['cycle']}"]
        said += [f"  {candidate['name']} {candidate['why']}" for candidate in one["candidates"]]
        said += [f"  {remark}" for remark in one["remarks"]]
    best = champion(team(str(folder)))
    said.append("the base stays: no candidate has replaced it" if best == BASE else f"the champion is {best}")
    return said
