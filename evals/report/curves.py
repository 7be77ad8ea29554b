"""Training curves: what each stage said of itself while it was trained."""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from evals.report.shapes import Cell, Lines, Rate, Section, Series, Table
from tools.disk import logged
from tools.memory import Memory
from tools.records import Adapter

CURVE = "curve.jsonl"
MOST = 120
"""Points drawn of a curve."""
APART = 6
"""Curves drawn on a chart, the latest: no more can be told apart."""
STAGES = ("sft", "dpo")
SHOWN = {
    "loss": ("loss", STAGES),
    "rewards/margins": ("reward margin", ("dpo",)),
    "logps/chosen": ("log-probability of the chosen answers", ("dpo",)),
}
ABOUT = (
    "What TRL logged. A loss that falls says that the rows were learnt, not that the model is safer. Where the "
    "log-probability of the chosen answers falls, DPO pushes down what it should teach. The latest six cycles are "
    "drawn; the numbers are of all."
)
ABSENT = "No curve was kept: the run was made before they were, or its training logged none."


def training(memory: Memory, run: Path) -> Section:
    """Loss, reward margins and log-probability of what was chosen, step by step."""
    adapters = memory.get(Adapter)
    curves = {(key, stage): Curve() for key, (_, stages) in SHOWN.items() for stage in stages}
    for one in adapters:
        logged = read(run / one.path / CURVE)
        for (key, stage), kept in curves.items():
            if stage == one.stage and (found := points(logged, key)):
                kept.add(f"cycle {one.cycle}", found)
    charts = [curve(f"{stage.upper()}: {SHOWN[key][0]}", SHOWN[key][0], kept)
              for (key, stage), kept in curves.items() if kept.rows]  # fmt: skip
    if adapters and not charts:
        return Section(name="Training curves", blocks=(ABSENT,))
    return Section(name="Training curves", about=ABOUT if charts else "", blocks=tuple(charts))


class Curve:
    """What is kept of one number in all stages of a kind: the latest to be drawn, and a row for each."""

    def __init__(self) -> None:
        self.series: deque[Series] = deque(maxlen=APART)
        self.rows: list[tuple[Cell, ...]] = []

    def add(self, name: str, found: Mapping[float, float]) -> None:
        values = list(found.values())
        thin = dict(islice(found.items(), 0, None, -(-len(found) // MOST)))
        self.series.append(Series(name=name, xs=tuple(thin), ys=tuple(map(number, thin.values()))))
        self.rows.append((name, len(values), *map(number, (values[0], values[-1], min(values), max(values)))))


def number(value: float) -> Rate:
    return Rate(value=value, unit="number")


def curve(title: str, name: str, kept: Curve) -> Lines:
    head = ("", "steps logged", "first", "last", "least", "most")
    table = Table(title=title, head=head, rows=tuple(kept.rows))
    return Lines(title=title, x="step", y=name, series=tuple(kept.series), summary=table)


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a curve; a line that was cut off by a kill is left out."""
    return logged(file.read_text(encoding="utf-8", errors="replace").splitlines()) if file.is_file() else []


def points(logged: Iterable[Mapping[str, Any]], key: str) -> dict[float, float]:
    return {float(one["step"]): float(one[key]) for one in logged
            if isinstance(one.get(key), int | float) and isinstance(one.get("step"), int | float)}  # fmt: skip
