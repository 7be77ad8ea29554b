"""Training curves: what each stage said of itself while it was trained."""

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
    logged = {one.id: read(run / one.path / CURVE) for one in adapters}
    charts = []
    for key, (name, stages) in SHOWN.items():
        for stage in stages:
            drawn = [(one, points(logged[one.id], key)) for one in adapters if one.stage == stage]
            drawn = [(one, found) for one, found in drawn if found]
            if drawn:
                charts.append(curve(f"{stage.upper()}: {name}", name, drawn))
    if adapters and not charts:
        return Section(name="Training curves", blocks=(ABSENT,))
    return Section(name="Training curves", about=ABOUT if charts else "", blocks=tuple(charts))


def curve(title: str, name: str, drawn: Iterable[tuple[Adapter, Mapping[float, float]]]) -> Lines:
    series, rows = list[Series](), list[tuple[Cell, ...]]()
    for one, found in drawn:
        values = list(found.values())
        thin = dict(islice(found.items(), 0, None, -(-len(found) // MOST)))
        series.append(Series(name=f"cycle {one.cycle}", xs=tuple(thin),
                             ys=tuple(Rate(value=value, unit="number") for value in thin.values())))  # fmt: skip
        ends = (Rate(value=value, unit="number") for value in (values[0], values[-1], min(values), max(values)))
        rows.append((f"cycle {one.cycle}", len(values), *ends))
    head = ("", "steps logged", "first", "last", "least", "most")
    shown = series[-APART:]
    return Lines(
        title=title, x="step", y=name, series=tuple(shown), summary=Table(title=title, head=head, rows=tuple(rows))
    )


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a curve; a line that was cut off by a kill is left out."""
    return logged(file.read_text(encoding="utf-8", errors="replace").splitlines()) if file.is_file() else []


def points(logged: Iterable[Mapping[str, Any]], key: str) -> dict[float, float]:
    return {float(one["step"]): float(one[key]) for one in logged
            if isinstance(one.get(key), int | float) and isinstance(one.get("step"), int | float)}  # fmt: skip
