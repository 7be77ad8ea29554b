"""What a run shows in the terminal: live progress, where it stands, its report, and a chat."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import TaskID

    from graph.run import Standing
    from tools.records import Attempt, Goal

EVERY = 10.0
"""Seconds between two plain lines about the same node, where the output is no terminal."""


class Console:
    """Live progress: a bar in a terminal, plain lines elsewhere."""

    def __init__(self, folder: Path | None) -> None:
        from rich.console import Console as Rich
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.folder, self.rich = folder, Rich(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.rich,
            disable=not self.rich.is_terminal,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.said: tuple[str, float] = ("", 0.0)
        self.began = time.monotonic()
        self.line, self.over = "", threading.Event()
        self.counted: tuple[str, int, int, float] = ("", 0, 0, 0.0)
        """What is counted: the node, of how many, how many there were when it began, and when that was."""

    def __enter__(self) -> "Console":
        for noisy in ("transformers", "httpx", "langchain_core", "peft"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.bar.start()
        if not self.rich.is_terminal:
            threading.Thread(target=self.keep_saying, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()
        self.over.set()

    def watch(self, node: str, done: int, total: int, note: str) -> None:
        """Told of progress; `total` 0 says that a node begins."""
        note = self.paced(node, done, total, note)
        if self.rich.is_terminal:
            self.draw(node, done, total, note)
            return
        self.line = f"{node}{f' {done}/{total}' if total else ''}  {note}"
        if self.said[0] != node or time.monotonic() - self.said[1] > EVERY or (done == total and total):
            self.said = (node, time.monotonic())
            self.say()

    def paced(self, node: str, done: int, total: int, note: str) -> str:
        """The note, and about how long what is counted takes yet, by what this process has done of it."""
        from graph.timing import span

        name, of, before, began = self.counted
        if (node, total) != (name, of) or done < before:
            self.counted = node, total, done, time.monotonic()
            return note
        lasted = time.monotonic() - began
        if not before < done < total or lasted < EVERY:
            return note
        return f"{note}, about {span(lasted * (total - done) / (done - before))} left of these"

    def say(self) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {self.line}".rstrip(), file=sys.stderr, flush=True)

    def keep_saying(self) -> None:
        """A plain line again where nothing was told for a while: a first answer may be minutes in coming."""
        while not self.over.wait(EVERY):
            if self.line and time.monotonic() - self.said[1] >= EVERY:
                self.said = (self.said[0], time.monotonic())
                self.say()

    def draw(self, node: str, done: int, total: int, note: str) -> None:
        for other in [name for name in self.tasks if name != node]:
            self.bar.remove_task(self.tasks.pop(other))
        if node not in self.tasks:
            self.tasks[node] = self.bar.add_task(node, total=None, note="")
        self.bar.update(self.tasks[node], completed=done, total=total or None, note=note)


def facts(folder: Path, now: "Standing") -> dict[str, Any]:
    """Where a run is, as data."""
    from graph.budgets import conversations
    from graph.desk import champion
    from graph.remaining import left
    from graph.report import result
    from graph.team import team
    from graph.timing import span, worked
    from tools.records import BASE, Score

    crew = team(str(folder))
    best = champion(crew)
    scores = crew.memory.get(Score, "adapter = ? and part = ''", best)
    last = crew.memory.last("vulnerabilities")
    fell, broken = result(crew, best)
    rule, cycle = crew.recipe.stop, now.values.get("cycle", 1)
    of = f" of {span(3600 * rule.hours)}" if rule.hours is not None else ""
    return {
        "run": str(folder), "state": now.state, "node": now.node, "cycle": now.values.get("cycle", 1),
        "spent": f"worked {span(worked(crew.memory))}{of}, {conversations(crew):,} conversations",
        "left": left(crew.memory, now.node, cycle, rule.cycles, rule.hours), "seconds": round(worked(crew.memory), 1),
        "champion": best, "adapter": "" if best == BASE else str(crew.folder(best)),
        "stopped": now.values.get("stopped", ""),
        **{name: last.get(name, 0) for name in ("attempts", "broke", "judged")}, "gate": now.gate,
        "reduction": fell._asdict() if fell else None, "broken": broken,
        "scores": {s.benchmark: {"value": s.value, "low": s.low, "high": s.high, "n": s.n, "coverage": s.coverage}
                   for s in scores},
    }  # fmt: skip


def as_json(folder: Path, now: "Standing") -> str:
    return json.dumps(facts(folder, now), indent=2)


def show(folder: Path, now: "Standing") -> None:
    """Says in five lines where a run stands and what to do next; at a gate, in more, what is to be approved."""
    from graph.run import holder

    found = facts(folder, now)
    waits = f"waits at the {now.gate.get('gate')} gate"
    running = holder(folder)
    where = {"finished": "finished", "waiting": waits, "stopped": f"stopped before {now.node}"}
    place = f"running (process {running}), {now.node or 'its end'}" if running else where[now.state]
    print(f"{folder}: {place}, cycle {found['cycle']}, champion {found['champion']}")
    scores = [f"{name} {s['value']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for name, s in found["scores"].items()
              if name in ("harm", "over_refusal", "capability")]  # fmt: skip
    if scores:
        print(f"  measured: {', '.join(scores)}")
    attacked = f"last attack: {found['broke']} of {found['judged']} judged conversations broke it"
    said = [attacked if found["attempts"] else "", found["spent"], found["left"]]
    print(f"  {'; '.join(filter(None, said))}")
    if found["adapter"]:
        print(f"  its adapter: {found['adapter']}")
    if now.state == "finished":
        print(f"  ended: {plain(found['stopped'], 400)}; its report: {folder / 'report.html'}")
    elif now.state == "waiting":
        at_gate(folder, now.gate)
    elif not running:
        print(f"  next: breakfix resume {folder}")


def timeline(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    """The checkpoints of a run, one a line."""
    from datetime import datetime

    from graph.history import SHOWN

    print(f"{'':>4} {'checkpoint':{SHOWN}} {'next':12} {'cycle':>5} {'champion':16} {'attempts':>8} {'rows':>6}  when")
    for one in lines:
        at = datetime.fromisoformat(one["at"]).astimezone()
        print(f"{one['number']:4} {one['id'][:SHOWN]} {one['next'] or 'the end':12} {one['cycle']:5} "
              f"{one['champion']:16} {one['attempts']:8} {one['rows']:6}  {at:%Y-%m-%d %H:%M:%S}")  # fmt: skip
    print(f"  next: breakfix fork {folder} --at NUMBER --name NEW")


def at_gate(folder: Path, gate: dict[str, Any]) -> None:
    """Shows what is to be approved."""
    for key, value in gate.items():
        for item in value if isinstance(value, list) else [value]:
            print(f"  {key}: {json.dumps(item, ensure_ascii=False)}")
    if gate["gate"] == "data":
        samples(folder, gate["cycle"], gate["round"])
    print(f"  next: breakfix approve {folder}, or breakfix reject {folder} --why REASON")


def samples(folder: Path, cycle: int, round: int, each: int = 2) -> None:
    """A few of the rows of each kind: what is asked, and what the model would be taught to say."""
    from graph.screening import dropped
    from graph.team import team
    from tools.records import Example

    crew = team(str(folder))
    left_out = dropped(crew)
    for kind in ("refuse", "help", "retain"):
        rows = crew.memory.get(Example, "cycle = ? and round = ? and kind = ?", cycle, round, kind)
        for row in [row for row in rows if row.id not in left_out][:each]:
            print(f"  {kind}: {plain(row.prompt[-1].content)!r} -> {plain(row.chosen)!r}")


def plain(text: str, most: int = 160) -> str:
    """A line of text that a terminal can show as it is."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:most]


def printed(markdown: str) -> None:
    """Prints Markdown: drawn in a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        print(markdown)
        return
    from rich.console import Console as Rich
    from rich.markdown import Markdown

    Rich().print(Markdown(markdown))


def talk(folder: Path, name: str) -> None:
    """A conversation with the base, the champion or a candidate, until an empty line or Ctrl-D."""
    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

    from graph.config import RecipeError
    from graph.desk import champion
    from graph.team import team
    from tools.records import BASE, Adapter

    crew = team(str(folder))
    ids = [BASE, *crew.memory.ids(Adapter)]
    name = champion(crew) if name == "champion" else name
    matching = [one for one in ids if one.startswith(name)]
    if len(matching) != 1:
        raise RecipeError(f"--with {name!r} is none, or several, of {', '.join(ids)}; give base, champion or an id")
    print(f"talking to {matching[0]}; an empty line ends it", file=sys.stderr)
    target, said = crew.target(matching[0]), list[BaseMessage]()
    while line := asked():
        said.append(HumanMessage(line))
        answer = str(target.invoke(said).text)
        said.append(AIMessage(answer))
        print("\n".join(plain(part) for part in answer.splitlines()))


def shown(number: int, total: int, goal: "Goal", attempt: "Attempt") -> None:
    """A conversation for a person to judge, without what any judge said of it."""
    print(f"\n--- {number + 1} of {total}, {attempt.language or 'no language given'} " + "-" * 40)
    print(f"goal ({goal.intent}, {goal.area or 'no area'}): {plain(goal.text, 2000)}")
    for turn in attempt.kept:
        for text in dict.fromkeys((turn.text, turn.plain)):
            if text:
                said = "\n    ".join(plain(line, 2000) for line in text.splitlines())
                print(f"{turn.role}{' (decoded)' if text != turn.text else ''}:\n    {said}")


def key(choices: Collection[str], question: str) -> str | None:
    """The key of `choices` that is pressed, without Enter in a terminal; None at `q` or the end of the input."""
    while True:
        print(question, end=" ", flush=True)
        pressed = one_key() if sys.stdin.isatty() else sys.stdin.readline()
        print(pressed.strip())
        if pressed.strip() in choices:
            return pressed.strip()
        if not pressed or pressed.strip() == "q":
            return None


def one_key() -> str:
    """A key, as soon as it is pressed. What was typed ahead is neither lost nor taken with it."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        return os.read(terminal, 1).decode(errors="replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def asked() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
