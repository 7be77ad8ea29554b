"""A visit: the run that a page is about, who looks at it, what their form says, and the page that they get."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evals.report.markdown import visible
from graph import waiting
from graph.editing import Refused
from graph.team import Team, team
from graph.web import forms, runs
from graph.web.guard import form_token, same
from graph.web.queue import Queue, Queues, Wanted, kind, verdict
from graph.web.runs import Standings, Where
from graph.web.search import Search

HERE = Path(__file__).parent / "pages"
STARTING = 20.0
"""Seconds that a process may take to be seen going on with a run."""


@dataclass
class Console:
    """What all pages stand on."""

    places: Sequence[Path]
    token: str
    resume: Callable[[Path], None]
    standings: Standings = field(default_factory=Standings)
    queues: Queues = field(default_factory=Queues)
    searches: dict[Path, Search] = field(default_factory=dict)
    started: dict[Path, tuple[float, runs.Stamp]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def search(self, crew: Team) -> Search:
        with self.lock:
            if crew.run not in self.searches:
                self.searches[crew.run] = Search(crew)
            return self.searches[crew.run]

    def go_on(self, folder: Path) -> None:
        """Has a run go on, unless a process has it already or was just started."""
        with self.lock:
            if runs.running(folder) or self.starting(folder):
                return
            self.started[folder] = monotonic(), runs.stamp(folder)
        self.resume(folder)

    def starting(self, folder: Path) -> bool:
        """Whether a process was started that has not yet been seen to go on."""
        at, stamp = self.started.get(folder, (-STARTING, []))
        return monotonic() - at < STARTING and stamp == runs.stamp(folder)


@dataclass
class Run:
    """The run that a page is about, and who looks at it."""

    console: Console
    name: str
    folder: Path
    who: str

    @property
    def crew(self) -> Team:
        return team(str(self.folder))

    @property
    def where(self) -> Where:
        return self.console.standings.of(self.name, self.folder)

    @property
    def path(self) -> str:
        return f"/run/{quote(self.name)}"

    def queue(self, where: Where) -> Queue:
        return self.console.queues.of(self.crew, where.gate)


@cache
def templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=shown,
    )  # fmt: skip
    made.globals |= {"kind": kind, "verdict": verdict, "difference": waiting.difference, "place": forms.text_of,
                     "stage_of": forms.stage_of}  # fmt: skip
    made.filters |= {"quote": quote}
    return made


def shown(what: Any) -> Any:
    """Whatever is put into a page, with what would hide or turn text written out."""
    return visible(what) if isinstance(what, str) and not isinstance(what, Markup) else what


def page(request: Request, name: str, status: int = 200, **what: Any) -> HTMLResponse:
    console: Console = request.app.state.console
    at = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    shared = {"who": who_of(request), "form_token": form_token(console.token), "at": at, "said": "", "wrong": ""}
    return HTMLResponse(templates().get_template(name).render(**shared | what), status)


def who_of(request: Request) -> str:
    try:
        return forms.name(unquote(request.cookies.get("breakfix-who", "")))
    except Refused:
        return ""


async def sent(request: Request) -> dict[str, str]:
    """The fields of a form that is ours."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > forms.MOST:
            raise HTTPException(413, f"a form may have {forms.MOST:,} bytes")
    form = forms.read(bytes(body))
    if not same(form.get("form", ""), form_token(request.app.state.console.token)):
        raise HTTPException(403, "this form is not of this console, or of one that has ended; load the page again")
    return form


def run_of(request: Request, run: str) -> Run:
    console: Console = request.app.state.console
    folder = runs.found(console.places).get(run)
    if folder is None:
        raise HTTPException(404, f"there is no run {run!r} here")
    return Run(console, run, folder, who_of(request))


def asked(request: Request) -> Wanted:
    return Wanted(**{name: request.query_params.get(name, "").strip() for name in Wanted._fields})


def number(request: Request, name: str) -> int:
    said = request.query_params.get(name, "")
    return int(said) if said.isdecimal() and len(said) < 10 else 0


Form = Annotated[dict[str, str], Depends(sent)]
One = Annotated[Run, Depends(run_of)]
Filters = Annotated[Wanted, Depends(asked)]


def back(at: str, **query: object) -> RedirectResponse:
    """To a page of ours, whatever the form says."""
    at = "/" + at.lstrip("/\\")
    more = urlencode({name: one for name, one in query.items() if one})
    return RedirectResponse(at + (("&" if "?" in at else "?") + more if more else ""), 303)


def query_of(wanted: Wanted) -> str:
    return urlencode({name: one for name, one in wanted._asdict().items() if one})


def named(run: Run) -> str:
    if not run.who:
        raise Refused("say who you are first, at the top of the page: what people do here is kept with their names")
    return run.who
