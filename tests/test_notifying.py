"""Whoever waits for a run is told when it ends, waits or fails: once, in a line, and never at the run's cost."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import test_loop
from test_config import RECIPE

from graph import nodes, notifying
from graph.config import RecipeError
from graph.logs import lines
from graph.recipes import load
from graph.run import Standing, advance, create
from graph.team import team
from tools.records import Goal

run = test_loop.run


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted to it, and answers with a status."""

    posted: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.posted.append((self.path, json.loads(body)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.posted.clear()
    Hook.status = 200
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def made(tmp_path: Path, *settings: str) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    create(load(tmp_path / "recipe.toml", settings), tmp_path / "one")
    return tmp_path / "one"


def ended(why: str = "budget over: 8 of 8 conversations are held") -> Standing:
    return Standing("finished", "", {"cycle": 3, "stopped": why}, {})


def test_a_run_that_ends_waits_or_fails_is_told_of_once(run: Path, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [f"notify={hook}/runs", "gates=['data']", "stop.cycles=1", "stop.target=0.0001"]
    create(load(run.parent.parent / "recipe.toml", settings), run)
    now = [advance(run), advance(run)]
    assert [one.state for one in now] == ["waiting", "waiting"]
    monkeypatch.setitem(nodes.NODES, "plan", lambda state, runtime: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        advance(run, {"approved": True})
    said = [(path, body["state"], body["run"]) for path, body in Hook.posted]
    assert said == [("/runs", "waiting", "one"), ("/runs", "failed", "one")]
    goals = {goal.text for goal in team(str(run)).memory.get(Goal)}
    assert not any(goal in json.dumps(body) for goal in goals for _, body in Hook.posted)
    assert [one["state"] for one in lines(run) if one["what"] == "notified"] == ["waiting", "failed"]


def test_the_environments_address_comes_first_and_its_secret_stays_out_of_the_folder(
    tmp_path: Path, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, "notify=http://127.0.0.1:9/other")
    monkeypatch.setenv(notifying.VARIABLE, f"{hook}/services/T0/B0/not-for-anybody")
    for _ in range(2):
        notifying.about(team(str(run)), ended())
    [(path, body)] = Hook.posted
    assert path.endswith("not-for-anybody")
    assert body == {
        "text": "breakfix one finished in cycle 3: budget over: 8 of 8 conversations are held", "run": "one",
        "state": "finished", "cycle": 3,
    }  # fmt: skip
    kept = b"".join(file.read_bytes() for file in run.rglob("*") if file.is_file())
    assert b"not-for-anybody" not in kept


def test_a_command_of_the_environment_gets_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, said = made(tmp_path), tmp_path / "said.txt"
    monkeypatch.setenv(notifying.VARIABLE, f"""sh -c 'printf %s "$1" > {said}' sh""")
    notifying.about(team(str(run)), ended("ended at the data gate by me: the rows say how to do it"))
    assert said.read_text() == "breakfix one finished in cycle 3: ended at the data gate"


@pytest.mark.parametrize(("status", "where", "told"), [
    (500, "", "the address answers with status 500"), (200, "http://127.0.0.1:9/hook-of-mine", "URLError"),
    (200, "no-such-program --loudly", "FileNotFoundError, No such file"), (200, "false", "ended with code 1"),
])  # fmt: skip
def test_a_failure_of_it_is_a_warning_that_does_not_say_the_address(
    status: int, where: str, told: str, tmp_path: Path, hook: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, Hook.status = made(tmp_path), status
    monkeypatch.setenv(notifying.VARIABLE, where or hook)
    notifying.about(team(str(run)), ended())
    line = capsys.readouterr().err
    assert line.startswith("breakfix: nobody was notified: ")
    assert told in line
    assert "hook-of-mine" not in line
    assert team(str(run)).memory.events("notified") == []


def test_it_has_a_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path)
    monkeypatch.setattr(notifying, "LIMIT", 0.1)
    monkeypatch.setenv(notifying.VARIABLE, "sleep 5")
    notifying.about(team(str(run)), ended())
    assert "nobody was notified" in capsys.readouterr().err


@pytest.mark.parametrize("where", [
    "https://user:password@example.org/", "https://example.org/?token=secret", "https://example.org/#secret",
    "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "notify-send", "file:///etc/passwd",
])  # fmt: skip
def test_a_recipe_names_neither_a_secret_nor_a_program(where: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    with pytest.raises(RecipeError) as error:
        load(tmp_path / "recipe.toml", [f"notify={where}"])
    assert "$BREAKFIX_NOTIFY" in str(error.value)
    assert where not in str(error.value)
