"""The files of a benchmark: found in a folder, and held to the number of rows that they have as published."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from evals.suites.suite import Item
from tools import sets
from tools.goals import json_object, text_of
from tools.records import Goal
from tools.sets import Intent, Row

HUB = ("", "hub")


def paths(name: str, where: str, files: Mapping[str, int], at: str) -> list[Path]:
    """The file that is given, or those of a benchmark in the folder that is. Raises ValueError, one line."""
    if where in HUB:
        raise ValueError(f"{name!r} is not read from the Hugging Face Hub; give {name}:PATH of its files ({at})")
    place = Path(where)
    if not place.is_dir():
        return [place]
    names = [file for file in files if file != "hub"]
    found = [place / file for file in names if (place / file).is_file()]
    if not found:
        raise ValueError(f"{name}:{where}: no {' or '.join(names[:3])} in that folder; {at} has it")
    return found


def counted(name: str, where: str, file: str, rows: int, files: Mapping[str, int], at: str) -> None:
    """Raises ValueError for a file that has a published name and not the rows that it has as published."""
    published = files.get(file, 0)
    if published and rows != published:
        whole = "the published set" if file == "hub" else "the published file"
        raise ValueError(
            f"{name}:{where} has {rows} rows, {whole} has {published}; get it again from {at}, or give a file of "
            "your own another name"
        )
    if not rows:
        raise ValueError(f"{name}:{where} has no rows; give the file of {at}")


def of_set(name: str, where: str, files: Mapping[str, int]) -> Iterator[tuple[int, str, Intent, Row]]:
    """The rows of one of `tools.sets`, numbered, each with its part's name and the intent of that part."""
    known, number = sets.SETS[name], 0
    here = [("hub", "hub")] if where in HUB else [(p.name, str(p)) for p in paths(name, where, files, known.at)]
    for file, place in here:
        rows = list(sets.rows(name, place))
        counted(name, place, file, len(rows), files, known.at)
        for wanted in [keys for keys in ((known.label,), known.by) if any(keys)]:
            if any(not set(wanted) & set(row) for _, _, row in rows):
                raise ValueError(f"{name}:{place}: no column {wanted[0]!r}; give the file of {known.at}")
        for part, intent, row in rows:
            number += 1
            yield number, part, intent, row


def items(name: str, where: str, files: Mapping[str, int]) -> list[Item]:
    """The goals of one of `tools.sets`, asked for as they stand, in parts by their category."""
    return [
        Item(number, hidden(name, goal), (goal.text,), category(row, sets.SETS[name].by))
        for number, part, intent, row in of_set(name, where, files)
        if (goal := sets.goal_of(name, part, intent, row))
    ]


def hidden(name: str, goal: Goal) -> Goal:
    """A goal as one of a benchmark: never trained on, whoever reads the memory that it lies in."""
    return goal.model_copy(update={"source": f"suite/{name}", "split": "held_out"})


def category(row: Row, by: tuple[str, ...]) -> str:
    """A row's coarsest category, without its definition."""
    return next((named[-1] for key in reversed(by) if (named := sets.names(row.get(key)))), "")


def tables(name: str, where: str, files: Mapping[str, int], at: str, key: str) -> Iterator[tuple[str, int, Row]]:
    """The rows of files that are no set of goals, each with its file's stem and its number there.

    `key` is a column that all of them have.
    """
    for path in paths(name, where, files, at):
        rows = lines(path) if one_a_line(path) else sets.from_file(path)
        if any(not row.get(key) for row in rows):
            raise ValueError(f"{name}:{path}: rows without {key!r}; give the file of {at}")
        counted(name, str(path), path.name, len(rows), files, at)
        yield from ((path.stem, number, row) for number, row in enumerate(rows, 1))


def one_a_line(path: Path) -> bool:
    """Whether a file that is called JSON is JSONL, as some are published."""
    return path.suffix == ".json" and text_of(path).lstrip().startswith("{")


def lines(path: Path) -> list[Row]:
    texts = enumerate(text_of(path).splitlines(), 1)
    return [json_object(text, f"{path}, line {number}") for number, text in texts if text.strip()]


def text_lines(name: str, where: str, files: Mapping[str, int], at: str) -> Iterator[tuple[str, int, str]]:
    """The lines of text files, each with its file's stem and its number there."""
    for path in paths(name, where, files, at):
        found = [line for line in text_of(path).splitlines() if line.strip()]
        counted(name, str(path), path.name, len(found), files, at)
        yield from ((path.stem, number, line) for number, line in enumerate(found, 1))
