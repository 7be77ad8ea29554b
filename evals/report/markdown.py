"""The report as Markdown, and how a number is written wherever one is shown."""

from collections.abc import Sequence

from evals.report.shapes import Block, Cell, Findings, Rate, Report, Section, Source, Table


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table. What could break out of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: object) -> str:
    return visible(str(value)).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


HIDDEN = {place: f"⟨U+{place:04X}⟩" for place in (
    *range(0x00, 0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x061C, 0xFEFF, 0x200B, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2060, 0x2070), *range(0xE0000, 0xE0080),
)}  # fmt: skip
"""Characters that cannot be seen, or that turn the text around them: bidirectional controls, tags, zero
widths. Joiners stay: Persian and Hindi are not written without."""


def visible(text: str) -> str:
    """The text with what would hide or turn it written out."""
    return text.replace("\r\n", "\n").translate(HIDDEN)


def rate(value: float, low: float, high: float, n: int) -> str:
    """A share and its 95 % interval, in percent."""
    return f"{value:.1%} [{low * 100:.1f}, {high * 100:.1f}]" if n else "not measured"


def value(one: Rate) -> str:
    """A number without its interval."""
    if one.unit == "share":
        return f"{one.value:.1%}"
    return f"{round(one.value * 100, 1) + 0.0} points" if one.unit == "points" else digits(one.value)


def digits(number: float) -> str:
    """A number that is no share: whole, or with about three digits where it is small."""
    if abs(number) >= 100 or (number == int(number) and abs(number) > 1):
        return f"{number:,.0f}"
    return f"{number:.2f}" if abs(number) >= 0.1 or not number else f"{number:.3g}"


def span(one: Rate) -> str:
    """The interval of a number, in brackets; empty where it has none."""
    if one.low is None or one.high is None:
        return ""
    if one.unit == "number":
        return f"[{digits(one.low)}, {digits(one.high)}]"
    return f"[{round(one.low * 100, 1) + 0.0}, {round(one.high * 100, 1) + 0.0}]"


def written(what: Cell) -> str:
    """A cell of a table as text."""
    if isinstance(what, Rate):
        if what.n == 0:
            return "not measured"
        counts = "" if what.k is None else f"{what.k} of {what.n}: "
        partial = f", coverage {what.coverage:.1%}" if what.coverage < 1 else ""
        return f"{counts}{value(what)} {span(what)}".rstrip() + partial
    if isinstance(what, float):
        return f"{what:.2f}"
    return f"{what:,}" if isinstance(what, int) else what or ""


def markdown(report: Report) -> str:
    """The report as Markdown: how it stands, the warnings, the headline, then the sections that are not empty."""
    parts = [f"# {visible(report.title)}", visible(report.status), f"Ended: {visible(report.ended)}"]
    parts += [f"> **Warning**: {visible(one)}" for one in report.warnings]
    parts += [visible(report.headline), f"The gate: {visible(report.verdict)}" if report.verdict else ""]
    parts += [f"> {visible(note)}" for note in report.notes]
    return "\n\n".join(part for part in [*parts, *(text(section) for section in report.sections)] if part) + "\n"


def text(section: Section) -> str:
    """A section as Markdown. Transcripts are left to the page: harmful text is not printed unasked."""
    return "\n\n".join(part for part in [f"## {section.name}", section.about, *map(block, section.blocks)] if part)


def block(one: Block) -> str:
    if isinstance(one, str):
        return visible(one)
    if isinstance(one, Findings):
        return f"The transcripts of {sum(len(finding.transcripts) for finding in one.findings)} are in report.html."
    if isinstance(one, Source):
        return f"**{cell(one.title)}**\n\n" + "\n".join(f"    {visible(line)}" for line in one.text.splitlines())
    shown = one if isinstance(one, Table) else one.table
    title = f"**{cell(shown.title)}**\n\n" if shown.title else ""
    return title + table(shown.head, [[written(what) for what in row] for row in shown.rows])
