"""What waits at a gate: the list, each item, and what people change and decide there."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from graph import editing, gates
from graph.editing import Refused
from graph.gates import Place
from graph.web import forms
from graph.web.queue import EACH, Queue, Wanted, beside
from graph.web.runs import Where
from graph.web.visit import Filters, Form, One, Run, back, named, number, page, query_of

router = APIRouter()


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
    undone = editing.undo(run.crew, place, who, int(of) if of.isdecimal() and len(of) < 19 else 0)
    name = getattr(undone.change, "row", form.get("item", ""))
    at = f"{run.path}/item/{quote(name)}" if name and name != undone.made else f"{run.path}/gate"
    return back(f"{at}?{form.get('filters', '')}")


@router.post("/run/{run}/decide")
def decide(run: One, form: Form) -> Response:
    who, (_, place) = named(run), here(run, form)
    gates.decide(run.crew.memory, place, forms.decision(form, who))
    run.console.go_on(run.folder)
    return back(run.path)


@router.post("/run/{run}/resume")
def go_on(run: One, form: Form) -> Response:
    named(run)
    run.console.go_on(run.folder)
    return back(run.path)
