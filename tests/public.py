"""The public safety sets that lie beside the project, where there are any."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def data(name: str) -> Path:
    """The path of a public file, or a skip that says how to have it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no ../shared/data/{name} beside the repository: put the public file there to run this test")
    return path
