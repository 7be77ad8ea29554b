"""A soak: short sandbox runs, disturbed at random, each of which has to end with the record of an undisturbed one.

nice -n 19 python -m tests.benchmarks.soak [KILLS] [LANES]

The loop runs for one cycle on a small tmpfs, its agents at an endpoint that answers a fifth of them with faults.
Again and again a leg of it is disturbed after a random time: killed, or its training stage, or both; told to end; its
disk filled; its memory bounded; and what it left is damaged where a crash could have. Then it goes on. In the end its
records, its adapters' weights and its scores are compared with those of a run that nothing happened to, and a diary
says what was done twice. What has been done is kept in runs/soak/, and the same command goes on until KILLS processes
have been killed. Prints Markdown for docs/measurements.md.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]
from endpoint import RESET, Endpoint, Say, body, running  # noqa: E402
from forked import Forked, server  # noqa: E402

from training.stages import WORK  # noqa: E402

KEPT = Path("runs/soak")
SIZE = 48
"""MiB of the disk that a run lies on."""
SHARE = 0.2
"""Of the endpoint's answers, those that are faults."""
FAULTS: tuple[Say, ...] = (408, 429, 429, 500, 502, 503, 529, RESET, b"", b"<html>Oh no</html>", body(None))
CONTENT: tuple[Say, ...] = ("", '{"harmful": tr', "I'm sorry, but I can't take part in this.")
"""Answers that are none. A prompt gets one in a row, for three in a row are a verdict that could not be had."""
LEGS = 8
"""Times that a run is disturbed before it is left alone."""
KINDS = {"kill": 9, "kill the stage": 2, "kill both": 1, "term": 2, "full": 2, "memory": 2}
"""What is done to a leg, and how often beside the others."""
KILLING = ("kill", "kill the stage", "kill both")
SOON = 25.0
"""Seconds within which a training stage is waited for."""
RECIPE = """
[target]
model = "sandbox:target"
max_tokens = 6
dials = {{ steps = 120 }}
[agents]
same_judge = true
attacker = {{ model = "openai:attacker", base_url = "{url}" }}
judge = {{ model = "openai:judge", base_url = "{url}" }}
measuring_judge = {{ model = "openai:oracle", base_url = "{url}" }}
writer = {{ model = "openai:writer", base_url = "{url}" }}
trainer = {{ model = "openai:trainer", base_url = "{url}" }}
[goals]
train = 8
held_out = 8
final = 4
[attack]
attempts = 12
waves = 2
strategies = ["direct", "plead", "fiction"]
held_out_strategies = ["fiction"]
[evals]
harm = 4
harm_seen_ways = 4
harm_adaptive = 0
over_refusal = 4
capability = 4
final = 4
[training]
batch = 4
threads = 1
[stop]
cycles = 1
"""


class Town:
    """What the endpoint says: what the sandbox's simulated models would, but for a share of faults.

    `keys` are those that it has been asked with, one for each request: a lane has one of its own.
    """

    def __init__(self, share: float, seed: int, keys: list[str]) -> None:
        from tools.sandbox.llms import simulated

        self.share, self.dice, self.faults, self.keys = share, random.Random(seed), 0, keys
        self.last: dict[str, bool] = {}
        self.models = {role: simulated(role) for role in ("attacker", "oracle", "writer", "trainer")}
        self.models["judge"] = simulated("judge", error=0.4, seed=1)

    def say(self, number: int, asked: dict[str, Any]) -> Say:
        messages = [(one["role"], one["content"]) for one in asked["messages"]]
        again = next((n for n, (_, said) in enumerate(messages) if said.startswith("That was not the JSON")), 0)
        messages = messages[: again - 1] if again else messages
        prompt = json.dumps([self.keys[number], asked["model"], messages])
        if self.dice.random() < self.share:
            self.faults += 1
            bad = self.dice.random() < 0.3 and not self.last.get(prompt)
            self.last[prompt] = bad or self.last.get(prompt, False)
            return self.dice.choice(CONTENT if bad else FAULTS)
        self.last[prompt] = False
        return str(self.models[asked["model"]].invoke(messages).text)


def leg(place: Path, command: list[str], limit: int = 0) -> Forked:
    """A process of breakfix in a folder; what it says is in `said.txt` there."""
    with (place.parent / "said.txt").open("ab") as said:
        diary = str(place.parent / "diary.txt")
        env = os.environ | {"OPENAI_API_KEY": place.parent.name}
        return Forked(["breakfix", diary, *command], stderr=said, cwd=place, limit=limit, env=env)


def stages(place: Path) -> list[psutil.Process]:
    """The processes of training stages that work in a folder."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.name() == "stage" and one.cwd() == str(place):
                found.append(one)
        except psutil.Error:
            continue
    return found


def disturbed(place: Path, command: list[str], kind: str, dice: random.Random, within: float) -> tuple[str, int | None]:
    """Begins a leg and disturbs it within so many seconds; what was done to it at last, `` where it ended before, and
    its exit status."""
    limit = dice.choice((20, 60, 200, 500)) << 20 if kind == "memory" else 0
    with leg(place, command, limit) as one:
        try:
            return ("" if kind != "memory" else kind), one.wait(None if limit else dice.uniform(0, within))
        except subprocess.TimeoutExpired:
            pass
        if kind == "kill the stage":
            until = time.monotonic() + SOON
            while not (at_work := stages(place)) and time.monotonic() < until and one.poll() is None:
                time.sleep(0.05)
            time.sleep(dice.uniform(0, 3))
            for stage in at_work:
                with suppress(psutil.Error):
                    stage.kill()
            if at_work and dice.random() < 0.5:
                return kind, one.wait()
            kind = "kill both" if at_work else "kill"
        if kind == "full":
            with filled(place, dice):
                return kind, one.wait()
        if kind == "kill both":
            for stage in stages(place):
                with suppress(psutil.Error):
                    stage.kill()
        one.signal(signal.SIGTERM if kind == "term" else signal.SIGKILL)
        return kind, one.wait()


@contextmanager
def filled(place: Path, dice: random.Random) -> Iterator[None]:
    """Leaves a disk without room, or with a little, until the leg has ended."""
    file, room = place / "filler", dice.choice((0, 4096, 100_000))
    with file.open("wb") as full:
        for _ in range(9):  # the leg writes meanwhile
            free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
            with suppress(OSError):
                os.posix_fallocate(full.fileno(), 0, max(1, os.fstat(full.fileno()).st_size + free - room))
    try:
        yield
    finally:
        file.unlink()


def torn(run: Path, dice: random.Random) -> bool:
    """Damages what a crash could have left half written: the ends of logs and curves, a checkpoint, an adapter that is
    not said to be whole. Whether there was anything."""
    ends = [run / "log.jsonl", *run.glob("adapters/*/curve.jsonl")]
    parts = [file for file in run.glob(f"adapters/*/{WORK}/checkpoint-*/*") if file.is_file()]
    parts += [file for file in run.glob("adapters/*/adapter_model.safetensors")
              if not (file.parent / "adapter.json").exists()]  # fmt: skip
    there = [file for file in (*ends, *parts) if file.is_file() and file.stat().st_size > 9]
    for file in there:
        with file.open("r+b") as open_file:
            open_file.truncate(file.stat().st_size - dice.randrange(1, 9))
    return bool(there)


def record(run: Path) -> dict[str, list[str]]:
    """Every record of a run by what it says, but for times; and its adapters' weights."""
    what = {
        "goals": "id", "attempts": "id || turns || error", "verdicts": "id || judge || coalesce(harmful, '?')",
        "examples": "id || chosen || rejected", "plans": "id", "adapters": "id || steps",
        "scores": "id || value || low || high || n",
    }  # fmt: skip
    with closing(sqlite3.connect(run / "memory.sqlite")) as memory:
        found = {table: sorted(str(one) for (one,) in memory.execute(f"select {said} from {table}"))
                 for table, said in what.items()}  # fmt: skip
    files = sorted(run.glob("adapters/*/adapter_model.safetensors"))
    return found | {"weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]}


def twice(diary: Path) -> int:
    """Attempts, verdicts and stages that were done more than once."""
    return sum(times - 1 for times in Counter(diary.read_text().splitlines()).values())


def begun(place: Path) -> list[str]:
    """The command that begins a run there, or goes on with it."""
    started = (place / "runs" / "one" / "recipe.toml").is_file()
    return ["resume", "runs/one"] if started else ["run", "recipe.toml", "--run", "one"]


@contextmanager
def disk(place: Path) -> Iterator[Path]:
    """A small tmpfs in a folder, or a part of the disk that it is on where none can be mounted."""
    place.mkdir(parents=True)
    asked = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)]
    mounted = not subprocess.run(asked, check=False, capture_output=True).returncode
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def one_run(folder: Path, url: str, seed: int, legs: int, within: float) -> dict[str, Any]:
    """A run that is disturbed in that many legs, each within so many seconds, and then left alone: what was done to it,
    and its record."""
    shutil.rmtree(folder, ignore_errors=True)
    dice, done, ends = random.Random(seed), Counter[str](), Counter[str]()
    with disk((folder / "disk").resolve()) as place:
        (place / "recipe.toml").write_text(RECIPE.format(url=url))
        run = place / "runs" / "one"
        status: int | None = None
        for kind in dice.choices(list(KINDS), list(KINDS.values()), k=legs):
            kind = "kill" if kind == "full" and not place.is_mount() else kind
            what, status = disturbed(place, begun(place), kind, dice, within)
            if what:
                done[what] += 1
                ends[f"{what}: {status}"] += 1
            done["torn"] += what in KILLING and dice.random() < 0.5 and torn(run, dice)
            if status == 0 and what == "":
                break
        while status != 0:
            with leg(place, begun(place)) as one:
                status = one.wait()
            ends[f"left alone: {status}"] += 1
            if ends.total() > legs + 3 * LEGS:
                raise RuntimeError(f"seed {seed} does not end: {ends}")
        found = record(run)
    said = (folder / "said.txt").read_text(errors="replace")
    return {"seed": seed, "done": dict(done), "ends": dict(ends), "record": found, "twice": twice(folder / "diary.txt"),
            "tracebacks": said.count("Traceback (most recent")}  # fmt: skip


def compared(found: dict[str, Any], undisturbed: dict[str, list[str]]) -> dict[str, Any]:
    """The same, with the records that were lost and those that are others, or there twice, in place of the record."""
    mine, lost, more = found.pop("record"), dict[str, list[str]](), dict[str, list[str]]()
    for table, before in undisturbed.items():
        here, there = Counter(mine[table]), Counter(before)
        lost[table], more[table] = sorted((there - here).elements()), sorted((here - there).elements())
    return found | {"lost": {k: v for k, v in lost.items() if v}, "more": {k: v for k, v in more.items() if v}}


def main(kills: int = 200, lanes: int = 1, legs: int = LEGS, kept: Path = KEPT) -> list[dict[str, Any]]:
    kept.mkdir(parents=True, exist_ok=True)
    file, known = kept / "runs.jsonl", kept / "undisturbed.json"
    finished = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    port = json.loads(known.read_text())["port"] if known.exists() else 0
    endpoint = Endpoint(port=port)
    town, turn = Town(0.0, len(finished), endpoint.keys), threading.Lock()
    endpoint.say = town.say
    with server(kept), running(endpoint) as at:
        if not known.exists():
            began = time.monotonic()
            calm = one_run(kept / "undisturbed", at.url, 0, 0, 0)
            took = time.monotonic() - began
            known.write_text(json.dumps({"port": at.port, "record": calm["record"], "seconds": took}))
        calmly = json.loads(known.read_text())
        undisturbed, town.share = calmly["record"], SHARE
        seeds = iter(range(len(finished) + 1, 100_000))

        def lane(number: int) -> None:
            while sum(killed(one) for one in finished) < kills:
                with turn:
                    seed = next(seeds)
                found = compared(one_run(kept / f"lane-{number}", at.url, seed, legs, calmly["seconds"]), undisturbed)
                with turn:
                    finished.append(found | {"endpoint faults": town.faults})
                    town.faults = 0
                    with file.open("a") as out:
                        out.write(json.dumps(finished[-1]) + "\n")
                    print(json.dumps(finished[-1]), file=sys.stderr, flush=True)

        threads = [threading.Thread(target=lane, args=[number]) for number in range(lanes)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    print(table(finished, undisturbed))
    return finished


def done_to(one: dict[str, Any]) -> Counter[str]:
    """What was done to a run, without what came when its process had just ended, or was no matter to it."""
    found = Counter({"torn": one["done"].get("torn", 0)})
    for end, times in one["ends"].items():
        what, _, status = end.partition(": ")
        found[what] += times if status != "0" or what == "kill the stage" else 0
    return found


def killed(one: dict[str, Any]) -> int:
    return sum(done_to(one)[kind] for kind in KILLING)


def table(finished: list[dict[str, Any]], undisturbed: dict[str, list[str]]) -> str:
    """What was done to how many runs, and what came of it."""
    done = sum(map(done_to, finished), Counter[str]())
    rows = {
        "runs": len(finished), "records in each": sum(map(len, undisturbed.values())),
        **{what: done[what] for what in (*KINDS, "torn")},
        "faults of the endpoint": sum(one["endpoint faults"] for one in finished),
        "records lost": sum(len(some) for one in finished for some in one["lost"].values()),
        "records that an undisturbed run has not": sum(len(some) for one in finished for some in one["more"].values()),
        "done twice": sum(one["twice"] for one in finished),
        "tracebacks": sum(one["tracebacks"] for one in finished),
    }  # fmt: skip
    return "\n".join(["| what | number |", "| --- | --- |", *(f"| {name} | {n} |" for name, n in rows.items())])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
