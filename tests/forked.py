"""Real processes of breakfix in the time of a fork: `python forked.py SOCKET` imports everything once and then waits.

Each is asked for by a line of JSON with its standard files, and is a process as any other, with limits of its own, that
can be killed. Only the seconds of its imports are saved.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOCKET = "FORKED_SOCKET"
"""The variable that tells a process where to ask for its training stages."""
WAITS = (0.02, 0.05, 0.1)
"""Seconds before an endpoint is asked again, in place of up to eight."""


class Forked:
    """A process that was asked for; as much of `subprocess.Popen` as `training.stages` needs."""

    def __init__(self, command: list[str], stdin: Any = None, stdout: Any = None, stderr: Any = None, text: bool = True,
                 encoding: str = "utf-8", env: Any = None, start_new_session: bool = True, cwd: Path | None = None,
                 limit: int = 0) -> None:  # fmt: skip
        reads, self.held = os.pipe()
        self.out, writes = os.pipe()
        self.asked = socket.socket(socket.AF_UNIX)
        self.asked.connect(os.environ[SOCKET])
        told = {"command": [str(one) for one in command], "cwd": str(cwd or Path.cwd()), "limit": limit,
                "env": dict(env or os.environ)}  # fmt: skip
        lasting = stderr.fileno()
        socket.send_fds(self.asked, [b"."], [reads, lasting if stdout is None else writes, lasting])
        self.asked.sendall(json.dumps(told).encode() + b"\n")
        os.close(reads)
        os.close(writes)
        self.answers = self.asked.makefile("r")
        self.pid, self.returncode = int(self.answers.readline()), None
        self.stdout = os.fdopen(self.out, encoding=encoding)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *error: object) -> None:
        self.stdout.close()
        with contextlib.suppress(OSError):
            os.close(self.held)
        self.wait()
        self.answers.close()
        self.asked.close()

    def poll(self) -> int | None:
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.asked.settimeout(timeout)
            try:
                answer = self.asked.recv(64)
            except TimeoutError:
                raise subprocess.TimeoutExpired("forked", timeout or 0) from None
            self.returncode = int(answer or b"-9")
        return self.returncode

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)


@contextmanager
def server(folder: Path) -> Iterator[None]:
    """Has one wait for as long as this lasts."""
    os.environ[SOCKET] = str(folder.resolve() / "forked.socket")
    Path(os.environ[SOCKET]).unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, __file__, os.environ[SOCKET]], cwd=ROOT, stdin=subprocess.PIPE,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}) as waiting:  # fmt: skip
        while not Path(os.environ[SOCKET]).exists():
            if waiting.poll() is not None:
                raise RuntimeError("the server of processes did not start")
            time.sleep(0.1)
        try:
            yield
        finally:
            waiting.terminate()


def forks() -> None:
    """Has the training stages of this process be forked."""
    from training import stages

    kinds = {"Popen": Forked, "PIPE": subprocess.PIPE, "TimeoutExpired": subprocess.TimeoutExpired}
    instead: dict[str, Any] = {
        "command": lambda spec, settings: ["stage", str(spec)], "subprocess": type("Forks", (), kinds),
    }  # fmt: skip
    for name, one in instead.items():
        setattr(stages, name, one)


def run(told: dict[str, Any]) -> None:
    """What was asked for, in this process: `stage SPEC`, `breakfix DIARY COMMAND...` or what `killed.py` takes."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job would ignore
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    if told["limit"]:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + told["limit"], resource.RLIM_INFINITY))
    from training import stages

    what, *rest = told["command"]
    Path("/proc/self/comm").write_text(what)
    if what == "stage":
        stages.main(Path(rest[0]))
        return
    import killed

    from graph.cli import main as breakfix
    from tools import endpoints

    endpoints.WAITS = WAITS
    forks()
    if what == "killed":
        killed.run(rest)
    killed.watch(Path(rest[0]))
    sys.exit(breakfix(rest[1:]))


def answer(asked: socket.socket) -> None:
    """Forks what was asked for, says its number, waits for its end, and says how that was."""
    _, files, _, _ = socket.recv_fds(asked, 1, 3)
    line = asked.makefile("r").readline()
    if (child := os.fork()) == 0:
        asked.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
        for file in files:
            os.close(file)
        code = 1
        try:
            run(json.loads(line))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    for file in files:
        os.close(file)
    with contextlib.suppress(OSError):  # whoever asked may be dead
        asked.sendall(f"{child}\n".encode())
        asked.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def serve(place: str) -> None:
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import trl  # noqa: F401
    from datasets import Dataset  # noqa: F401
    from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: F401
    from peft import LoraConfig, PeftModel  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401
    from trl import DPOTrainer, SFTTrainer  # noqa: F401

    from graph import build, commands, nodes, report, terminal  # noqa: F401
    from tools import completions, engine  # noqa: F401
    from tools.sandbox import llms, target  # noqa: F401
    from training import stages  # noqa: F401

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{place}.part")
    listening.listen(64)
    Path(f"{place}.part").rename(place)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        asked, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(asked)
            os._exit(0)
        asked.close()


if __name__ == "__main__":
    serve(sys.argv[1])
