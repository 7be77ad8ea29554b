"""Recorded conversations as goals and attempts: one's own, those of PyRIT and garak, and published artifacts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tools.formats import garak, pyrit
from tools.formats.artifacts import jbb, phi3
from tools.formats.rows import Parsed, Row, jsonl, own_csv
from tools.goals import behaviors, jbb_area
from tools.records import BASE, Attempt, Goal, digest

Format = Literal["jsonl", "csv", "jbb", "phi3", "pyrit", "garak"]
NOTHING = "the recording has no response"
SAID = {"role", "text", "plain"}


@dataclass(frozen=True)
class Imported:
    """What a file of recordings held.

    A row whose prompt or response is null is an attempt with `error` set and no turns: it was tried, and what came of
    it is not known. `malformed` names each row that could not be read, and why; the others are imported.
    """

    goals: tuple[Goal, ...]
    attempts: tuple[Attempt, ...]
    flags: dict[str, dict[str, bool]]
    """What the file's own judges said, by attempt id and the file's name for the judge; only where there are turns."""
    malformed: tuple[str, ...]


def read(path: Path, format: Format, cycle: int = 0, categories: Path | None = None) -> Imported:
    """The recordings of a file.

    Goals are `harmful` and `train`. Attempts have the purpose `import`, the target `base`, and as seed a hash of the
    model and of what was said, so that the same recording has the same id wherever it is read from. Formats:

    - `jsonl`: a line for each, `{"goal": ..., "turns": [{"role": "user", "text": ...}, {"role": "assistant", ...}]}`,
      or `prompt` and `response` in place of `turns`; `area`, `language` (en), `model`, `persona` (intermediate),
      `strategy` (recorded) and `flag` (true: it broke the model) may be left out;
    - `csv`: the same with a head; the rows that have one `conversation` are its turns, in order;
    - `jbb`: a JailbreakBench artifact (https://github.com/JailbreakBench/artifacts), area by its category;
    - `phi3`: the artifact of Andriushchenko and Flammarion (arXiv 2407.11969), whose requests are JailbreakBench's:
      area by request where `categories`, JailbreakBench's `harmful-behaviors.csv`, is given, else empty;
    - `pyrit`: what PyRIT's memory holds, see `tools.formats.pyrit`;
    - `garak`: a report of garak, see `tools.formats.garak`.

    Raises ValueError, one line, for a file that cannot be read, is of another format or holds no recordings.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is no format of recordings; there are {', '.join(get_args(Format))}")
    known = behaviors(categories).values() if categories else ()
    areas = {row["Goal"]: jbb_area(row["Category"], row["Behavior"]) for row in known}
    goals: dict[str, Goal] = {}
    attempts: dict[str, Attempt] = {}
    flags: dict[str, dict[str, bool]] = {}
    malformed: list[str] = []
    for place, parse in FORMATS[format](path, areas):
        try:
            row = parse()
        except (ValueError, RecursionError) as error:
            malformed.append(f"{place}: {error}")
            continue
        except (LookupError, TypeError, AttributeError) as error:
            malformed.append(f"{place}: not laid out as format {format!r} is: {type(error).__name__}: {error}")
            continue
        goal = Goal(text=row.text, area=row.area, intent="harmful", source=row.source, split="train")
        attempt = attempt_of(row, goal, cycle)
        if attempt.id in attempts:
            malformed.append(f"{place}: the same recording as an earlier row")
            continue
        goals[goal.id], attempts[attempt.id] = goal, attempt
        if row.turns and row.flags:
            flags[attempt.id] = row.flags
    if not attempts:
        why = f": {malformed[0]}" if malformed else ""
        raise ValueError(f"{path} holds no recordings of format {format!r}{why}; is it of that format?")
    return Imported(tuple(goals.values()), tuple(attempts.values()), flags, tuple(malformed))


def attempt_of(row: Row, goal: Goal, cycle: int) -> Attempt:
    said = [turn.model_dump(include=SAID) for turn in row.turns]
    seed = int(digest(row.model, said, *([row.key] if row.key else []))[:8], 16)
    return Attempt(
        goal=goal.id, persona=row.persona, strategy=row.strategy, converters=row.converters, language=row.language,
        target=BASE, cycle=cycle, seed=seed, purpose="import", turns=row.turns, error="" if row.turns else NOTHING,
    )  # fmt: skip


FORMATS: dict[str, Callable[[Path, dict[str, str]], Parsed]] = {
    "jsonl": jsonl, "csv": own_csv, "jbb": jbb, "phi3": phi3, "pyrit": pyrit.read, "garak": garak.read,
}  # fmt: skip
