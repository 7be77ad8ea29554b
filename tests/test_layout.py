"""The tree keeps to its arrows: graph -> agents, training, evals -> tools."""

import ast
import subprocess
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "tools": {"tools"},
    "agents": {"agents", "tools"},
    "training": {"training", "tools"},
    "evals": {"evals", "tools"},
    "graph": {"graph", "agents", "training", "evals", "tools"},
}
SLOW = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "vllm",
    "langgraph",
    "aiohttp",
    "sqlite_utils",
    "datasets",
    "fastapi",
    "uvicorn",
)


def imported(file: Path) -> set[str]:
    """The top-level names that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_imports_point_one_way() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for package, allowed in MAY_IMPORT.items()
        for file in (ROOT / package).rglob("*.py")
        for name in imported(file) & set(MAY_IMPORT) - allowed
    ]
    assert wrong == []


def test_no_file_below_the_graph_imports_one_that_imports_it_however_late() -> None:
    files = [
        file.relative_to(ROOT)
        for package in MAY_IMPORT
        if package != "graph"
        for file in (ROOT / package).rglob("*.py")
    ]
    names = {".".join(file.with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    needs: dict[str, set[str]] = {}
    for name, file in names.items():
        froms = [
            node for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
        ]
        meant = {(f"{node.module}.{alias.name}", str(node.module)) for node in froms for alias in node.names}
        needs[name] = {inner if inner in names else outer for inner, outer in meant} & names.keys() - {name}
    TopologicalSorter(needs).prepare()  # raises CycleError, which names them


def test_help_answers_in_half_a_second_and_loads_nothing_slow() -> None:
    probe = f"import sys; from graph.cli import parser; parser(); print([m for m in {SLOW} if m in sys.modules])"
    taken = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
        taken.append(time.monotonic() - started)
        assert done.stdout.strip() == "[]"
    assert min(taken) < 0.5
