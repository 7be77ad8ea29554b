"""Goals from the public sets of safety prompts, and one split for all that are near-duplicates."""

import ast
import csv
import io
import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tools import goals as files
from tools.records import Goal, Split
from tools.similarity import joined, near

Row = dict[str, Any]
Intent = Literal["harmful", "twin"]
STRICTER: tuple[Split, ...] = ("train", "held_out", "final")


class PublicSet(BaseModel):
    """How a set is read: an entry of `sets.toml`, whose head says what each key means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    files: dict[str, Intent]
    hub: dict[str, Intent] = {}
    text: tuple[str, ...]
    context: tuple[str, ...] = ()
    by: tuple[str, ...]
    label: str = ""
    labels: dict[str, Intent] = {}
    pair: str = ""
    only: dict[str, str] = {}
    left_out: frozenset[str] = frozenset()
    areas: dict[str, str] = {}


class Found(BaseModel):
    """Goals as they were read, each with a split of its own."""

    goals: list[Goal]
    given: set[str] = set()
    """Ids of those whose file gives the split."""
    pairs: dict[str, str] = {}
    """For the ids of a harmful goal and its twin, the name of the pair."""


def sets() -> dict[str, PublicSet]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    tables["jailbreakbench"]["areas"] = files.JBB_BEHAVIORS | files.JBB_AREAS
    return {name: PublicSet.model_validate(table) for name, table in tables.items()}


SETS = sets()


def parts(source: str) -> tuple[str, str]:
    """The name of a set and where it lies; for a file of one's own, an empty name and its path.

    The name need not be one that there is. Where it lies is a path, or `hub` (or nothing) for the Hugging Face Hub.
    """
    name, _, where = source.partition(":")
    own = name not in SETS and ("/" in name or "." in name)
    return ("", source) if own else (name, where)


def anchored(source: str, path: Callable[[str], str]) -> str:
    """A source with its path, if it has one, put through `path`."""
    name, where = parts(source)
    if not name:
        return path(where)
    return source if name not in SETS or where in ("", "hub") else f"{name}:{path(where)}"


def load(source: str) -> list[Goal]:
    """The goals of `NAME:PATH` (a file of a set, or a folder with its files), `NAME:hub` or `NAME`, or a file's path.

    Of sets in several languages the English rows are read: attackers put a goal into a conversation's language. A
    category that is not in `sets.toml` has no area. Raises ValueError, one line.
    """
    return read(source).goals


def gathered(sources: Iterable[str]) -> list[Goal]:
    """The goals of several sources, near-duplicates and pairs in one split."""
    found = [read(source) for source in sources]
    unique = {goal.id: goal for each in found for goal in each.goals}
    given = {one for each in found for one in each.given}
    return together(list(unique.values()), given, {one: pair for each in found for one, pair in each.pairs.items()})


def read(source: str) -> Found:
    """What `load` gives, with what `together` needs to know of it."""
    name, where = parts(source)
    if not name:
        goals, given = files.read(Path(where))
        return Found(goals=goals, given=given)
    if name not in SETS:
        raise ValueError(f"{source!r} is no set of goals; there are {', '.join(SETS)}, or give a .csv or .jsonl file")
    goals_by_id: dict[str, Goal] = {}
    pairs: dict[str, str] = {}
    for part, intent, row in rows(name, where):
        goal = goal_of(name, part, intent, row)
        if goal is not None:
            goals_by_id.setdefault(goal.id, goal)
            pairs |= {goal.id: f"{name}/{row[SETS[name].pair]}"} if SETS[name].pair in row else {}
    return Found(goals=list(goals_by_id.values()), pairs=pairs)


def goal_of(name: str, part: str, intent: Intent, row: Row) -> Goal | None:
    """The goal of a row; None for a row that is none."""
    known = SETS[name]
    text = text_in(known, row)
    context = next((str(row[key]).strip() for key in known.context if row.get(key)), "")
    intent = intent_of(name, intent, row)
    category = [named for key in known.by for named in names(row.get(key))] + [part]
    other = any(row.get(key, value) != value for key, value in known.only.items())
    if not text or other or (intent == "harmful" and known.left_out & set(category)):
        return None
    area = next((known.areas[named] for named in known.areas if named in category), "")
    whole = f"{text}\n\n{context}" if context else text
    try:
        return Goal(text=whole, area=area, intent=intent, source=name, split=files.split_of(whole))
    except ValidationError as error:
        raise ValueError(f"{name}: {whole[:60]!r} is no text; give the file as it is published") from error


def text_in(known: PublicSet, row: Row) -> str:
    return next((str(row[key]).strip() for key in known.text if row.get(key)), "")


def intent_of(name: str, part: Intent, row: Row) -> Intent:
    """The intent of a row: what its label says, or that of the part it stands in."""
    known = SETS[name]
    return known.labels[str(row[known.label])] if known.label else part


def names(value: object) -> list[str]:
    """The categories of a cell: one, one before its definition ("Name: what it is"), or a list of them."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # then it is a name with a bracket
            value = ast.literal_eval(value)
    if isinstance(value, list):
        return [str(one) for one in value]
    return [str(value), str(value).partition(":")[0]] if value else []


def rows(name: str, where: str) -> Iterator[tuple[str, Intent, Row]]:
    """The rows of a set, each with the name of the part that it stands in and the intent of that part."""
    known = SETS[name]
    if where in ("", "hub"):
        found = ((spec.split(":")[1], intent, from_hub(name, spec, known.at)) for spec, intent in known.hub.items())
        if not known.hub:
            raise ValueError(f"{name!r} is not on the Hugging Face Hub; give {name}:PATH of its files ({known.at})")
    else:
        found = ((path.stem, intent, from_file(path)) for path, intent in paths(name, Path(where)))
    for part, intent, part_rows in found:
        for number, row in enumerate(part_rows):
            missing = [keys[0] for keys in (known.text, (known.label,)) if any(keys) and not set(keys) & set(row)]
            if missing and not number:
                raise ValueError(f"{name}:{where}: no column {missing[0]!r} in {part!r}; give the file of {known.at}")
            if known.label and row.get(known.label) not in known.labels:
                raise ValueError(
                    f"{name}:{where}: row {number + 1} has {known.label} {row.get(known.label)!r}, which is none of "
                    f"{', '.join(known.labels)}; give the file of {known.at}"
                )
            yield part, intent, row


def paths(name: str, where: Path) -> list[tuple[Path, Intent]]:
    """The files of a set: the one that is given, or those of a folder."""
    known = SETS[name]
    if not where.is_dir():
        return [(where, known.files.get(where.name, next(iter(known.files.values()))))]
    found: list[tuple[Path, Intent]] = [
        (where / file, intent) for file, intent in known.files.items() if (where / file).is_file()
    ]
    if not found:
        raise ValueError(f"{name}:{where}: no {' or '.join(known.files)} in that folder; {known.at} has them")
    return found


def from_file(path: Path) -> list[Row]:
    """The rows of a CSV, a JSON (a list of rows, or questions in categories in categories) or a JSONL file."""
    if path.suffix == ".jsonl":
        return from_lines(path)
    text = files.text_of(path)
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    try:
        found = json.loads(text)
        if isinstance(found, list):
            return [dict(row.items()) for row in found]
        return [
            {"Category": above, "Subcategory": below, "Question": question}
            for above, inner in found.items() for below, questions in inner.items() for question in questions
        ]  # fmt: skip
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path}: no rows of a public set in it ({error}); give the file as it is published"
        ) from error


def from_lines(path: Path) -> list[Row]:
    return [files.json_object(line, f"{path}, {place}") for place, line in files.lines(path)]


def from_hub(name: str, spec: str, at: str) -> list[Row]:
    """The rows of one part of a set on the Hugging Face Hub, which `datasets` keeps a copy of."""
    repository, config, split = spec.split(":")
    try:
        from datasets import load_dataset

        return [dict(row) for row in load_dataset(repository, config or None, split=split)]
    except (ImportError, OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(f"cannot read {name!r} from the Hugging Face Hub ({repository}): {why}; "
                         f"give {name}:PATH of its files ({at})") from error  # fmt: skip


def together(goals: Sequence[Goal], given: Collection[str] = (), pairs: Mapping[str, str] | None = None) -> list[Goal]:
    """The goals in their order, with one split for each cluster of near-duplicates, of whatever sources.

    `given` holds the ids of goals whose file gives the split, and `pairs` names the pair of an id: a harmful goal and
    its twin, which stay together too. A cluster has the strictest of its given splits (final, then held out, then
    train); without any, that of its member with the least hash, read backwards, as `split_of` reads it forwards.
    So the order of the sources is all the same, and a set that is added moves only goals that it has a near-duplicate
    of.
    """
    clusters = joined(len(goals), chain(near([goal.text for goal in goals]), paired(goals, pairs or {})))
    members: dict[int, list[Goal]] = {}
    for goal, cluster in zip(goals, clusters, strict=True):
        members.setdefault(cluster, []).append(goal)
    splits = {cluster: split_of(each, given) for cluster, each in members.items()}
    return [goal.model_copy(update={"split": splits[cluster]}) for goal, cluster in zip(goals, clusters, strict=True)]


def paired(goals: Sequence[Goal], pairs: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for place, goal in enumerate(goals):
        if goal.id in pairs:
            yield first.setdefault(pairs[goal.id], place), place


def split_of(cluster: Sequence[Goal], given: Collection[str]) -> Split:
    named = [goal.split for goal in cluster if goal.id in given]
    if named:
        return max(named, key=STRICTER.index)
    return files.split_of(min((goal.text for goal in cluster), key=lambda text: files.fingerprint(text)[::-1]))
