"""Serving by vLLM, played by a server that behaves like it: `tests/test_vllm.py` asks the real one."""

import asyncio
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from graph.config import RecipeError
from graph.preflight import preflight
from graph.recipes import parse
from graph.team import Team
from tools import serve
from tools.endpoints import EndpointGone, EndpointRefused
from tools.llm import Model, Serving, reply
from tools.records import BASE
from tools.serve import PUSH, PYTHON, Server, ServerGone, chat, missing, put

ROOT = Path(__file__).parent.parent
PLATFORM = """
import os
class current_platform:
    is_cpu = staticmethod(lambda: True)
    is_sleep_mode_available = staticmethod(lambda: "FAKE_SLEEPS" in os.environ)
"""
VLLM = """
import json, os, pathlib, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

told = dict(zip(sys.argv[1:], sys.argv[2:]))
if "FAKE_BROKEN" in os.environ:
    print(f"(EngineCore pid={os.getpid()}) ERROR 11-29 11:34:08 [core.py:1] ValueError: " + os.environ["FAKE_BROKEN"])
    sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
known = {told["--served-model-name"]: ""}
asleep = False
diary = pathlib.Path(os.environ["FAKE_DIARY"])


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass

    def answer(self, status, body=None):
        sent = json.dumps(body or {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        global asleep
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        path, _, query = self.path.partition("?")
        with diary.open("a") as file:
            file.write(json.dumps([path, query, asked]) + "\\n")
        if self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            return self.answer(401)
        if path == "/sleep" and "--enable-sleep-mode" in sys.argv:
            asleep = True
        elif path == "/wake_up" and asleep:
            asleep = False
        elif path in ("/v1/load_lora_adapter", "/load_lora_adapter"):
            if not os.path.isdir(asked["lora_path"]):
                return self.answer(404, {"error": {"message": "No adapter found"}})
            known[asked["lora_name"]] = asked["lora_path"]
        elif path == "/v1/unload_lora_adapter":
            del known[asked["lora_name"]]
        elif path == "/v1/completions":
            dies = pathlib.Path(os.environ.get("FAKE_DIES", "/nowhere"))
            if dies.exists() and "die" in asked["prompt"]:
                print("MemoryError: no room for that", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            if asked["model"] not in known:
                return self.answer(404, {"error": {"message": "does not exist"}})
            threading.Event().wait(0.05)
            text = " " + asked["model"] + " of " + asked["prompt"]
            return self.answer(200, {"choices": [{"text": text, "finish_reason": "stop"}]})
        else:
            return self.answer(404)
        self.answer(200)


ThreadingHTTPServer(("127.0.0.1", int(told["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The diary of what a vLLM that behaves is asked; it lies where the interpreter finds it."""
    package = tmp_path / "site" / "vllm"
    (package / "entrypoints" / "openai").mkdir(parents=True)
    for folder in (package, package / "entrypoints", package / "entrypoints" / "openai"):
        (folder / "__init__.py").touch()
    (package / "platforms.py").write_text(PLATFORM)
    (package / "entrypoints" / "openai" / "api_server.py").write_text(VLLM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("FAKE_DIARY", str(tmp_path / "diary.jsonl"))
    monkeypatch.setattr(serve, "WAITS", (0.0,))
    monkeypatch.delenv(PYTHON, raising=False)
    return tmp_path / "diary.jsonl"


@pytest.fixture
def server(vllm: Path, tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path / "weights", tmp_path / "vllm.log", Serving(), rank=12)
    yield one
    one.stop()


def asked(diary: Path, path: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in diary.read_text().splitlines()]
    return [body for where, _, body in lines if where == path]


def said(messages: "list[BaseMessage]", begun: bool) -> str:
    return "|".join(str(message.text) for message in messages) + ("..." if begun and len(messages) % 2 == 0 else "")


def answers(server: Server, adapter: str, *texts: str) -> list[str]:
    async def together() -> list[str]:
        model = chat(server, Model(model="vllm:weights"), adapter, said)  # type: ignore[arg-type]
        return await asyncio.gather(*(reply(model, [HumanMessage(text)]) for text in texts))

    return asyncio.run(together())


def folders(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def test_adapters_are_served_side_by_side_by_name_and_the_oldest_is_let_go(
    server: Server, vllm: Path, tmp_path: Path
) -> None:
    for folder in folders(tmp_path, "one", "two", "three", "four"):
        server.load(folder.name, folder)
    assert server.process
    pid = server.process.pid
    assert answers(server, BASE, "hello") == ["base of hello"]
    assert answers(server, "four", "hello") == ["four of hello"]
    assert list(server.adapters) == ["two", "three", "four"]
    assert asked(vllm, "/v1/unload_lora_adapter") == [{"lora_name": "one"}]
    assert server.process.pid == pid
    words = server.arguments()
    assert words[words.index("--max-lora-rank") + 1] == "16"


def test_the_key_is_in_no_argument_and_in_no_file(server: Server, vllm: Path, tmp_path: Path) -> None:
    server.start()
    assert server.process
    listed = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(server.process.pid)], capture_output=True, text=True)
    assert "--port" in listed.stdout
    assert server.key not in listed.stdout
    assert answers(server, BASE, "hello")
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and server.key in file.read_text("latin-1")]
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600


def test_a_chat_is_put_into_its_template_here_and_an_answer_that_was_begun_is_gone_on_with(
    server: Server, vllm: Path
) -> None:
    server.start()
    model = chat(server, Model(model="vllm:weights"), BASE, said)  # type: ignore[arg-type]
    asyncio.run(reply(model, [HumanMessage("hello"), AIMessage("Sure")], temperature=0.7, seed=3))
    [one] = asked(vllm, "/v1/completions")
    assert one["prompt"] == "hello|Sure..."
    assert (one["temperature"], one["seed"], one["add_special_tokens"]) == (0.7, 3, False)


def test_a_server_that_is_killed_is_back_with_its_adapters_and_every_question_is_answered(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = folders(tmp_path, "one")
    server.load("one", folder)
    texts = [f"question {number}" for number in range(200)]

    async def together() -> list[str]:
        model = chat(server, Model(model="vllm:weights", concurrency=4), "one", said)  # type: ignore[arg-type]
        asking = [asyncio.ensure_future(reply(model, [HumanMessage(text)])) for text in texts]
        for part in (20, 60):
            while sum(one.done() for one in asking) < part:
                await asyncio.sleep(0.01)
            assert server.process
            os.kill(server.process.pid, signal.SIGKILL)
        return await asyncio.gather(*asking)

    assert asyncio.run(together()) == [f"one of {text}" for text in texts]


def test_a_server_that_keeps_dying_is_given_up_with_its_last_words(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies").touch()
    monkeypatch.setenv("FAKE_DIES", str(tmp_path / "dies"))
    server.start()
    with pytest.raises(EndpointGone, match=r"^vLLM was started again 4 times .* MemoryError: no room for that; "):
        answers(server, BASE, "die")
    (tmp_path / "dies").unlink()
    server._fell.clear()
    server.start()
    assert answers(server, BASE, "die") == ["base of die"]


def test_a_server_that_cannot_start_says_why_and_what_helps(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_BROKEN", "No available memory for the cache blocks")
    with pytest.raises(ServerGone) as error:
        server.start()
    assert re.search(
        r"^vLLM cannot serve .*/weights: it ended with code 1: ValueError: No available memory.*; "
        r"give it more of the card .*\(all of it: .*vllm.log\)$", str(error.value)
    )  # fmt: skip
    monkeypatch.setenv(PYTHON, "/nowhere/python")
    assert "BREAKFIX_VLLM_PYTHON = '/nowhere/python' cannot be run" in missing()


def test_a_server_that_dies_of_its_adapters_is_given_up_as_one_that_cannot_start(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.adapters = {"one": tmp_path}

    def dies(name: str) -> None:
        raise ConnectionError(name)

    monkeypatch.setattr(server, "_load", dies)
    with pytest.raises(ServerGone, match=r"^vLLM cannot serve .* with its adapters: "):
        server.revive()
    assert server.process is None


def test_vllm_that_is_not_there_is_known_before_anything_is_started(
    vllm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing() == ""
    monkeypatch.setenv("PYTHONPATH", "")
    assert "has no vLLM; pip install vllm" in missing()


def test_a_recipe_that_wants_vllm_is_refused_where_it_cannot_be_had(
    vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(target: dict[str, object], **more: object) -> str:
        with pytest.raises(RecipeError) as error:
            preflight(parse(RECIPE | {"target": target} | more, "here"))
        return str(error.value)

    assert "no config.json there" in refused({"model": f"vllm:{tmp_path}"})
    assert "rank = 999" in refused({"model": "vllm:sandbox:target"}, training={"rank": 999})
    assert "no model to serve" in refused({"model": "vllm:sandbox:judge"})
    assert "base_url" in refused({"model": "openai:base", "adapters": "vllm"}, base=str(tmp_path))
    assert "no adapters" in refused({"model": "openai:base", "adapters": "vllm"}, training={"method": "full"})
    elsewhere = {"model": "openai:base", "base_url": "http://localhost:1/v1"}
    assert "base = " in (why := refused(elsewhere, base=str(tmp_path)))
    assert "no config.json there" in why
    assert "is served here" in refused({"model": "sandbox:target", "adapters": "vllm"})
    preflight(parse(RECIPE | {"target": {"model": "vllm:sandbox:target"}}, "here"))
    monkeypatch.setenv("PYTHONPATH", "")
    assert "has no vLLM" in refused({"model": "vllm:sandbox:target"})


@pytest.mark.parametrize("sleeps", [True, False])
def test_a_server_sleeps_where_it_can_and_is_stopped_where_it_cannot(
    server: Server, vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeps: bool
) -> None:
    if sleeps:
        monkeypatch.setenv("FAKE_SLEEPS", "1")
    [folder] = folders(tmp_path, "one")
    server.rests = True
    server.load("one", folder)
    assert server.process
    pid = server.process.pid
    crew = Team(tmp_path, parse(RECIPE, "here"), servers={(folder, Serving()): server})

    def stage() -> None:
        with crew.resting():
            assert server.asleep is server.runs is sleeps
            raise ValueError("a stage failed")

    with pytest.raises(KeyboardInterrupt), crew.resting():
        raise KeyboardInterrupt
    assert server.asleep is server.runs is sleeps
    server.start()
    with pytest.raises(ValueError, match="a stage failed"):
        stage()
    assert server.process
    assert (server.process.pid == pid) is sleeps
    assert answers(server, "one", "hello") == ["one of hello"]
    assert len(asked(vllm, "/wake_up")) == 2 * sleeps


def test_a_server_that_slept_before_a_stage_sleeps_on_after_it(
    server: Server, vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLEEPS", "1")
    server.rests = True
    server.start()
    server.sleep()
    with Team(tmp_path, parse(RECIPE, "here"), servers={(tmp_path, Serving()): server}).resting():
        pass
    assert server.asleep
    assert asked(vllm, "/wake_up") == []


def test_a_model_that_vllm_serves_beside_the_target_finds_the_card_empty(
    server: Server, vllm: Path, tmp_path: Path
) -> None:
    rested: list[str] = []

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def rest(self) -> None:
            rested.append(self.name)

    crew = Team(tmp_path, parse(RECIPE, "here"), servers={(tmp_path, Serving()): server})
    crew.others[tmp_path, False] = Engine("other")  # type: ignore[assignment]
    crew.__dict__["engine"] = Engine("target")
    crew.served("judge", Model(model="vllm:x"), tmp_path)
    assert rested == []
    crew.served("compare.0", Model(model="vllm:x"), tmp_path)
    assert rested == ["other", "target"]


def test_an_endpoint_elsewhere_is_told_what_the_targets_template_has_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, object]] = []

    async def post(url: str, key: str, asked: dict[str, object]) -> bytes:
        sent.append(asked)
        return b'{"choices": [{"message": {"content": "hello"}}]}'

    monkeypatch.setattr("tools.completions.post", post)
    monkeypatch.setattr(Team, "options", {"enable_thinking": False})
    told = []
    for known in ("vllm", ""):
        target = {"model": "openai:base", "base_url": "http://localhost:1/v1", "adapters": known}
        model = Team(tmp_path, parse(RECIPE | {"target": target}, "here")).target(BASE)
        assert asyncio.run(reply(model, [HumanMessage("hello")])) == "hello"
        told.append(sent[-1].get("chat_template_kwargs"))
    assert told == [{"enable_thinking": False}, None]


RECIPE = {
    "target": {"model": "vllm:weights"},
    "agents": {"attacker": {"model": "sandbox:attacker"}, "judge": {"model": "sandbox:judge"},
               "measuring_judge": {"model": "sandbox:oracle"}, "writer": {"model": "sandbox:writer"}},
}  # fmt: skip


def test_nothing_is_left_behind_by_a_parent_that_was_killed(vllm: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tools.serve import Server; from tools.llm import Serving\n"
        f"one = Server(Path('weights'), Path({str(tmp_path / 'vllm.log')!r}), Serving()); one.start()\n"
        "print(one.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": f"{os.environ['PYTHONPATH']}:{ROOT}"},
    ) as parent:  # fmt: skip
        assert parent.stdout
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
        soon(lambda: not Path(f"/proc/{pid}").exists() or "Z (" in Path(f"/proc/{pid}/status").read_text())


def soon(so: Callable[[], bool]) -> None:
    for _ in range(100):
        if so():
            return
        time.sleep(0.1)
    raise AssertionError("still not so after ten seconds")


@pytest.mark.parametrize(("words", "path"), [("vllm", "/v1/load_lora_adapter"), ("sglang", "/load_lora_adapter")])
def test_an_endpoint_elsewhere_is_told_of_an_adapter_that_was_sent_there(
    server: Server, vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, path: str
) -> None:
    server.start()
    [folder, there] = folders(tmp_path, "abc", "there")
    monkeypatch.setenv("THEIR_KEY", server.key)
    spec = Model(
        model="openai:base", base_url=server.url, key_env="THEIR_KEY", adapters_at=str(there),
        adapters=words,  # type: ignore[arg-type]
    )  # fmt: skip
    copying = f"import shutil, sys; shutil.copytree(sys.argv[1], '{there}/' + sys.argv[2])"
    monkeypatch.setenv(PUSH, shlex.join([sys.executable, "-c", copying]))
    within = Path("plan", "step-3")
    put(spec, "abc", folder, within)
    assert asked(vllm, path) == [{"lora_name": "abc", "lora_path": str(there / "abc")}]
    monkeypatch.delenv(PUSH)
    (there / within).mkdir(parents=True)
    put(spec, "abf", folder, within)
    assert asked(vllm, path)[1:] == [{"lora_name": "abf", "lora_path": str(there / "plan" / "step-3")}]
    with pytest.raises(EndpointRefused, match=r"^adapter abd is not taken by .* 404: No adapter found; target"):
        put(spec, "abd", folder, Path("abd"))
    monkeypatch.setenv(PUSH, "false")
    with pytest.raises(EndpointRefused, match=r"^\$BREAKFIX_PUSH = 'false' ended with code 1"):
        put(spec, "abe", folder, within)
