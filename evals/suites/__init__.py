"""The public benchmarks, by name; a family is a file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evals.suites import capability, harmful, languages, paper, refusals, sandbox, toxicity
from evals.suites.suite import Benchmark, Suite
from tools import sets
from tools.names import instead

BENCHMARKS: dict[str, Benchmark] = (
    harmful.BENCHMARKS | refusals.BENCHMARKS | languages.BENCHMARKS | toxicity.BENCHMARKS | paper.BENCHMARKS
    | capability.BENCHMARKS | sandbox.BENCHMARKS
)  # fmt: skip
ALL = "all"
"""Stands for every benchmark whose files lie in the folders of a folder."""


def load(source: str) -> list[Suite]:
    """The benchmark of `NAME`, `NAME:PATH` or `NAME:hub`, or those of `all:FOLDER`. Raises ValueError, one line."""
    name, where = named(source)
    if name == ALL:
        return [suite for one in lying(Path(where)) for suite in load(one)]
    benchmark = BENCHMARKS[name]
    return [Suite(name, benchmark, benchmark.items(where))]


def gathered(sources: Sequence[str]) -> list[Suite]:
    """The benchmarks of several sources, each once: what is named before what `all` finds. Raises ValueError."""
    found: dict[str, Suite] = {}
    for source in sorted(dict.fromkeys(sources), key=lambda one: named(one)[0] == ALL):
        for suite in load(source):
            if found.setdefault(suite.name, suite) is not suite and named(source)[0] != ALL:
                raise ValueError(f"{source!r}: {suite.name} is measured already, from elsewhere; give one of the two")
    return [found[name] for name in BENCHMARKS if name in found]


def named(source: str) -> tuple[str, str]:
    """A benchmark's name and where it lies. Raises ValueError for one that there is not."""
    name, _, where = source.partition(":")
    if name not in (ALL, *BENCHMARKS):
        raise ValueError(f"{source!r} names no benchmark; {instead(name, (ALL, *BENCHMARKS))}")
    if name == ALL and not where:
        raise ValueError("'all' says of no folder; write all:FOLDER, whose folders hold the benchmarks' files")
    return name, where


def lying(folder: Path) -> Iterator[str]:
    """The sources of every benchmark that a folder's folders hold files of, or that needs none."""
    if not folder.is_dir():
        raise ValueError(f"all:{folder}: no folder lies there; give the one that holds the benchmarks' folders")
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    for name, benchmark in BENCHMARKS.items():
        at = [path for path in folders if any((path / file).is_file() for file in benchmark.files)]
        if at:
            yield f"{name}:{max(at, key=lambda path: squeezed(name) in squeezed(path.name))}"
        elif name in paper.BENCHMARKS:
            yield name


def squeezed(name: str) -> str:
    return name.replace("_", "")


def anchored(source: str, path: Callable[[str], str]) -> str:
    """A source with its path, if it has one, put through `path`; within it, a source of goals may stand."""
    name, _, where = source.partition(":")
    if where in ("", "hub"):
        return source
    return f"{name}:{sets.anchored(where, path)}" if name in paper.TABLES else f"{name}:{path(where)}"
