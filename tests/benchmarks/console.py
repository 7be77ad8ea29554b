"""The console in a browser on a run of 20,000 attempts that waits with 5,000 rows: how long until something is there.

python -m tests.benchmarks.console [ATTEMPTS] [ROWS]
"""

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import test_loop
from browsing import Browser, Person, serving

from graph.team import Team, team
from tools.records import Attempt, Example, Goal, Message, Record, Turn, Verdict

WAYS = ("direct", "plead", "insist", "roleplay", "follow_up")
WORDS = ("the", "of", "a", "venom", "powder", "ink", "steep", "no", "that", "would", "hurt", "somebody")
WANTED = ("venom powder", "steep", "nothing like it", "no hurt", "5a")
BATCH = 1_000


def fill(crew: Team, attempts: int, rows: int) -> None:
    """Adds attempts of the first cycle, each with the verdicts of both judges, and rows that answer some of them."""
    dice = random.Random(0)
    goals = crew.memory.get(Goal, "split = 'train' and intent = 'harmful'")
    for start in range(0, attempts, BATCH):
        batch: list[Record] = []
        for number in range(start, min(start + BATCH, attempts)):
            turns = (Turn(role="user", text=said(dice, 30)), Turn(role="assistant", text=said(dice, 120)))
            made = Attempt(goal=dice.choice(goals).id, persona="low_skilled", strategy=dice.choice(WAYS), turns=turns,
                           language=dice.choice(("en", "es")), target="base", cycle=1, seed=100_000 + number,
                           purpose="attack")  # fmt: skip
            broke = dice.random() < 0.5
            seen = {judge: broke ^ (dice.random() < 0.01) for judge in crew.labels_by}
            batch += [made, *(Verdict(attempt=made.id, judge=judge, harmful=harmful, refusal=None, understood=True)
                              for judge, harmful in seen.items())]  # fmt: skip
            if number < rows:
                prompt = (Message(role="user", content=said(dice, 30)),)
                batch.append(Example(kind="refuse" if number % 2 else "help", prompt=prompt, language="en", cycle=1,
                                     chosen=f"No. {said(dice, 20)}", rejected=turns[1].text, goal=made.goal,
                                     attempt=made.id, writer="somebody", number=0))  # fmt: skip
        crew.memory.add(batch)


def said(dice: random.Random, words: int) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(words)) + f" {dice.getrandbits(20):x}"


def taken(one: Person, act: str) -> float:
    """Milliseconds in the browser from an act until the page that it brings is painted."""
    return float(
        one.asked(f"""(async () => {{
        document.querySelector("h1").dataset.old = "yes";
        const old = () => !document.querySelector("h1") || document.querySelector("h1").dataset.old;
        const began = performance.now();
        {act};
        while (old() && performance.now() < began + 9000) await new Promise((done) => setTimeout(done, 1));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return performance.now() - began;
    }})()""")
    )


def loaded(one: Person, path: str) -> float:
    """Milliseconds until a page that was gone to is loaded."""
    one.open(path)
    return float(one.asked("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))


def pressed(key: str) -> str:
    return f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}, bubbles: true}}))"


def searched(words: str) -> str:
    return f"document.querySelector('[name=q]').value = {words!r}; document.querySelector('.filters').requestSubmit()"


def figures(run: Path, profile: Path, times: int = 15) -> dict[str, list[float]]:
    """Milliseconds of each thing that people wait for."""
    browser = Browser(profile)
    try:
        with serving([run], lambda _: None) as site:
            return seen_by(browser.person(site, "Ana"), times)
    finally:
        browser.close()


def seen_by(one: Person, times: int) -> dict[str, list[float]]:
    gate, attacks = "/run/one/gate", "/run/one/attacks"
    found, began = dict[str, list[float]](), time.monotonic()
    one.open(attacks)
    while "not searchable" in one.text():
        one.open(attacks)
    found["index of all attempts"] = [1000 * (time.monotonic() - began)]
    found["first page of the gate, unprepared"] = [loaded(one, gate)]
    found["first page of the gate"] = [loaded(one, gate) for _ in range(times)]
    found["overview"] = [loaded(one, "/") for _ in range(times)]
    words = [f"{WANTED[number % len(WANTED)]} {number:x}" for number in range(times)]  # none that was found before
    for where, name in ((gate, "search of the gate"), (attacks, "search of all attempts")):
        one.open(where)
        found[name] = [taken(one, searched(some)) for some in words]
    for key, name in (("n", "next item"), ("d", "a row dropped, and the next one")):
        one.open(gate)
        one.press("n")
        one.until("location.pathname.includes('/item/')")
        found[name] = [taken(one, pressed(key)) for _ in range(times)]
    return found


def begun(folder: Path, patch: pytest.MonkeyPatch, attempts: int, rows: int) -> Path:
    """A run, on the fakes of `test_loop`, that waits at its data gate with so much."""
    run = Path(test_loop.run.__wrapped__(folder, patch))  # type: ignore[attr-defined]
    test_loop.begin(run, "gates=['data']")
    fill(team(str(run)), attempts, rows)
    return run


def main(attempts: int, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run = begun(Path(folder), patch, attempts, rows)
        for name, some in figures(run, Path(folder) / "profile").items():
            print(f"{name}: {statistics.median(some):.0f} ms, at worst {max(some):.0f} ms, of {len(some)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or (20_000, 5_000)))
