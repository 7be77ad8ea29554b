"""The process of a vLLM server, run by whichever interpreter has vLLM: nothing of ours can be imported here.

The pipe that the parent holds open closes however the parent dies, and the whole group goes with it. Only with the key
may anybody ask anything, as vLLM's own guard leaves all but /v1 open.
"""

import os
import runpy
import secrets
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

PLACES = "24"
"""For adapters, on a CPU: there vLLM 0.32 puts the adapter in its last place on the base as well, where both are in one
batch (it looks for place -1 in a tensor), so that there have to be more places than a run makes adapters."""


class Guard:
    """Lets nobody past without the key, but to ask whether the server stands."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app, self.key = app, b"Bearer " + os.environ["VLLM_API_KEY"].encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        said = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or scope["path"] == "/health" or secrets.compare_digest(said, self.key):
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"the key is another one"})


def die_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=die_with_parent, daemon=True).start()
    from vllm.platforms import current_platform as platform

    if platform.is_cpu():
        sys.argv += ["--max-loras", PLACES, "--max-cpu-loras", PLACES]
        sys.argv += [] if "--dtype" in sys.argv else ["--dtype", "float32"]
    if "VLLM_SERVER_DEV_MODE" in os.environ and platform.is_sleep_mode_available():
        sys.argv += ["--enable-sleep-mode"]
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
