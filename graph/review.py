"""`breakfix review`: what waits at a gate in the terminal, one item at a time, by single keys."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graph import edits
from graph.editing import Refused, edit, undo
from graph.gates import Decided, Decision, Place, decide, place_of
from graph.team import Team
from graph.terminal import one_key, plain
from graph.waiting import Item, difference, found, items

HELP = """\
  n, Enter  next        p  one back          /  search, N the next that fits      g  go to a number
  s  show what is hidden                     ?  these keys                         q  leave: all is kept, the run waits
  e  another answer     d  drop the row      +  add a row of your own              u  undo your last change
  h  it is harmful      k  it is harmless    o  it cannot be told                  (the attack that a row answers)
  i  pin its cell       b  ban its cell      w  an attack of your own              c  other numbers for the stage
  a  approve            r  reject, and why   x  end the run here"""
HIDDEN = ("rejected",)
WIDE = 4000
"""Most letters of a text that are shown."""


class Review:
    """A person at a gate. `press` gives a key and `line` a line; both None at the end of the input."""

    def __init__(self, crew: Team, shown: dict[str, Any], who: str, press: Callable[[], str | None],
                 line: Callable[[str, str], str | None]) -> None:  # fmt: skip
        self.crew, self.shown, self.who, self.press, self.line = crew, shown, who, press, line
        self.place: Place = place_of(shown)
        self.number, self.bare, self.words = 0, False, ""
        self.items = items(crew, self.place, shown)

    def run(self) -> bool:
        """Shows items until the gate is decided, and says whether it is."""
        print(f"the {self.place.gate} gate of cycle {self.place.cycle}: {len(self.items)} to look at; ? lists the keys")
        while True:
            self.show()
            key = self.press()
            if key is None or key == "q":
                print("the run waits on; what you changed is kept")
                return False
            self.bare = key == "s"
            try:
                if KEYS.get(key, Review.unknown)(self):
                    return True
            except Refused as why:
                print(f"  not done: {plain(str(why), WIDE)}")
            except Decided as why:
                print(f"  {plain(str(why), WIDE)}")
                return False

    def show(self) -> None:
        if not self.items:
            print("nothing waits here any more: a approves, r rejects")
            return
        self.number %= len(self.items)
        one = self.items[self.number]
        print(f"\n--- {self.number + 1} of {len(self.items)}: {plain(one.about, WIDE)}  [{one.id}]")
        if any(one.cell):
            print(f"    answers an attack: {', '.join(filter(None, one.cell))}" if one.what == "row" else
                  f"    {', '.join(filter(None, one.cell))}")  # fmt: skip
        for name, text in one.parts:
            hide = name in HIDDEN and not self.bare
            shown = f"({len(text)} letters; s shows them)" if hide else lines(text)
            print(f"  {name}: {shown}")
        if one.edit:
            self.tell(one.edit)

    def tell(self, change: edits.Edit) -> None:
        """A change, beside what was there before."""
        told = (
            difference(str(change.before), str(change.after)) if change.before and change.after else str(change.after)
        )
        print(f"  changed by {plain(change.who)}: {lines(told)}")

    @property
    def now(self) -> Item:
        if not self.items:
            raise Refused("nothing waits here any more")
        return self.items[self.number]

    def change(self, **told: Any) -> None:
        made = edit(self.crew, self.place, self.who, told)
        self.again(made.made)
        print(f"  done, change {made.number}; u undoes it")

    def again(self, at: str = "") -> None:
        """Looks anew at what waits, and stays at an item."""
        self.items = items(self.crew, self.place, self.shown)
        self.number = next((n for n, one in enumerate(self.items) if at and one.id == at), self.number)

    def unknown(self) -> None:
        print("  that is no key here; ? lists them")

    def help(self) -> None:
        print(HELP)

    def next(self) -> None:
        self.number += 1

    def back(self) -> None:
        self.number -= 1

    def stay(self) -> None:
        """Shows the item again, with what is hidden."""

    def go(self) -> None:
        asked = self.line("number: ", "") or ""
        if not asked.isdecimal() or len(asked) > 9 or not 1 <= int(asked) <= len(self.items):
            raise Refused(f"{asked!r} is no number from 1 to {len(self.items)}")
        self.number = int(asked) - 1

    def search(self) -> None:
        self.words = self.line("search: ", self.words) or ""
        self.search_on()

    def search_on(self) -> None:
        places = found(self.items, self.words)
        if not places:
            raise Refused(f"nothing here says {self.words!r}")
        self.number = next((place for place in places if place > self.number), places[0])
        print(f"  {len(places)} say {plain(self.words)!r}")

    def rewrite(self) -> None:
        one = self.row()
        before = dict(one.parts)["chosen"]
        after = edited(before, self.line, self.crew.run)
        if after and after != before:
            self.change(what="rewrite", row=one.id, chosen=after)

    def drop(self) -> None:
        self.change(what="drop", row=self.row().id)

    def row(self) -> Item:
        if self.now.what != "row":
            raise Refused("this is no row")
        return self.now

    def add(self) -> None:
        kind = self.line("kind (refuse, help or retain): ", "refuse") or ""
        told = {name: self.line(f"{name}: ", "") or "" for name in ("asked", "chosen", "rejected", "language")}
        self.change(what="add", kind=kind, **{**told, "asked": [told["asked"]]})

    def undo(self) -> None:
        mine = [one for one in edits.live(self.crew, self.place) if one.who == self.who]
        if not mine:
            raise Refused("you have changed nothing here")
        undone = undo(self.crew, self.place, self.who, mine[-1].number)
        self.again(getattr(undone.change, "row", ""))
        print(f"  undone: {undone.change.what}")

    def harmful(self) -> None:
        self.judged(True)

    def harmless(self) -> None:
        self.judged(False)

    def unclear(self) -> None:
        self.judged(None)

    def judged(self, harmful: bool | None) -> None:
        if not self.now.attempt:
            raise Refused("this answers no attack")
        self.change(what="judge", attempt=self.now.attempt, harmful=harmful)

    def pin(self) -> None:
        self.steer("pin")

    def ban(self) -> None:
        self.steer("ban")

    def steer(self, how: str) -> None:
        told = (
            self.line(f"{how} area, way and language (- is any): ", " ".join(part or "-" for part in self.now.cell))
            or ""
        )
        area, strategy, language = ["" if part == "-" else part for part in [*told.split(), "-", "-", "-"]][:3]
        self.change(what="cell", how=how, area=area, strategy=strategy, language=language)

    def ask(self) -> None:
        told = {name: self.line(f"{name}: ", "") or "" for name in ("text", "area", "language")}
        self.change(what="ask", **told)

    def stage(self) -> None:
        if self.now.what != "stage":
            raise Refused("this is no stage")
        told = {name: self.line(f"{name}: ", dict(self.now.parts)[name]) or "" for name in ("epochs", "rate")}
        self.change(what="stage", stage=self.now.id, **{name: value for name, value in told.items() if value})

    def approve(self) -> bool:
        return self.decided(True, self.line("a remark, or nothing: ", "") or "")

    def reject(self) -> bool:
        return self.decided(False, self.line("why (whoever does it again is told): ", "") or "")

    def end(self) -> bool:
        return self.decided(False, self.line("why does it end: ", "") or "", end=True)

    def decided(self, approved: bool, why: str, end: bool = False) -> bool:
        decide(self.crew.memory, self.place, Decision(approved=approved, why=why, who=self.who, end=end))
        return True


KEYS: dict[str, Callable[[Review], bool | None]] = {
    "n": Review.next, "\n": Review.next, "\r": Review.next, " ": Review.next, "p": Review.back, "s": Review.stay,
    "g": Review.go, "/": Review.search, "N": Review.search_on, "?": Review.help, "e": Review.rewrite, "d": Review.drop,
    "+": Review.add, "u": Review.undo, "h": Review.harmful, "k": Review.harmless, "o": Review.unclear, "i": Review.pin,
    "b": Review.ban, "w": Review.ask, "c": Review.stage, "a": Review.approve, "r": Review.reject, "x": Review.end,
}  # fmt: skip


def lines(text: str) -> str:
    """A text that a terminal can show as it is, however many lines it has."""
    return "\n      ".join(plain(line, WIDE) for line in text[:WIDE].splitlines())


def edited(text: str, line: Callable[[str, str], str | None], within: Path) -> str:
    """A text as somebody made it: in their editor where the environment names one, else on a line."""
    program = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not program or not sys.stdin.isatty():
        if "\n" in text:
            raise Refused("this answer has several lines; set $EDITOR, which is opened for it")
        return (line("chosen: ", text) or "").strip()
    with tempfile.NamedTemporaryFile("w+", suffix=".txt", dir=within, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            subprocess.run([*program.split(), file.name], check=False)
        except OSError as error:
            raise Refused(f"$EDITOR = {program!r} cannot be run: {error.strerror}") from error
        return Path(file.name).read_text(encoding="utf-8", errors="replace").strip()


def pressed() -> str | None:
    """A key, without Enter in a terminal; None at the end of the input."""
    print("> ", end="", flush=True)
    key = one_key() if sys.stdin.isatty() else sys.stdin.readline()[:1]
    print(key.strip())
    return None if key in ("", "\x04") else key


def typed(question: str, before: str) -> str | None:
    """A line, begun with what is there already where the terminal can; None at the end of the input."""
    if sys.stdin.isatty():
        import readline

        readline.set_startup_hook(lambda: readline.insert_text(before))
        try:
            return input(question)
        except EOFError:
            return None
        finally:
            readline.set_startup_hook()
    print(question, end="", flush=True)
    said = sys.stdin.readline()
    print(said.strip())
    return said.rstrip("\n") if said else None
