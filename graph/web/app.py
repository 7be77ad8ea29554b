"""The console in the browser: the runs, what waits at their gates, and what was said in them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException as Missing

from evals.report import page as report_page
from evals.report.markdown import value, visible
from graph import editing, edits, gates, waiting
from graph.config import RecipeError
from graph.desk import champion
from graph.editing import Refused
from graph.gates import Decided, Place
from graph.team import Team, team
from graph.web import forms, runs
from graph.web.guard import Guard, form_token, same
from graph.web.queue import EACH, VERDICTS, Queue, Queues, Wanted, beside, kind, verdict
from graph.web.runs import Standings, Where
from graph.web.search import Search
from tools.records import Attempt, Goal, Verdict

HERE = Path(__file__).parent / "pages"
STARTING = 20.0
"""Seconds that a process may take to be seen going on with a run."""
router = APIRouter()


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


def make(places: Sequence[Path], token: str, resume: Callable[[Path], None], host: str = "127.0.0.1") -> FastAPI:
    """The web app of some runs."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.console = Console(places, token, resume)
    app.include_router(router)
    app.add_middleware(Guard, token=token, host=host)
    for error, status in ((Refused, 422), (Decided, 409), (RecipeError, 404), (Missing, 404)):
        app.add_exception_handler(error, told(status))
    return app


@cache
def templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=shown,
    )  # fmt: skip
    made.globals |= {"kind": kind, "verdict": verdict, "difference": waiting.difference, "place": forms.text_of,
                     "stage_of": forms.stage_of, "HIDDEN": ("rejected",)}  # fmt: skip
    made.filters |= {"value": value, "quote": quote}
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


def told(status: int) -> Callable[[Request, Exception], Response]:
    """A page that says what is wrong."""

    def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException | Missing):
            return page(request, "told.html", error.status_code, wrong=str(error.detail))
        return page(request, "told.html", status, wrong=str(error))

    return answer


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
    return int(said) if said.isdigit() and len(said) < 10 else 0


Form = Annotated[dict[str, str], Depends(sent)]
One = Annotated[Run, Depends(run_of)]
Filters = Annotated[Wanted, Depends(asked)]


@router.get("/")
def overview(request: Request) -> Response:
    console: Console = request.app.state.console
    rows = [row(console, name, folder) for name, folder in runs.found(console.places).items()]
    return page(request, "runs.html", rows=rows)


def row(console: Console, name: str, folder: Path) -> dict[str, Any]:
    """A run in a line; a run that cannot be read says why."""
    try:
        crew = team(str(folder))
        return {"where": console.standings.of(name, folder), "champion": champion(crew), "harm": runs.harm(crew)}
    except RecipeError as error:
        return {"name": name, "wrong": str(error)}


@router.get("/{name}.css")
@router.get("/{name}.js")
def static(request: Request) -> Response:
    known = {"/console.css": "text/css", "/console.js": "text/javascript"}
    if request.url.path not in known:
        raise HTTPException(404, "there is no such file here")
    return FileResponse(HERE / request.url.path[1:], media_type=known[request.url.path])


@router.post("/name")
def call_me(form: Form) -> Response:
    answer = back(form.get("at", "/"))
    answer.set_cookie("breakfix-who", quote(forms.name(form.get("who", ""))), samesite="strict", httponly=True)
    return answer


@router.get("/name")
def ask_name(request: Request) -> Response:
    return page(request, "name.html", at="/", who="")


def back(at: str, **query: object) -> RedirectResponse:
    """To a page of ours, whatever the form says."""
    at = "/" + at.lstrip("/\\")
    more = urlencode({name: one for name, one in query.items() if one})
    return RedirectResponse(at + (("&" if "?" in at else "?") + more if more else ""), 303)


@router.get("/run/{run}")
def live(request: Request, run: One) -> Response:
    where, crew = run.where, run.crew
    return page(
        request, "run.html", run=run, where=where, champion=champion(crew), harm=runs.harm(crew),
        progress=runs.progress(crew, where), log=runs.told(run.folder), output=runs.output(run.folder),
        starting=run.console.starting(run.folder), decisions=crew.memory.events("gate"),
    )  # fmt: skip


@router.post("/run/{run}/resume")
def go_on(run: One, form: Form) -> Response:
    named(run)
    run.console.go_on(run.folder)
    return back(run.path)


@router.get("/run/{run}/gate")
def gate(request: Request, run: One, wanted: Filters) -> Response:
    where = run.where
    if where.state != "waiting":
        return back(run.path)
    queue = run.queue(where)
    some, at = queue.some(wanted), number(request, "page")
    return page(
        request, "gate.html", run=run, where=where, queue=queue, some=some[at * EACH :][:EACH], total=len(some),
        number=at, pages=-(-len(some) // EACH), each=EACH, **around(run, queue, wanted),
    )  # fmt: skip


def around(run: Run, queue: Queue, wanted: Wanted) -> dict[str, Any]:
    """What both pages of a gate need beside what they show."""
    return {
        "wanted": wanted, "filters": query_of(wanted), "mine": mine(run, queue),
        "areas": [area.name for area in run.crew.policy.areas], "languages": run.crew.recipe.attack.languages,
    }  # fmt: skip


def query_of(wanted: Wanted) -> str:
    return urlencode({name: one for name, one in wanted._asdict().items() if one})


@router.get("/run/{run}/item/{name}")
def item(request: Request, run: One, name: str, wanted: Filters) -> Response:
    where = run.where
    if where.state != "waiting":
        return back(run.path)
    queue, filters = run.queue(where), query_of(wanted)
    one = next((one for one in queue.items if one.id == name), None)
    if one is None:
        return moved(request, run, queue, name, filters)
    some = queue.some(wanted)
    place, before, after = beside(some, name)
    return page(
        request, "item.html", run=run, where=where, queue=queue, one=one, number=place, total=len(some), before=before,
        after=after, **around(run, queue, wanted),
        said=f"done, change {done}; u undoes it" if (done := number(request, "done")) else "",
    )  # fmt: skip


@router.get("/run/{run}/nth")
def nth(request: Request, run: One, wanted: Filters) -> Response:
    """The item with a number among those that fit."""
    where, n = run.where, number(request, "n")
    some = run.queue(where).some(wanted) if where.state == "waiting" else []
    if not 1 <= n <= len(some):
        raise Refused(f"{request.query_params.get('n', '')!r} is no number from 1 to {len(some)}")
    return back(f"{run.path}/item/{quote(some[n - 1].id)}?{query_of(wanted)}")


def moved(request: Request, run: Run, queue: Queue, name: str, filters: str) -> Response:
    """Where an item is now that somebody has changed."""
    new = next((one.made for one in queue.edits if getattr(one.change, "row", "") == name and one.made), "")
    if new:
        return back(f"{run.path}/item/{new}?{filters}")
    gone = next((one.who for one in queue.edits if getattr(one.change, "row", "") == name), "")
    wrong = f"{gone} has dropped this row" if gone else "this does not wait at the gate any more"
    return page(request, "told.html", 404, wrong=wrong, to=f"{run.path}/gate?{filters}")


def mine(run: Run, queue: Queue) -> int:
    """The number of the last change of who looks; 0 where there is none."""
    return max((one.number for one in queue.edits if one.who == run.who), default=0)


def named(run: Run) -> str:
    if not run.who:
        raise Refused("say who you are first, at the top of the page: what people do here is kept with their names")
    return run.who


def here(run: Run, form: dict[str, str]) -> tuple[Where, Place]:
    """The gate that a form is about. Raises Decided where that has been decided, and Refused where it is no gate."""
    place, where = forms.place_of(form.get("place", "")), run.where
    if place != where.place:
        editing.open_still(run.crew, place)
        raise Refused("the run does not wait at that gate")
    return where, place


@router.post("/run/{run}/change")
def change(run: One, form: Form) -> Response:
    who, (where, place) = named(run), here(run, form)
    wanted = Wanted(**{name: form.get(f"f_{name}", "") for name in Wanted._fields})
    name, told = form.get("item", ""), forms.change(form)
    after = beside(run.queue(where).some(wanted), name)[2]
    made = editing.edit(run.crew, place, who, told)
    run.console.queues.changed(run.crew, made)
    if attack := form.get("attack"):
        return back(f"{run.path}/attack/{quote(attack)}")
    to = after if told["what"] == "drop" else made.made if told["what"] in ("rewrite", "add") else name
    at = f"{run.path}/item/{quote(to)}" if to else f"{run.path}/gate"
    return back(f"{at}?{query_of(wanted)}", done=made.number)


@router.post("/run/{run}/undo")
def undo(run: One, form: Form) -> Response:
    who, (_, place) = named(run), here(run, form)
    of = form.get("of", "")
    undone = editing.undo(run.crew, place, who, int(of) if of.isdigit() else 0)
    name = getattr(undone.change, "row", form.get("item", ""))
    at = f"{run.path}/item/{quote(name)}" if name and name != undone.made else f"{run.path}/gate"
    return back(f"{at}?{form.get('filters', '')}")


@router.post("/run/{run}/decide")
def decide(run: One, form: Form) -> Response:
    who, (_, place) = named(run), here(run, form)
    gates.decide(run.crew.memory, place, forms.decision(form, who))
    run.console.go_on(run.folder)
    return back(run.path)


@router.get("/run/{run}/attacks")
def attacks(request: Request, run: One, wanted: Filters) -> Response:
    at = number(request, "page")
    found = run.console.search(run.crew).find(wanted.q, wanted._asdict(), at)
    attack = run.crew.recipe.attack
    choices = {
        "area": [one.name for one in run.crew.policy.areas], "way": sorted(attack.strategies),
        "language": [*attack.languages, *attack.held_out_languages], "verdict": list(VERDICTS.values()),
    }  # fmt: skip
    return page(
        request, "attacks.html", run=run, found=found, wanted=wanted, number=at, filters=query_of(wanted),
        choices=choices, each=EACH,
    )  # fmt: skip


@router.get("/run/{run}/attack/{name}")
def attack(request: Request, run: One, name: str) -> Response:
    memory, where = run.crew.memory, run.where
    held = memory.get(Attempt, "id = ?", name)
    if not held:
        raise HTTPException(404, f"there is no attack {name!r} in this run")
    [one] = held
    [goal] = memory.get(Goal, "id = ?", one.goal)
    judged = [change for change in edits.live(run.crew) if getattr(change.change, "attempt", "") == name]
    can = where.state == "waiting" and where.gate["gate"] == "data" and one.cycle == where.gate["cycle"]
    return page(
        request, "attack.html", run=run, where=where, one=one, goal=goal, judged=judged,
        verdicts=memory.get(Verdict, "attempt = ?", name), can=can and one.purpose != "measure",
    )  # fmt: skip


@router.get("/run/{run}/report")
def report(request: Request, run: One) -> Response:
    return page(request, "report.html", run=run, there=(run.folder / "report.html").is_file())


@router.get("/run/{run}/report.html")
def report_file(run: One) -> Response:
    """The report as it lies in the folder; it may do what its own policy lets it, in a frame that may do little."""
    path = run.folder / "report.html"
    if not path.is_file():
        raise HTTPException(404, f"there is no report yet; `breakfix report {run.folder}` writes one")
    script = report_page.hashed((Path(report_page.__file__).with_suffix(".js")).read_text(encoding="utf-8"))
    policy = (f"sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
              f"script-src '{script}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")  # fmt: skip
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": policy})
