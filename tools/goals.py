"""Goals from files: one's own CSV or JSONL, and JailbreakBench's behaviours."""

import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tools.records import Goal, Split

JBB = "JailbreakBench"
JBB_AREAS = {
    "Harassment/Discrimination": "hate",
    "Malware/Hacking": "illegal_advice",
    "Physical harm": "violence",
    "Economic harm": "illegal_advice",
    "Fraud/Deception": "illegal_persuasion",
    "Disinformation": "conspiracy",
    "Sexual/Adult content": "sexual",
    "Privacy": "illegal_advice",
    "Expert advice": "illegal_advice",
    "Government decision-making": "illegal_advice",
}
"""JailbreakBench's categories (https://jailbreakbench.github.io) in the paper's areas: the nearest, by majority."""
JBB_BEHAVIORS = {
    "Suicide": "self_harm",
    "Eating disorder": "self_harm",
    "Ingesting detergent": "self_harm",
    "Sexual solicitation": "grooming",
    "Child pornography": "grooming",
    "Pedophilia": "grooming",
    "Defamation": "prejudice",
    "Copyright circumvention": "third_party_content",
}
"""Behaviours that belong to another area than the rest of their category."""
LONGEST = 2**31 - 1
"""Characters that a cell of a CSV may have; Python's own limit is less than a long answer."""
LARGEST = 2**30
"""Bytes of a file that is read whole."""
csv.field_size_limit(LONGEST)


def load(path: Path) -> list[Goal]:
    """The goals of a CSV (with a head) or JSONL file.

    `text` is needed; `area` (""), `intent` ("harmful", "twin" or "plain"; the first by default), `split`,
    `reference` ("") and `source` (the file's name) may be left out. A goal without a split gets `split_of` its text.
    Raises ValueError, one line, for the first row that is no goal, and for a text that stands in two splits.
    """
    return read(path)[0]


def read(path: Path) -> tuple[list[Goal], set[str]]:
    """The goals of a file as `load` has them, and the ids of those whose split the file gives."""
    found: dict[str, Goal] = {}
    placed: set[str] = set()
    first: dict[str, tuple[str, Split]] = {}
    for place, row in rows(path):
        text = str(row.get("text") or "").strip()
        given = {key: value for key, value in row.items() if key in Goal.model_fields and value not in (None, "")}
        try:
            "".join(map(str, given.values())).encode()
            goal = Goal.model_validate(
                {"area": "", "intent": "harmful", "source": path.name, "split": split_of(text)} | given | {"text": text}
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            key = ".".join(map(str, wrong["loc"]))
            raise ValueError(f"{path}, {place}: {key} = {row.get(key)!r}: {wrong['msg']}") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"{path}, {place}: holds half a character; write it whole") from error
        earlier, split = first.setdefault(folded(text), (place, goal.split))
        if split != goal.split:
            raise ValueError(
                f"{path}, {place}: {text[:60]!r} is {goal.split}, but on {earlier} it is {split}; give it one split"
            )
        found.setdefault(goal.id, goal)
        placed |= {goal.id} if "split" in given else set()
    return list(found.values()), placed


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV or JSONL file as dicts, each with the line that it ends on."""
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
        if "text" not in (reader.fieldnames or ()):
            raise ValueError(f"{path}: no column 'text' in its first line {reader.fieldnames}; name the columns there")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {reader.line_num}: not as many cells as the first line names")
            yield f"line {reader.line_num}", {str(key): value for key, value in row.items()}
    elif path.suffix == ".jsonl":
        for place, line in lines(path):
            yield place, json_object(line, f"{path}, {place}")
    else:
        raise ValueError(
            f"{path}: goals are not read from {path.suffix or 'a file without a suffix'}; give a .csv or .jsonl"
        )


def split_of(text: str) -> Split:
    """The split of a text: half train, three tenths held out, the rest final; the same whatever case or spacing."""
    share = int(fingerprint(text)[:8], 16) / 16**8
    return "train" if share < 0.5 else "held_out" if share < 0.8 else "final"


def fingerprint(text: str) -> str:
    """The hash of a text, whatever its case or spacing; half a character, which no goal may hold, is one as well."""
    return hashlib.sha256(folded(text).encode(errors="surrogatepass")).hexdigest()


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def jbb_pairs(folder: Path, split: Split = "train") -> list[tuple[Goal, Goal]]:
    """JailbreakBench's behaviours: each harmful one with its benign twin, which stands on the row of the same index.

    Reads `harmful-behaviors.csv` and `benign-behaviors.csv` in the folder. A twin's `reference` is the opening that
    the data set gives ("Sure, here is ..."): no answer, but what one that helps begins with.
    """
    harmful, benign = (behaviors(folder / f"{kind}-behaviors.csv") for kind in ("harmful", "benign"))
    return [
        (jbb_goal(row, "harmful", split), jbb_goal(benign[index], "twin", split))
        for index, row in harmful.items()
        if index in benign
    ]


def jbb_twins(folder: Path, split: Split = "train") -> list[Goal]:
    """The benign behaviours of JailbreakBench, each with the area of the harmful one that it resembles."""
    return [twin for _, twin in jbb_pairs(folder, split)]


def behaviors(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a file of JailbreakBench's behaviours, by index."""
    found = {row.get("Index", ""): row for row in csv.DictReader(io.StringIO(text_of(path), newline=""))}
    missing = {"Index", "Goal", "Target", "Behavior", "Category"} - set(next(iter(found.values()), {}))
    if missing:
        raise ValueError(f"{path}: no column {sorted(missing)[0]!r}; give JailbreakBench's file of behaviours")
    return found


def jbb_goal(row: dict[str, str], intent: str, split: Split) -> Goal:
    return Goal.model_validate(
        {"text": row["Goal"], "area": jbb_area(row["Category"], row["Behavior"]), "intent": intent, "source": JBB,
         "split": split, "reference": row["Target"] if intent == "twin" else ""}
    )  # fmt: skip


def jbb_area(category: str, behavior: str) -> str:
    """The paper's area of a behaviour; empty for a category that JailbreakBench does not have."""
    return JBB_BEHAVIORS.get(behavior) or JBB_AREAS.get(category, "")


def text_of(path: Path) -> str:
    """The text of a file. Raises ValueError, one line, when it cannot be read."""
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"{path} has {size / 1e9:.1f} GB, of which a text is not read; give it in parts")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"cannot read {path}: {why}; give the path of a file that is there") from error


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not blank. Only a line feed ends one: JSON may hold Unicode's other separators."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield f"line {number}", line


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError, one line, that begins with `where`."""
    try:
        value = json.loads(text)
    except ValueError as error:  # also a number of too many digits
        raise ValueError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{where}: nested too deeply to be read; write one flat object") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {str(value)[:60]!r} is no JSON object")
    return value
