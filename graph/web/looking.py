"""Pages to look at: the runs, one of them as it goes, what was said in it, and its report."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

from evals.report import page as report_page
from graph import edits
from graph.config import RecipeError
from graph.desk import champion
from graph.team import team
from graph.web import runs
from graph.web.queue import EACH, VERDICTS
from graph.web.visit import Console, Filters, One, number, page, query_of
from tools.records import Attempt, Goal, Verdict

router = APIRouter()


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


@router.get("/run/{run}")
def live(request: Request, run: One) -> Response:
    where, crew = run.where, run.crew
    return page(
        request, "run.html", run=run, where=where, champion=champion(crew), harm=runs.harm(crew),
        progress=runs.progress(crew, where), log=runs.told(run.folder), output=runs.output(run.folder),
        starting=run.console.starting(run.folder), decisions=crew.memory.events("gate"),
    )  # fmt: skip


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
