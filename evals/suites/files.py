"""The files of a benchmark: found in a folder, and held to what they are as published."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.suites.suite import Item, Published
from tools import sets
from tools.goals import lines, text_of
from tools.records import Goal
from tools.sets import Intent, Row

HUB = ("", "hub")
TWICE = {"do_not_answer": 1, "xsafety": 5, "catqa": 7}
"""How many rows of a set, or of one of its files, say again what another says, as published; of all others none."""


def paths(name: str, where: str, files: Mapping[str, Published], at: str) -> list[Path]:
    """The file that is given, or all of a benchmark in the folder that is. Raises ValueError, one line."""
    if where in HUB:
        raise ValueError(f"{name!r} is not read from the Hugging Face Hub; give {name}:PATH of its files ({at})")
    place = Path(where)
    if not place.is_dir():
        return [place]
    names = [file for file in files if file != "hub"]
    missing = [file for file in names if not (place / file).is_file()]
    if missing:
        alone = "" if len(missing) == len(names) else "; or give one file alone, for what that measures"
        raise ValueError(f"{name}:{where}: no {' or '.join(missing[:3])} in that folder; {at} has it{alone}")
    return [place / file for file in names]


def counted(
    name: str, where: str, file: str, kinds: Sequence[str], files: Mapping[str, Published], at: str
) -> None:  # fmt: skip
    """Raises ValueError for a file that has a published name and not the rows, of each kind, that it then has."""
    published, found = files.get(file, 0), Counter(kinds)
    whole = "the published set" if file == "hub" else "the published file"
    rows = published if isinstance(published, int) else sum(published.values())
    mend = f"get it again from {at}, or give a file of your own another name"
    if rows and len(kinds) != rows:
        raise ValueError(f"{name}:{where} has {len(kinds)} rows, {whole} has {rows}; {mend}")
    if not kinds:
        raise ValueError(f"{name}:{where} has no rows; give the file of {at}")
    if not isinstance(published, int) and found != published:
        has, should = (" and ".join(f"{each.get(kind, 0)} {kind}" for kind in published) for each in (found, published))
        raise ValueError(f"{name}:{where} has {has} rows, {whole} has {should}; {mend}")


def telling(name: str, where: str, texts: Sequence[str], at: str) -> None:
    """Raises ValueError for a row that says nothing, or what another says, beyond those that are published so."""
    if "" in texts:
        raise ValueError(f"{name}:{where}: row {texts.index('') + 1} has no text; give the file of {at}")
    [(text, times)] = Counter(texts).most_common(1)
    if len(texts) - len(set(texts)) > TWICE.get(name, 0):
        raise ValueError(
            f"{name}:{where} has {text[:60]!r} in {times} rows; get it again from {at}, or leave one row of each"
        )


def of_set(name: str, where: str, files: Mapping[str, Published]) -> Iterator[tuple[int, str, Intent, Row]]:
    """The rows of one of `tools.sets`, numbered, each with its part's name and the intent of that part."""
    known, number = sets.SETS[name], 0
    here = [("hub", "hub")] if where in HUB else [(p.name, str(p)) for p in paths(name, where, files, known.at)]
    for file, place in here:
        rows = list(sets.rows(name, place))
        counted(name, place, file, [sets.intent_of(name, intent, row) for _, intent, row in rows], files, known.at)
        for wanted in (known.by, *([key] for key in known.only)):
            if any(not set(wanted) & set(row) for _, _, row in rows):
                raise ValueError(f"{name}:{place}: no column {wanted[0]!r}; give the file of {known.at}")
        telling(name, place, [said_in(row, known) for _, _, row in rows], known.at)
        for part, intent, row in rows:
            number += 1
            yield number, part, intent, row


def said_in(row: Row, known: sets.PublicSet) -> str:
    """The request of a row, with its context and what tells it from the same one in another language."""
    text = sets.text_in(known, row)
    return "\n".join([text, *(str(row[key]) for key in (*known.context, *known.only) if row.get(key))]) if text else ""


def items(name: str, where: str, files: Mapping[str, Published]) -> list[Item]:
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


def tables(
    name: str, where: str, files: Mapping[str, Published], at: str, key: str
) -> Iterator[tuple[str, int, Row]]:  # fmt: skip
    """The rows of files that are no set of goals, each with its file's stem and its number there.

    `key` is a column that all of them have.
    """
    for path in paths(name, where, files, at):
        rows = sets.from_lines(path) if one_a_line(path) else sets.from_file(path)
        if any(not row.get(key) for row in rows):
            raise ValueError(f"{name}:{path}: rows without {key!r}; give the file of {at}")
        counted(name, str(path), path.name, ["row"] * len(rows), files, at)
        yield from ((path.stem, number, row) for number, row in enumerate(rows, 1))


def one_a_line(path: Path) -> bool:
    """Whether a file that is called JSON is JSONL, as some are published."""
    return path.suffix == ".json" and text_of(path).lstrip().startswith("{")


def text_lines(name: str, where: str, files: Mapping[str, Published], at: str) -> Iterator[tuple[str, int, str]]:
    """The lines of text files, each with its file's stem and its number there."""
    for path in paths(name, where, files, at):
        found = [line for _, line in lines(path)]
        counted(name, str(path), path.name, ["row"] * len(found), files, at)
        yield from ((path.stem, number, line) for number, line in enumerate(found, 1))
