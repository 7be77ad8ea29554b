"""The log of a run says in the morning what happened at night, and nothing that is nobody's business."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
import test_loop

from graph import logs, nodes
from graph.recipes import load
from graph.run import advance, create
from graph.team import team
from tools.endpoints import EndpointGone
from tools.records import Attempt, Goal

run, begin = test_loop.run, test_loop.begin


def told(run: Path, what: str) -> list[dict[str, object]]:
    return [one for one in logs.lines(run) if one["what"] == what]


def test_it_says_where_a_run_went_how_long_that_took_and_what_was_decided_and_quotes_nobody(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-key-of-mine")
    for name in [name for name in os.environ if name.startswith(("LANGSMITH", "LANGCHAIN", "OTEL"))]:
        monkeypatch.delenv(name)
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, where: asked.append(where))
    begin(run, "stop.cycles=1", "stop.target=0.0001", "agents.writer.key_env=SOME_API_KEY")
    assert asked == []  # nobody is told by way of others either
    lines = logs.lines(run)
    assert all({"at", "level", "what"} <= line.keys() for line in lines)
    nodes_begun = [one["node"] for one in told(run, "begins")]
    assert nodes_begun[:6] == ["baseline", "curate", "attack", "judge", "diagnose", "decide"]
    assert [one["node"] for one in told(run, "ends")] == nodes_begun
    assert all(one["seconds"] >= 0 for one in told(run, "ends"))  # type: ignore[operator]
    memory = team(str(run)).memory
    assert [one["why"] for one in told(run, "choice")] == [event["why"] for event in memory.events("choice")]
    assert [one["stop"] for one in told(run, "decision")] == [False, True]
    assert {one["cycle"] for one in told(run, "choice")} == {1}
    text = (run / logs.FILE).read_text()
    said = [turn.text for attempt in memory.get(Attempt) for turn in attempt.turns]
    assert not any(one in text for one in (*said, *(goal.text for goal in memory.get(Goal))))
    assert "a-key-of-mine" not in text


def test_what_fails_is_an_error_without_what_others_said_and_keys_are_veiled(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(load(run.parent.parent / "recipe.toml", ["agents.writer.key_env=MY_KEY"]), run)
    monkeypatch.setenv("SOME_API_KEY", 'a-"key"-of-mine')
    monkeypatch.setenv("MY_KEY", "another-key")

    def fails(state: object, runtime: object) -> None:
        logs.LOG.warning(
            "endpoint refuses", extra={"told": {"endpoint": 'http://me:secret@host/a-"key"-of-mine another-key'}}
        )
        raise EndpointGone("gpt at http://host/v1: no answer that can be read: b'how to do harm'")

    monkeypatch.setitem(nodes.NODES, "baseline", fails)
    with pytest.raises(EndpointGone):
        advance(run)
    text = (run / logs.FILE).read_text()
    assert not [one for one in ("key", "secret", "how to do harm") if one in text]
    assert told(run, "endpoint refuses")[0]["endpoint"] == "http://***@host/*** ***"
    [line] = told(run, "failed")
    assert (line["level"], line["node"], line["error"]) == ("error", "baseline", "EndpointGone")
    assert line["why"] == "gpt at http://host/v1"
    assert str(line["line"]).startswith("tests/test_logs.py:") or "graph/" in str(line["line"])


def test_a_line_that_a_kill_broke_off_hides_no_other(run: Path) -> None:
    create(load(run.parent.parent / "recipe.toml"), run)
    (run / logs.FILE).write_text('{"at": "2026-01-01T00:00:00Z", "level": "info", "what": "begins"}\n{"at": "2026')
    advance(run, until="baseline")
    assert [one["what"] for one in logs.lines(run)] == ["begins", "goes on", "begins", "ends", "leaves off"]
    broken = (run / logs.FILE).read_text().splitlines()[1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)


def test_what_fails_beside_whoever_waits_for_it_is_a_line_of_the_log_in_nobodys_words(run: Path) -> None:
    create(load(run.parent.parent / "recipe.toml"), run)

    async def broken() -> None:
        told = {"message": "Fatal read error on socket transport", "exception": MemoryError(), "protocol": "venom"}
        asyncio.get_running_loop().call_exception_handler(told)

    with logs.kept(run):
        assert logs.ASYNCIO.handlers
        asyncio.run(broken())
    assert not logs.ASYNCIO.handlers  # so that all else in this process says what it said before
    [line] = told(run, "Fatal read error on socket transport")
    assert (line["level"], line["error"]) == ("error", "MemoryError")
    assert "venom" not in (run / logs.FILE).read_text()
