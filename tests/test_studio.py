"""LangGraph's own server, as `langgraph dev` starts it from `langgraph.json`: what Studio talks to."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from test_resume import RECIPE

from graph.build import ORDER
from graph.recipes import load
from graph.run import QUIET, create
from tools.memory import Memory
from tools.records import Example, StagePlan

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "langgraph.json"
LIMIT = 300
"""Seconds that anything may take here. On a fresh machine the target has to be built first."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that keeps what it has in a folder of its own, and is gone with all it started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("langgraph"), "dev", "--no-browser", "--no-reload", "--allow-blocking"]
    with (
        (tmp_path / "server.log").open("wb") as log,
        subprocess.Popen(
            [*command, "--port", str(port), "--config", CONFIG], cwd=tmp_path, stdout=log, stderr=log,
            start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT), "LANGSMITH_TRACING": "false"} | QUIET,
        ) as process,
    ):  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            started(address, process, tmp_path / "server.log")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def started(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{address}/ok", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


async def conversation(address: str, run: Path) -> tuple[dict[str, Any], ...]:
    """What the server shows of the graph, and where a run of it comes to a stop, the second time by an answer."""
    client = get_client(url=address, timeout=LIMIT)
    (assistant,) = await client.assistants.search()
    drawn = await client.assistants.get_graph(assistant["assistant_id"])
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    thread = (await client.threads.create())["thread_id"]
    context = {"run": str(run)}
    first = await client.runs.wait(thread, assistant["assistant_id"], input={}, context=context)
    yes = {"resume": {"approved": True, "why": "", "who": "me"}}
    second = await client.runs.wait(thread, assistant["assistant_id"], command=yes, context=context)
    state = await client.threads.get_state(thread)
    return assistant, drawn, schemas, first, second, state  # type: ignore[return-value]


def test_langgraph_dev_lists_the_graph_runs_it_to_a_gate_and_goes_on_when_that_is_answered(
    server: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(f'gates = ["data", "train"]\n{RECIPE}')
    create(load(tmp_path / "recipe.toml"), tmp_path / "run")
    talk = asyncio.wait_for(conversation(server, tmp_path / "run"), LIMIT)
    assistant, drawn, schemas, first, second, state = asyncio.run(talk)
    assert assistant["graph_id"] == "breakfix"
    assert {node["id"] for node in drawn["nodes"]} == {"__start__", *ORDER, "__end__"}
    assert schemas["context_schema"]["properties"].keys() == {"run"}
    assert (first["cycle"], [one["value"]["gate"] for one in first["__interrupt__"]]) == (1, ["data"])
    assert first["__interrupt__"][0]["value"]["rows"]["refuse"] > 0
    assert [one["value"]["gate"] for one in second["__interrupt__"]] == ["train"]
    assert state["next"] == ["train_gate"]
    memory = Memory(tmp_path / "run" / "memory.sqlite")
    assert [(gate["gate"], gate["who"]) for gate in memory.events("gate")] == [("data", "me")]
    assert memory.ids(Example)
    assert len(second["__interrupt__"][0]["value"]["stages"]) == len(second["plans"]) > 0
    assert set(second["plans"]) == memory.ids(StagePlan)
    memory.close()


def test_the_server_has_the_same_switches_as_the_command_line() -> None:
    assert json.loads(CONFIG.read_text())["env"] == QUIET
