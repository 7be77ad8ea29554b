"""Models served by vLLM in own processes: started, watched, brought back, let rest; nobody else knows vLLM."""

import atexit
import http.client
import json
import logging
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.endpoints import ENDPOINTS, EndpointGone, EndpointRefused
from tools.engine import KEPT
from tools.llm import Model, Serving, tied
from tools.records import BASE

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from tools.completions import Completions

Template = Callable[[Sequence["BaseMessage"], bool], str]
"""What a chat's text is; and whether an answer at its end is gone on with."""
Tell = Callable[[str], None]
"""Told how it goes while a server starts."""
PYTHON = "BREAKFIX_VLLM_PYTHON"
"""Environment variable: the interpreter that has vLLM, where it is not this one. A recipe cannot name a program."""
PUSH = "BREAKFIX_PUSH"
"""Environment variable: a command that takes an adapter to another machine, given its folder and its name."""
LOG = "vllm.log"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can be told to make room for."""
START = 1200.0
"""Seconds that a server may take until it answers: large models are compiled first."""
LOADED = 300.0
"""Seconds that an endpoint elsewhere may take to load an adapter."""
LARGEST = 2**20
"""Bytes of what one says of itself."""
ANSWER = 30.0
"""Seconds in which one that stands says that it does."""
FALLS, WITHIN = 4, 900.0
"""How often a server is brought back within so many seconds."""
WAITS = (0.0, 2.0, 10.0, 30.0)
"""Seconds before it is, the more the oftener it fell."""
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
}  # fmt: skip
"""What the user set already stays: one GB of keys and values on a CPU, no thread that spins, and nobody is told."""
LAUNCHER = Path(__file__).with_name("launcher.py")
"""What the server's process runs."""
MENDS = {
    r"No module named '?vllm": f"pip install vllm, or name an interpreter that has it in ${PYTHON}",
    r"out of memory|[Ff]ree memory on device|No available memory|KV cache is needed":
        "give it more of the card or more cards: `vllm = { memory = ..., devices = ..., tensor_parallel = ... }`",
    r"max_model_len|maximum (model|sequence) length|max_position_embed": "give `vllm = { length = ... }` that fits",
    r"[Aa]ddress already in use": "start again: it takes another port then",
    r"safetensors": "give a folder with *.safetensors",
    r"not supported|architectures": "serve it in process: hf:PATH",
}  # fmt: skip
"""What helps, by what a server says that cannot start."""
NOISE = re.compile(r"^(\(\w+ pid=\d+\)\s*)?([A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[\w.:]+\]\s*)?")
"""What vLLM puts before a line."""
TELLING = re.compile(r"^(\w+\.)*\w*(Error|Exception|Interrupt)\b|\berror: ")


class ServerGone(EndpointGone):
    """A server cannot be started, or not be brought back: its last words and the mend, in one line."""


class Server:
    """One folder of weights with its adapters. It is the same endpoint however often it has to be started."""

    def __init__(
        self, folder: Path, log: Path, settings: Serving, rank: int = 16, rests: bool = False,
        tell: Tell = lambda note: None,
    ) -> None:  # fmt: skip
        self.folder, self.log, self.settings, self.rank, self.rests, self.tell = (
            folder, log, settings, rank, rests, tell,
        )  # fmt: skip
        self.key, self.port = secrets.token_urlsafe(32), free_port()
        self.adapters: dict[str, Path] = {}
        """Those that it is to have, the oldest first."""
        self.process: subprocess.Popen[bytes] | None = None
        self.asleep = False
        self._fell: list[float] = []
        self._said, self._code = 0, 0
        self._lock = threading.RLock()
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Has it run, awake and with its adapters; nothing where it does. Raises ServerGone."""
        with self._lock:
            if self.asleep and self.runs:
                self.wake()
            elif not self.runs:
                if self.process:
                    self.revive()
                else:
                    self._begin()

    def load(self, name: str, folder: Path) -> None:
        """Has it serve an adapter under a name, and lets go of the oldest when there are more than a cycle needs."""
        with self._lock:
            self.start()
            if name in self.adapters:
                return
            self.adapters[name] = folder
            try:
                self._load(name)
            except ConnectionError:
                if not self.revive():
                    self._load(name)
            except EndpointRefused:
                del self.adapters[name]
                raise
            for old in list(self.adapters)[:-KEPT]:
                del self.adapters[old]
                with suppress(ConnectionError):  # it is brought back without
                    self._ask("/v1/unload_lora_adapter", {"lora_name": old})

    def revive(self) -> bool:
        """Starts it again where it has died or hangs, and says whether it had to. Raises ServerGone when it keeps
        dying."""
        with self._lock:
            if self.runs and self._stands(ANSWER):
                return False
            while True:
                now = time.monotonic()
                self._fell = [*(then for then in self._fell if now - then < WITHIN), now]
                told = {"model": self.folder.name, "try": len(self._fell)}
                logging.getLogger("breakfix").warning("server is started again", extra={"told": told})
                self.stop()
                if len(self._fell) > FALLS:
                    often = f"vLLM was started again {FALLS} times within {WITHIN / 60:.0f} minutes"
                    raise ServerGone(f"{often}, and the last time {self._ended()}")
                time.sleep(WAITS[min(len(self._fell), len(WAITS)) - 1])
                try:
                    self._begin()
                    return True
                except ServerGone:
                    if len(self._fell) == FALLS:
                        raise

    def sleep(self) -> None:
        """Lets go of the card: asleep where the build can, stopped where it cannot."""
        with self._lock:
            if not self.runs or self.asleep:
                return
            try:
                self.asleep = self._ask("/sleep?level=1", {})[0] == 200
            except ConnectionError:
                self.asleep = False
            if not self.asleep:
                self.stop()

    def wake(self) -> None:
        """Undoes `sleep`."""
        with self._lock:
            slept, self.asleep = self.asleep, False
            try:
                if slept and self.runs and self._ask("/wake_up", {})[0] == 200:
                    return
            except ConnectionError:
                pass
            self.stop()
            self._begin()

    def stop(self) -> None:
        with self._lock:
            process, self.process, self.asleep = self.process, None, False
            if process is None:
                return
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._code = process.wait()
            if process.stdin:
                process.stdin.close()

    def _begin(self) -> None:
        """Starts the process and waits until it answers; then it gets its adapters."""
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._said = log.tell()
            self.process = subprocess.Popen(
                [interpreter(), str(LAUNCHER), *self.arguments()], stdin=subprocess.PIPE, stdout=log, stderr=log,
                cwd=self.log.parent, env=self.environment(), start_new_session=True,
            )  # fmt: skip
        began, told = time.monotonic(), 0.0
        while not self._stands(2.0):
            lasted = time.monotonic() - began
            if not self.runs or lasted > START:
                self.stop()
                raise ServerGone(f"vLLM cannot serve {self.folder}: {self._ended(lasted)}")
            if lasted - told > 2:
                self.tell(f"vLLM starts, {lasted:.0f} s")
                told = lasted
            time.sleep(0.2)
        try:
            for name in self.adapters:
                self._load(name)
        except ConnectionError as error:
            self.stop()
            raise ServerGone(f"vLLM cannot serve {self.folder} with its adapters: {self._ended()}") from error

    def _load(self, name: str) -> None:
        status, said = self._ask("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(self.adapters[name])})
        if status != 200 and "already been loaded" not in said:
            raise EndpointRefused(f"vLLM does not take the adapter in {self.adapters[name]}: {said}")

    def _stands(self, seconds: float) -> bool:
        try:
            return self._ask("/health", None, seconds)[0] == 200
        except ConnectionError:
            return False

    def _ask(self, path: str, body: Any, seconds: float = START) -> tuple[int, str]:
        return ask(f"http://127.0.0.1:{self.port}{path}", self.key, body, seconds)

    def arguments(self) -> list[str]:
        """What vLLM is told, in its own words."""
        given = self.settings
        told: dict[str, Any] = {
            "host": "127.0.0.1", "port": self.port, "served-model-name": BASE, "load-format": "safetensors",
            "max-loras": KEPT, "max-cpu-loras": 2 * KEPT, "max-lora-rank": roomy(self.rank), "api-server-count": 1,
            "tensor-parallel-size": given.tensor_parallel, "data-parallel-size": given.data_parallel,
            "middleware": "__main__.Guard",
        }  # fmt: skip
        told |= {"gpu-memory-utilization": given.memory} if given.memory else {}
        told |= {"max-model-len": given.length} if given.length else {}
        told |= {"dtype": given.dtype} if given.dtype else {}
        told |= {"quantization": given.quantization} if given.quantization else {}
        return [
            "--model", str(self.folder), "--enable-lora", "--enable-prefix-caching", "--disable-uvicorn-access-log",
            *(word for name, value in told.items() for word in (f"--{name}", str(value))),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        own = {"VLLM_API_KEY": self.key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "PYTHONSAFEPATH": "1"}
        own |= {"CUDA_VISIBLE_DEVICES": self.settings.devices} if self.settings.devices else {}
        own |= {"VLLM_SERVER_DEV_MODE": "1"} if self.rests else {}
        return ENVIRONMENT | dict(os.environ) | own

    def _ended(self, lasted: float = 0.0) -> str:
        """How it ended, its last telling words, and what helps."""
        how = f"it gave no answer in {START:.0f} s" if lasted > START else f"it ended with code {self._code}"
        said = self.log.read_bytes()[self._said :].decode(errors="replace") if self.log.exists() else ""
        lines = list(dict.fromkeys(NOISE.sub("", line).strip() for line in said.splitlines()))
        told = [line for line in lines if TELLING.search(line) and "root cause above" not in line]
        last = " | ".join(line[:300] for line in (told or [line for line in lines if line])[-2:]) or "it said nothing"
        mend = next((mend for words, mend in MENDS.items() if re.search(words, last)), "see what it said before that")
        return f"{how}: {last}; {mend} (all of it: {self.log})"


def chat(server: Server, spec: Model, adapter: str, template: Template) -> "Completions":
    """The chat model that is one adapter of a server. Chats are put into the template here, as they are trained on."""
    from pydantic import SecretStr

    from tools.completions import Completions

    asked = Completions(
        model=adapter, base_url=server.url, key=SecretStr(server.key), temperature=spec.temperature,
        max_tokens=spec.max_tokens, template=template,
    )  # fmt: skip
    tied(asked, server.url, spec)
    ENDPOINTS[server.url].revive = server.revive
    return asked


def put(spec: Model, name: str, folder: Path, within: Path) -> None:
    """Has an endpoint elsewhere serve an adapter, sent there first by $BREAKFIX_PUSH where that is set.

    That machine has it under its name where it was sent, and else `within` the run's folder of adapters. Raises
    EndpointRefused, one line, when it is not sent or not taken.
    """
    if command := shlex.split(os.environ.get(PUSH, "")):
        try:
            sent = subprocess.run([*command, str(folder), name], capture_output=True, text=True, check=False)
        except OSError as error:
            raise EndpointRefused(f"${PUSH} = {shlex.join(command)!r} cannot be run: {error.strerror}") from error
        if sent.returncode:
            last = (sent.stderr.strip() or sent.stdout.strip() or "it said nothing").splitlines()[-1]
            raise EndpointRefused(f"${PUSH} = {shlex.join(command)!r} ended with code {sent.returncode}: {last}")
    if not spec.adapters:
        return
    there = name if command else within.as_posix()
    place = f"{spec.adapters_at.rstrip('/')}/{there}" if spec.adapters_at else str(folder)
    url = f"{LOADERS[spec.adapters](spec.base_url.rstrip('/'))}/load_lora_adapter"
    try:
        status, said = ask(url, os.environ.get(spec.key_env, ""), {"lora_name": name, "lora_path": place}, LOADED)
    except ConnectionError as error:
        raise EndpointRefused(f"adapter {name} cannot be loaded: {error}; is that target.base_url?") from error
    if status != 200 and not re.search(r"already (been )?(loaded|registered|exists)", said):
        where = f"target.adapters_at says where that machine has it, now {place}"
        if status == 404 and spec.adapters == "vllm" and "adapter" not in said.lower():
            where = (
                "vLLM takes adapters where it was started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            )
        raise EndpointRefused(f"adapter {name} is not taken by {url}: status {status}: {said}; {where}")


LOADERS: dict[str, Callable[[str], str]] = {"vllm": lambda base: base, "sglang": lambda base: base.removesuffix("/v1")}
"""Where each has an adapter loaded."""


def roomy(rank: int) -> int:
    """The least rank that vLLM can be told which an adapter of this rank fits into. Raises ValueError."""
    if rank > RANKS[-1]:
        raise ValueError(f"training.rank = {rank}: vLLM serves adapters up to rank {RANKS[-1]}; give less")
    return next(one for one in RANKS if rank <= one)


def shares(settings: Serving, others: str) -> bool:
    """Whether a server gets one of the cards that something else is on; no names are all that there are."""
    import torch

    seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    taken = (settings.devices or seen).split(",")[: settings.tensor_parallel * settings.data_parallel]
    return torch.cuda.is_available() and bool({*taken} & {*(others or seen).split(",")})


def interpreter() -> str:
    return os.environ.get(PYTHON) or sys.executable


def missing() -> str:
    """Why vLLM cannot be run here, and the mend; empty where it can. The interpreter is asked, vLLM is not loaded."""
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None and 3 or 0)"
    try:
        done = subprocess.run([interpreter(), "-c", question], capture_output=True, check=False, env=safe())
    except OSError as error:
        return f"${PYTHON} = {interpreter()!r} cannot be run: {error.strerror}; name a Python that has vLLM"
    if not done.returncode:
        return ""
    return f"{interpreter()} has no vLLM; pip install vllm there, or name an interpreter that has it in ${PYTHON}"


def safe() -> dict[str, str]:
    return os.environ | {"PYTHONSAFEPATH": "1"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Straight(urllib.request.HTTPRedirectHandler):
    """Goes nowhere that an answer points to: the key would go there too."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ask(url: str, key: str, body: Any, seconds: float = START) -> tuple[int, str]:
    """The status and the words of an answer; no body is a GET. Raises ConnectionError when there is none."""
    headers, sent = {"Content-Type": "application/json"}, None if body is None else json.dumps(body).encode()
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, sent, headers)  # noqa: S310 - `tools.llm.chat` wants http
    direct = [urllib.request.ProxyHandler({})] if "//127.0.0.1:" in url else []
    try:
        with urllib.request.build_opener(Straight, *direct).open(request, timeout=seconds) as response:
            return response.status, response.read(LARGEST).decode(errors="replace")
    except urllib.error.HTTPError as error:
        from tools.completions import reason

        return error.code, " ".join(reason(error.read(LARGEST)).split())[:300]
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"no answer from {url}: {error}") from error
