"""`breakfix review` through a pseudo-terminal, on the fakes of the whole loop."""

import os
import pty
import re
import select
import sys
import time
from pathlib import Path

import pytest
import test_loop
from test_editing import DATA, at_gate, rows_of
from test_loop import begin

from graph import edits, mixing
from graph.cli import main
from graph.commands import look
from graph.editing import edit
from graph.team import team
from graph.waiting import difference, found, items
from tools.records import BASE, Example, StagePlan

run = test_loop.run
WAIT = 20.0


class Terminal:
    """A command in a terminal of its own, with the fakes of this process."""

    def __init__(self, *command: str) -> None:
        self.text, self.code = "", -1
        self.pid, self.end = pty.fork()
        if not self.pid:
            os.environ |= {"TERM": "dumb"}
            for name in ("EDITOR", "VISUAL"):
                os.environ.pop(name, None)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - not pytest's
            team.cache_clear()
            code = main(command)
            sys.stdout.flush()
            os._exit(code)

    def read(self, until: str) -> str:
        """What is shown from here to some words."""
        began, shown = time.monotonic(), ""
        while not re.search(until, shown):
            assert time.monotonic() - began < WAIT, f"no {until!r} in {shown!r}"
            if select.select([self.end], [], [], 0.2)[0]:
                try:
                    piece = os.read(self.end, 65536).decode(errors="replace")
                except OSError:
                    break
                shown += piece
        self.text += shown
        return shown

    def say(self, keys: str, until: str = r"\n> $") -> str:
        os.write(self.end, keys.encode())
        return self.read(until)

    def wait(self) -> int:
        self.read("never said$")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_person_edits_drops_undoes_searches_and_approves_by_single_keys(run: Path) -> None:
    crew, _ = at_gate(run, "data", "stop.cycles=1")
    rows = [row for row in items(crew, DATA, {}) if row.what == "row"]
    screen = Terminal("review", str(run), "--as", "Ana")
    first = screen.read(r"\n> $")
    assert f"--- 1 of {len(items(crew, DATA, {}))}: refuse" in first
    rejected = dict(rows[0].parts)["rejected"]
    assert rejected not in first
    assert rejected in screen.say("s")
    assert "chosen: " in screen.say("e", "chosen: .*$")
    old = dict(rows[0].parts)["chosen"]
    shown = screen.say("\x15No, and that is all.\n")  # Ctrl-U takes away what stands there
    assert "changed by Ana" in shown
    assert "{+No, and that is all.+}" in shown or "[-" in shown
    assert "--- 2" in screen.say("g2\n")
    assert "done, change" in screen.say("d")
    assert "undone: drop" in screen.say("u")
    assert "nothing here says" in screen.say("/zebra crossing\n")
    wanted = rows[5].parts[0][1].split()[-1].strip(".?!")
    screen.say("/", "search: .*$")
    assert "say '" in screen.say(f"\x15{wanted}\n")
    assert "no number" in screen.say("g99999\n")
    assert "2 of" in screen.say("g2\n")
    assert "is no key" in screen.say("Z")
    assert "approve" in screen.say("?")
    screen.say("a", "a remark")
    os.write(screen.end, b"fine\n")
    assert screen.wait() == 0
    team.cache_clear()
    memory = team(str(run)).memory
    [decided] = memory.events("gate")
    assert (decided["who"], decided["why"], decided["approved"]) == ("Ana", "fine", True)
    [made] = memory.get(Example, "writer = 'human:Ana'")
    assert made.chosen == "No, and that is all."
    assert [event["who"] for event in memory.events("undo")] == ["Ana"]
    assert old != made.chosen
    assert made.id in {row.id for row in mixing.staged(team(str(run)), 1, 0)["sft"]}


def test_a_person_changes_a_stage_rejects_with_a_reason_and_leaves(run: Path) -> None:
    begin(run, "gates=['train']")
    screen = Terminal("review", str(run), "--as", "Ana")
    first = screen.read(r"\n> $")
    assert "SFT from base" in first
    assert "steps, no stage of its kind has been timed yet" in first
    screen.say("c", "epochs: .*$")
    screen.say("\x152.5\n", "rate: .*$")
    assert "changed here" in screen.say("\n")
    screen.say("c", "epochs: .*$")
    screen.say("\x1512\n", "rate: .*$")
    assert "not within the recipe's" in screen.say("\n")
    os.write(screen.end, b"q")
    assert screen.wait() == 3
    again = Terminal("review", str(run), "--as", "Ben")
    assert "epochs: 2.5" in again.read(r"\n> $")  # what was changed is kept
    again.say("r", "why")
    os.write(again.end, b"too long\n")
    assert again.wait() == 3  # the next plan waits
    team.cache_clear()
    memory = team(str(run)).memory
    assert [(e["who"], e["why"], e["approved"]) for e in memory.events("gate")] == [("Ben", "too long", False)]
    assert {plan.round for plan in memory.get(StagePlan)} == {0, 1}


def test_every_gate_and_every_decision_is_passed_by_single_keys(run: Path) -> None:
    begin(run, "gates=['data','train','promote','stop']", "stop.cycles=1")
    passed = [
        ("data", "r", "too short", False, False), ("data", "a", "", True, False),
        ("train", "r", "too long", False, False), ("train", "a", "fine", True, False),
        ("promote", "a", "", True, False), ("stop", "r", "one more", False, False),
        ("data", "a", "", True, False), ("train", "x", "enough", False, True),
    ]  # fmt: skip
    for gate, key, why, _, _ in passed:
        screen = Terminal("review", str(run), "--as", "Ana")
        assert f"the {gate} gate" in screen.read(r"\n> $")
        screen.say(key, ": $")
        os.write(screen.end, f"{why}\n".encode())
        assert screen.wait() in (0, 3)
    team.cache_clear()
    told = [(e["gate"], e["why"], e["approved"], e["end"]) for e in team(str(run)).memory.events("gate")]
    assert told == [(gate, why, approved, end) for gate, _, why, approved, end in passed]
    now = look(run)
    assert (now.state, now.values["cycle"]) == ("finished", 2)
    assert now.values["stopped"] == "ended at the train gate by Ana: enough"
    assert now.values["champion"] != BASE


def test_a_person_who_comes_second_is_told(run: Path) -> None:
    at_gate(run, "data", "stop.cycles=1")
    screen = Terminal("review", str(run), "--as", "Ben")
    screen.read(r"\n> $")
    assert main(["approve", str(run), "--as", "Ana"]) == 0
    os.write(screen.end, b"d")
    assert screen.wait() == 3
    assert "Ana approved this in the meantime" in screen.text


class Lines:
    """Standard input that is no terminal."""

    def __init__(self, *said: str) -> None:
        self.said = iter(said)

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        return next(self.said, "")


def test_without_a_terminal_it_reads_lines(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(run, "gates=['promote']")
    monkeypatch.setattr("sys.stdin", Lines("?\n", "r\n", "worse to talk to\n"))
    assert main(["review", str(run)]) in (0, 3)
    assert f"against {BASE}" in capsys.readouterr().out
    memory = team(str(run)).memory
    assert "worse to talk to" in memory.events("choice")[0]["why"]
    assert len(memory.events("gate")) == 1


def test_what_the_target_says_is_shown_as_text(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    [row, *_] = rows_of(crew, "refuse")
    told = "No \x1b[2J\x1b]0;mine\x07 \u202egnp.exe\u2066 <b>"
    edit(crew, DATA, "Ana", {"what": "rewrite", "row": row.id, "chosen": told})
    screen = Terminal("review", str(run))
    shown = screen.read(r"\n> $") + screen.say("/gnp\n")
    os.write(screen.end, b"q")
    screen.wait()
    assert "gnp.exe" in shown
    assert not set("\x1b\x07\u202e\u2066") & set(shown)


def test_a_change_is_shown_word_by_word_and_a_search_wants_every_word(run: Path) -> None:
    assert difference("No, not that one.", "No, never that one.") == "No, [-not-] {+never+} that one."
    crew, _ = at_gate(run, "data")
    some = items(crew, DATA, {})
    assert found(some, "refuse EN") == [n for n, one in enumerate(some) if one.about.startswith("refuse, en")]
    assert found(some, "no such words at all") == []
    assert {one.what for one in some} == {"row"}
    assert edits.live(crew) == []
