"""The log of a run, to be read in the morning: `log.jsonl`, an object a line. It quotes no goal, attack or answer."""

import json
import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph import signals
from tools.disk import logged
from tools.endpoints import EndpointGone, EndpointRefused, Unanswered
from training.stages import StageError

if TYPE_CHECKING:
    from tools.memory import Memory

FILE = "log.jsonl"
LOG = logging.getLogger("breakfix")
"""Whatever has something to say tells this logger: what in a few words, and `extra={"told": {...}}` with the rest."""
ASYNCIO = logging.getLogger("asyncio")
"""What fails beside whoever waits for it, as a connection does that there is too little memory for: it would be told on
the terminal with a traceback, and in whatever words."""
TOLD = {
    "decision": ("stop", "why"), "choice": ("before", "chosen", "why"), "stage_ended": ("stage", "adapter", "why"),
    "discarded": ("stage", "adapter"), "crowded": ("stage", "at_once", "wanted"), "budget": ("why",),
    "silent": ("role", "undetermined", "before"), "vulnerabilities": ("attempts", "judged", "broke"),
    "rows": ("round", "kinds"), "waits": ("gate", "round"), "gate": ("gate", "round", "approved", "who", "end"),
    "not_measured": ("model",), "regressions": ("worked", "replayed"), "final_opened": ("models",),
    "finished": ("champion", "why"),
}  # fmt: skip
"""The events that stand in the log as well, and what of them: nothing that anybody was asked or has answered."""
WARNINGS = ("stage_ended", "discarded", "crowded", "silent", "budget", "not_measured")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|NOTIFY", re.IGNORECASE)
"""Names of environment variables whose values are nobody's business, beside those that the recipe's models name."""
LOGIN = re.compile(r"//[^/@\s\"]+@")
NAMED = (StageError, EndpointGone, EndpointRefused, Unanswered)
"""Errors that say what failed before the first colon, and after it what somebody else said of it."""


class Lines(logging.Handler):
    """Writes a line for each record, in the file of a run. One that a kill broke off is left behind as it is."""

    def __init__(self, folder: Path, keys: Collection[str]) -> None:
        super().__init__(logging.INFO)
        self.node, self.cycle, self.keys = "", 0, keys
        self.file = (folder / FILE).open("a+b")
        if self.file.tell():
            self.file.seek(-1, os.SEEK_END)
            self.file.write(b"" if self.file.read() == b"\n" else b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.file.write(veiled(line(record, self.node, self.cycle), self.keys).encode(errors="replace") + b"\n")
            self.file.flush()
        except OSError:  # a full disk ends the run with an error of its own
            return

    def close(self) -> None:
        self.file.close()
        super().close()


def line(record: logging.LogRecord, node: str, cycle: int) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
    place = {"node": node, "cycle": cycle} if node else {}
    told: Mapping[str, Any] = getattr(record, "told", {})
    if record.exc_info and (kind := record.exc_info[0]):
        told = {"error": kind.__name__, **told}
    what = record.getMessage().partition("\n")[0]
    body = {"at": at, "level": record.levelname.lower(), **place, "what": what, **told}
    return json.dumps(body, ensure_ascii=False)


def veiled(text: str, keys: Collection[str]) -> str:
    """The text without what the environment holds of keys and passwords, `keys` among them by name."""
    for name, value in os.environ.items():
        if (name in keys or SECRET.search(name)) and len(value) > 5:
            text = text.replace(value, "***").replace(json.dumps(value, ensure_ascii=False)[1:-1], "***")
    return LOGIN.sub("//***@", text)


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Keeps the log of a run while this process goes on with it, also of how that ends."""
    from graph.team import team

    lines = Lines(folder, {spec.key_env for spec in team(str(folder)).recipe.models.values()})
    LOG.setLevel(logging.INFO)
    for one in (LOG, ASYNCIO):
        one.addHandler(lines)
    try:
        LOG.info("goes on", extra={"told": {"process": os.getpid()}})
        yield
        LOG.info("leaves off")
    except KeyboardInterrupt:
        LOG.warning("stopped", extra={"told": {"by": (signals.CAUGHT or ["SIGINT"])[0]}})
        raise
    except Exception as error:
        LOG.error("failed", extra={"told": {"error": type(error).__name__, "why": safely(error), "line": place(error)}})
        raise
    finally:
        for one in (LOG, ASYNCIO):
            one.removeHandler(lines)
        lines.close()


def safely(error: Exception) -> str:
    """What an error says, as far as nobody else's words can be in it."""
    if isinstance(error, NAMED):
        return str(error).partition(": ")[0]
    return error.strerror or "" if isinstance(error, OSError) else ""


def place(error: Exception) -> str:
    """The last line of ours that an error came through."""
    ours, at, found = Path(__file__).parent.parent, error.__traceback__, ""
    while at:
        file = Path(at.tb_frame.f_code.co_filename)
        if file.is_relative_to(ours) and ".venv" not in file.parts:
            found = f"{file.relative_to(ours)}:{at.tb_lineno}"
        at = at.tb_next
    return found


@contextmanager
def within(node: str, cycle: int, memory: "Memory") -> Iterator[None]:
    """Says in the log that a node begins and ends, and what it decided."""
    lines = [one for one in LOG.handlers if isinstance(one, Lines)]
    for one in lines:
        one.node, one.cycle = node, cycle
    before, began = memory.newest("events"), time.monotonic()
    LOG.info("begins")
    try:
        yield
    finally:
        for event in memory.query("select kind, body from events where rowid > ? order by rowid", before):
            if event["kind"] in TOLD:
                body = json.loads(event["body"])
                told = {name: body[name] for name in TOLD[event["kind"]] if name in body}
                level = logging.WARNING if event["kind"] in WARNINGS else logging.INFO
                LOG.log(level, event["kind"], extra={"told": told})
    LOG.info("ends", extra={"told": {"seconds": round(time.monotonic() - began, 1)}})
    for one in lines:
        one.node = ""


def lines(folder: Path) -> list[dict[str, Any]]:
    """What a run's log says, oldest first, without lines that were broken off."""
    if not (folder / FILE).is_file():
        return []
    return logged((folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines())
