"""Fuzzes every parser of text from outside, guided by coverage (https://github.com/google/atheris), one after another.

python -m tests.benchmarks.fuzz [PARSER ...] [--minutes 10]

It wants `pip install atheris`. What was found by coverage is kept in `.fuzz/PARSER/corpus`, and how long each has been
fuzzed, so that it goes on where it was stopped until each has had its minutes of the processor. What a parser raises
and may not is written down once for each place that raises it, in `.fuzz/PARSER/found`, and fuzzing goes on.
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".fuzz"
LONGEST, MEMORY = 120, 3000
"""Seconds for one input, of a clock and so on a busy machine, and MB for all of them: more is a finding."""
SPACE = 10 * 2**30
"""Bytes that may be asked for: what takes more at once fails there, before the machine does."""
PIECE = 240
"""Seconds at a time, after which how far it came is written down."""
OURS = ("agents", "evals", "graph", "tools", "training")
CODE = (*OURS, "json", "csv", "tomllib", "ast", "urllib")
"""Packages whose coverage is watched."""


def main(arguments: list[str] | None = None) -> None:
    top = argparse.ArgumentParser(description="Fuzzes every parser of text from outside.")
    top.add_argument("parsers", nargs="*")
    top.add_argument("--minutes", type=float, default=10)
    top.add_argument("--piece", type=float, help=argparse.SUPPRESS)
    asked = top.parse_args(arguments)
    if asked.piece:
        piece(asked.parsers[0], asked.piece)
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from parsers import PARSERS

    for name in asked.parsers or PARSERS:
        fuzzed(name, asked.minutes * 60)
    print(shown())


def fuzzed(name: str, seconds: float) -> None:
    """Fuzzes one parser until it has had so many seconds of the processor in all."""
    while (left := seconds - told(name)["cpu"]) > 0:
        began, before = time.monotonic(), told(name)["runs"]
        command = [sys.executable, "-m", "tests.benchmarks.fuzz", name, "--piece", str(min(PIECE, left))]
        with (folder(name) / "log.txt").open("ab") as log:
            ended = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
        now = told(name)
        print(f"{name}: {now['cpu']:.0f} of {seconds:.0f} s, {now['runs']} inputs, "
              f"{len(list((folder(name) / 'found').iterdir()))} findings", file=sys.stderr, flush=True)  # fmt: skip
        if now["runs"] == before and time.monotonic() - began < 5:
            raise SystemExit(f"{name}: the fuzzer ended with {ended} and tried nothing; see {folder(name) / 'log.txt'}")


def piece(name: str, seconds: float) -> None:
    """Fuzzes one parser for some seconds, in this process, which libFuzzer ends."""
    import atheris

    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    sys.path.insert(0, str(ROOT / "tests"))
    with atheris.instrument_imports(include=list(CODE), enable_loader_override=False):
        from fuzzing import spoilt
        from parsers import PARSERS

        parser = PARSERS[name]()
    before, began, used, last = told(name), time.monotonic(), time.process_time(), [time.monotonic()]
    counted = [0]

    def once(data: bytes) -> None:
        counted[0] += 1
        try:
            parser.once(data)
        except Exception as error:
            found(name, data, error)
        now = time.monotonic()
        if now - last[0] > 1:
            last[0] = now
            so_far = {"seconds": before["seconds"] + now - began, "cpu": before["cpu"] + time.process_time() - used,
                      "runs": before["runs"] + counted[0]}  # fmt: skip
            (folder(name) / "told.json").write_text(json.dumps(so_far))

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        some = spoilt(data, dice) if dice.random() < 0.6 else atheris.Mutate(data, most)
        return bytes(some[:most])

    corpus = folder(name) / "corpus"
    for seed in parser.inputs():
        (corpus / hashlib.sha256(seed).hexdigest()[:20]).write_bytes(seed)
    options = [f"-max_total_time={int(max(1, seconds))}", f"-timeout={LONGEST}", f"-rss_limit_mb={MEMORY}",
               "-max_len=20000", f"-artifact_prefix={folder(name) / 'found'}/", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], once, custom_mutator=mutated)
    atheris.Fuzz()


def found(name: str, data: bytes, error: Exception) -> None:
    """Writes down an input, once for each place in our code and kind of error."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if f"{ROOT}/" in one.filename]
    own = [one for one in frames if Path(one.filename).relative_to(ROOT).parts[0] in OURS]
    place = own[-1] if own else frames[-1]
    key = hashlib.sha256(f"{type(error)} {place.filename}:{place.lineno}".encode()).hexdigest()[:12]
    path = folder(name) / "found" / key
    if not path.exists():
        path.write_bytes(data)
        told = "".join(traceback.format_exception(error))
        print(f"FOUND {key} {type(error).__name__}: {error} at {place.filename}:{place.lineno}\n{told}", flush=True)


def folder(name: str) -> Path:
    for part in ("corpus", "found"):
        (KEPT / name / part).mkdir(parents=True, exist_ok=True)
    return KEPT / name


def told(name: str) -> dict[str, Any]:
    path = folder(name) / "told.json"
    return json.loads(path.read_text()) if path.is_file() else {"seconds": 0.0, "cpu": 0.0, "runs": 0}


def shown() -> str:
    """The table of what was fuzzed."""
    lines = ["| parser | minutes | of the processor | inputs | kept by coverage | findings |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for path in sorted(KEPT.iterdir()):
        one = told(path.name)
        sizes = [len(list((path / part).iterdir())) for part in ("corpus", "found")]
        minutes = f"{one['seconds'] / 60:.1f} | {one['cpu'] / 60:.1f}"
        lines.append(f"| {path.name} | {minutes} | {one['runs']:,} | {sizes[0]} | {sizes[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
