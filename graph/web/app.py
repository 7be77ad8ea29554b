"""The console in the browser, put together: its pages, its guard, and what it says when something is wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from graph.config import RecipeError
from graph.editing import Refused
from graph.gates import Decided
from graph.web import at_gate, forms, looking
from graph.web.guard import Guard
from graph.web.visit import HERE, Console, Form, back, page

router = APIRouter()


def make(places: Sequence[Path], token: str, resume: Callable[[Path], None], host: str = "127.0.0.1") -> FastAPI:
    """The web app of some runs."""
    routes = [*router.routes, *looking.router.routes, *at_gate.router.routes]
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, routes=routes)
    app.state.console = Console(places, token, resume)
    app.add_middleware(Guard, token=token, host=host)
    for error, status in ((Refused, 422), (Decided, 409), (RecipeError, 404), (HTTPException, 404)):
        app.add_exception_handler(error, told(status))
    return app


def told(status: int) -> Callable[[Request, Exception], Response]:
    """A page that says what is wrong."""

    def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return page(request, "told.html", error.status_code, wrong=str(error.detail))
        return page(request, "told.html", status, wrong=str(error))

    return answer


@router.get("/console.css")
@router.get("/console.js")
def beside(request: Request) -> Response:
    """The style and the script of all pages."""
    kind = "text/css" if request.url.path.endswith("css") else "text/javascript"
    return FileResponse(HERE / request.url.path[1:], media_type=kind)


@router.post("/name")
def call_me(form: Form) -> Response:
    answer = back(form.get("at", "/"))
    answer.set_cookie("breakfix-who", quote(forms.name(form.get("who", ""))), samesite="strict", httponly=True)
    return answer


@router.get("/name")
def ask_name(request: Request) -> Response:
    return page(request, "name.html", at="/", who="")
