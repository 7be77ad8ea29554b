"""`breakfix console`: the web app on an address of this machine, until Ctrl-C."""

import secrets
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from graph.config import RecipeError
from graph.team import team
from graph.web import runs
from graph.web.app import make
from graph.web.guard import LOOPBACK
from graph.web.visit import Console


def serve(places: Sequence[Path], host: str, port: int) -> None:
    """Raises RecipeError where there is no run, or no such address to be had."""
    known = runs.named(places)
    token = secrets.token_urlsafe(24)
    app = make(places, token, runs.resume, host)
    listening = bound(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listening.getsockname()[1]}/?token={token}", flush=True)
    print("whoever has this address can read these runs and decide in them; Ctrl-C ends it", file=sys.stderr)
    if host not in LOOPBACK:
        print(f"warning: with --host {host} other machines reach it, and without encryption: who listens on the way "
              f"reads harmful text and the token", file=sys.stderr)  # fmt: skip
    threading.Thread(target=prepare, args=(app.state.console, known), daemon=True).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
                            lifespan="off", timeout_graceful_shutdown=1)  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    try:
        if not 0 <= port <= 65535:  # `create_server` would leave its socket open
            raise OverflowError("a port is 0 to 65535")
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise RecipeError(
            f"--host {host} --port {port} cannot be had: {error}; give --port 0 for a free one"
        ) from error


def prepare(console: Console, known: Mapping[str, Path]) -> None:
    """Has what waits gathered, and what was said in the index, by the time that somebody looks."""
    for name, folder in known.items():
        with suppress(RecipeError):
            where = console.standings.of(name, folder)
            if where.state == "waiting":
                console.queues.of(team(str(folder)), where.gate)
            console.search(team(str(folder))).catch_up()
