"""What the experiments of runs/experiments/ came to, as Markdown for docs/experiments.md: tables, and plots in text.

breakfix ablate runs/experiments/NN-*.toml   # each of them, which goes on where it was stopped
python -m tests.benchmarks.experiments [NN ...]

Of experiments that were not run there is nothing.
"""

import sys
from pathlib import Path

from evals.report.markdown import table, written
from evals.report.shapes import Bars, Cell, Lines, Rate, Report, Table

ROOT = Path(__file__).parents[2]
WIDE = 51
"""Characters from 0 to 100 %."""
TABLES = ("The arms", "What each came to", "Other benchmarks", "Harm by language", "What each found and cost")
AREAS = "08"
"""The experiment that asks for harm areas."""


def shown(report: Report, number: str) -> str:
    """One experiment."""
    wanted = (*TABLES, "Harm by harm area") if number == AREAS else TABLES
    parts = [report.headline, f"({report.ended}.)"]
    for section in report.sections:
        if section.name == "The arms beside each other":
            parts += [plot(chart) for chart in section.blocks if isinstance(chart, Bars | Lines)]
        if section.name in wanted:
            parts += [tabled(one if isinstance(one, Table) else one.table)
                      for one in section.blocks if hasattr(one, "table") or isinstance(one, Table)]  # fmt: skip
    return "\n\n".join(parts)


def tabled(found: Table) -> str:
    return table(found.head, [[written(cell) for cell in row] for row in found.rows])


def plot(chart: Bars | Lines) -> str:
    """Every measure of every arm, with its interval."""
    drawn = chart.table
    first = max(len(str(row[0])) for row in drawn.rows) + 2
    lines = []
    for column, name in enumerate(drawn.head[1:], 1):
        lines += [f"{name}", " " * first + "0 %" + "50 %".rjust(WIDE // 2) + "100 %".rjust(WIDE // 2 - 1)]
        lines += [f"{row[0]!s:{first}}{bar(row[column])}".rstrip() for row in drawn.rows] + [""]
    return "\n".join(["```text", *lines[:-1], "```"])


def bar(cell: Cell) -> str:
    """A share with its interval, on a line."""
    if not isinstance(cell, Rate) or cell.low is None or cell.high is None:
        return "not measured"
    low, at, high = (round(share * (WIDE - 1)) for share in (cell.low, cell.value, cell.high))
    return "".join("●" if x == at else "─" if low <= x <= high else "·" if x % 25 == 0 else " " for x in range(WIDE))


def main(numbers: list[str]) -> None:
    for file in sorted((ROOT / "runs" / "experiments").glob("[0-9][0-9]-*.toml")):
        number, made = file.name[:2], Path("runs", f"ablate-{file.stem}", "report.json")
        if made.is_file() and (not numbers or number in numbers):
            report = Report.model_validate_json(made.read_bytes())
            print(f"## {int(number)}. {report.title}\n\n{shown(report, number)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
