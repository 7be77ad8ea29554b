"""The report as a page: one file that asks the network for nothing, where whatever a model said is text and no more."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from evals.report import charts
from evals.report.markdown import span, value, visible, written
from evals.report.shapes import Finding, Rate, Report, Table

HERE = Path(__file__).parent
MARKED = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)")


def html(report: Report) -> Iterator[str]:
    """The page, piece by piece. What models, goals and recipes say is escaped where it stands, by Jinja or `charts`."""
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    hashes = {"style_hash": hashed(style), "script_hash": hashed(script)}
    return template().generate(report=report, style=style, script=script, **hashes)


@cache
def template() -> Template:
    """The page. Its macros are in a file of their own: with one of its own a page holds itself and so the report, which
    is then not freed until all there is has been looked through for such rings."""
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "value": value, "span": span, "written": written, "visible": visible, "slug": slug, "by_area": by_area,
        "numeric": numeric, "code": code,
    }  # fmt: skip
    made.globals |= {"drawn": charts.drawn, "pair": charts.pair}
    made.tests |= {"rate": lambda one: isinstance(one, Rate), "table": lambda one: isinstance(one, Table)}
    return made.get_template("page.html")


def hashed(text: str) -> str:
    """The hash by which the page's own policy knows its style and its script, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


def numeric(what: object) -> bool:
    return isinstance(what, Rate | int | float)


def code(text: str) -> Markup:
    """The text, with what our own sentences mark as code, strong or emphasised; whatever else it holds is text."""
    return Markup("").join(marked(piece) for piece in MARKED.split(visible(text)))


def marked(piece: str) -> Markup:
    if not MARKED.fullmatch(piece):
        return escape(piece)
    if piece[0] == "`":
        return Markup("<code>{}</code>").format(piece[1:-1])
    strong = piece.startswith("**")
    return (Markup("<strong>{}</strong>") if strong else Markup("<em>{}</em>")).format(piece.strip("*"))


def by_area(findings: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """The findings of each harm area, in the order they have."""
    order = {area: number for number, area in enumerate(dict.fromkeys(one.area for one in findings))}
    together = sorted(findings, key=lambda one: order[one.area])
    return [(area, list(some)) for area, some in groupby(together, key=lambda one: one.area)]
