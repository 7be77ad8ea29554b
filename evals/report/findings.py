"""Vulnerabilities: where the target broke, cycle by cycle, with some of the conversations that did it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import escape

from evals.diagnosis import Key, key_of, rose, total
from evals.report.markdown import visible
from evals.report.shapes import Finding, Findings, Rate, Said, Table, Transcript, counted, of
from tools.memory import Memory, marks
from tools.statistics import Interval, wilson

WORST = 12
"""Cells and clusters shown of the last cycle."""
EXAMPLES = 2
"""Conversations shown of a vulnerability."""
LONGEST = 1200
"""Characters shown of a turn."""
STATES = ("still open", "not tried again", "not seen again", "mended")
ROOM = 1_200_000
"""Bytes of the page that all transcripts may take together: the worst vulnerabilities come first."""
FRAME, TURN = 600, 200
"""Bytes of the page, at most, around a transcript and around each of its turns."""
AT_ONCE = 500
"""Ids asked for in one query."""
Row = dict[str, Any]


def weak(events: Sequence[Mapping[str, Any]]) -> Table:
    """The worst cells of each cycle, as `diagnose` found them."""
    rows = [
        (event["cycle"], area or "(none)", way, language, f"{broke} of {judged}")
        for event in events
        for area, way, language, broke, judged, *_ in event["worst"][:5]
    ]
    return Table(
        title="The worst of each cycle", head=("cycle", "harm area", "way", "language", "broke"), rows=tuple(rows)
    )


def diagnosed(events: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The cells and clusters that the last cycle's diagnosis ranks highest, and the fixes that did not hold."""
    last = events[-1] if events else {}
    cells = tuple(
        (one["area"] or "(none)", one["way"], one["language"], counted(one["broke"], one["judged"]),
         of(Interval(*one["corrected"])) if one["corrected"] else None, one["severity"], one["score"],
         "yes" if one["named"] else "not shown")
        for one in last.get("cells", ())[:WORST]
    )  # fmt: skip
    alike = tuple(
        (one["size"], ", ".join(one["languages"]), "; ".join(" ".join(map(str, cell[:3])) for cell in one["cells"]))
        for one in last.get("clusters", ())[:WORST]
    )
    again = tuple(
        (event["cycle"], one["area"] or "(none)", one["way"], one["language"], one["fixed_in"],
         counted(one["broke"], one["judged"]))
        for event in events for one in event.get("regressed", ())
    )  # fmt: skip
    worst = Table(title=f"The worst of cycle {last.get('cycle')}, by lower bound x severity", rows=cells, head=(
        "harm area", "way", "language", "broke it", "less what the judge gets wrong", "severity", "weight",
        "above the target"))  # fmt: skip
    clusters = Table(title="Failures in which nearly the same was said", head=("how many", "languages", "mostly in"),
                     rows=alike)  # fmt: skip
    mended = ("cycle", "harm area", "way", "language", "had been mended in cycle", "broke it")
    fixes = Table(title="Fixes that did not hold", head=mended, rows=again)
    return [table for table in (worst, clusters, fixes) if table.rows]


def findings(memory: Memory, rows: Sequence[Row], judges: Sequence[str], names: Mapping[str, str]) -> Findings:
    """Every cell that broke, those that are still open first, each with conversations as long as there is room."""
    trends: dict[Key, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    broke: dict[Key, list[str]] = defaultdict(list)
    for row in rows:
        if row["harmful"] is not None:
            count = trends[key_of(row)][row["cycle"]]
            count[0] += bool(row["harmful"])
            count[1] += 1
            if row["harmful"]:
                broke[key_of(row)].append(row["id"])
    last = max((row["cycle"] for row in rows), default=0)
    states = {key: state(trends[key], last) for key in broke}
    order = sorted(broke, key=lambda key: rank(trends[key], states[key]))
    wanted = {key: broke[key][: -EXAMPLES - 1 : -1] for key in order}
    shown = transcripts(memory, [one for some in wanted.values() for one in some], judges, names)
    kept = fitting(wanted, shown)
    return Findings(findings=tuple(
        Finding(
            area=key[0] or "(none)", way=key[1], language=key[2], state=states[key],
            trend=rates(trends[key]), transcripts=tuple(kept[key]), left_out=len(broke[key]) - len(kept[key]),
        ) for key in order
    ))  # fmt: skip


def rank(trend: Mapping[int, Sequence[int]], known: str) -> tuple[float, ...]:
    """Still open before mended, and then by the lower end of the rate of the latest cycle."""
    latest = max(trend)
    broke, judged = trend[latest]
    return STATES.index(known.partition(",")[0]), -wilson(broke, judged)[0], -latest


def state(trend: Mapping[int, Sequence[int]], last: int) -> str:
    """How a vulnerability stands. It is mended where fewer attacks are shown to work than up to when one last did."""
    latest, worked = max(trend), max(cycle for cycle, (broke, _) in trend.items() if broke)
    if latest == worked:
        return "still open" if latest == last else "not tried again"
    before, after = (total((broke, judged) for cycle, (broke, judged) in trend.items() if (cycle > worked) == later)
                     for later in (False, True))  # fmt: skip
    return "mended" if rose(after, before) else f"not seen again, 0 of {after[1]}"


def rates(trend: Mapping[int, Sequence[int]]) -> dict[int, Rate]:
    return {cycle: rate for cycle, (broke, judged) in sorted(trend.items()) if (rate := counted(broke, judged))}


def fitting(wanted: Mapping[Key, Sequence[str]], shown: Mapping[str, Transcript]) -> dict[Key, list[Transcript]]:
    """As many of the conversations as there is room for: one of every vulnerability before a second of any."""
    kept: dict[Key, list[Transcript]] = {key: [] for key in wanted}
    left = ROOM
    for number in range(EXAMPLES):
        for key, some in wanted.items():
            one = shown.get(some[number]) if number < len(some) else None
            if one and (size := room(one)) <= left:
                kept[key].append(one)
                left -= size
    return kept


def room(one: Transcript) -> int:
    """The bytes of the page that a transcript takes: what is escaped or written out takes more than was said."""
    texts = [one.goal, one.target, one.reason]
    texts += [text for turn in one.turns for text in (turn.role, turn.text, turn.plain, turn.dropped)]
    return (
        FRAME
        + TURN * len(one.turns)
        + sum(len(escape(visible(text)).encode(errors="backslashreplace")) for text in texts)
    )


def transcripts(
    memory: Memory, ids: Sequence[str], judges: Sequence[str], names: Mapping[str, str]
) -> dict[str, Transcript]:
    """Conversations by id, each with what the first of the judges that said why says of it."""
    found: dict[str, Transcript] = {}
    for some in (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)):
        said = f"select * from verdicts where attempt in ({marks(some)}) and judge in ({marks(judges)}) and harmful = 1"
        telling = sorted(memory.query(said, *some, *judges),
                         key=lambda row: (bool(row["reason"]), -judges.index(row["judge"])))  # fmt: skip
        verdicts = {row["attempt"]: row for row in telling}
        sql = f"""select attempts.id, attempts.cycle, attempts.target, attempts.turns, goals.text as goal
            from attempts join goals on goals.id = attempts.goal where attempts.id in ({marks(some)})"""
        for row in memory.query(sql, *some):
            verdict = verdicts.get(row["id"], {"severity": None, "reason": ""})
            found[row["id"]] = Transcript(
                attempt=row["id"], goal=row["goal"], cycle=row["cycle"], target=names.get(row["target"], row["target"]),
                severity=verdict["severity"], reason=verdict["reason"], turns=tuple(turns(json.loads(row["turns"]))),
            )  # fmt: skip
    return found


def turns(said: Iterable[Mapping[str, str]]) -> Iterable[Said]:
    for turn in said:
        text, plain = turn["text"], turn.get("plain", "")
        yield Said(
            role=turn["role"], text=text[:LONGEST], plain=plain[:LONGEST], dropped=turn.get("dropped", ""),
            more=max(len(text) - LONGEST, 0) + max(len(plain) - LONGEST, 0),
        )  # fmt: skip


def told(found: Findings) -> str:
    """What is shown of how much."""
    some = found.findings
    shown = sum(len(one.transcripts) for one in some)
    total = shown + sum(one.left_out for one in some)
    opened = sum(one.state == "still open" for one in some)
    mended = sum(one.state == "mended" for one in some)
    if not some:
        return "No attack broke the target."
    return (
        f"{len(some)} vulnerabilities (a harm area asked for in a way and a language), {opened} of them still open in "
        f"the last cycle, {mended} mended: the attacks since then are shown to work less often than those before "
        f"(Fisher's exact test, one-sided, 5 % for each alone); where none worked but too few were tried to show it, "
        f"it says how many. {shown} of the {total} conversations that broke the target are here, at most {EXAMPLES} of "
        f"each vulnerability and {LONGEST:,} characters of each turn; the rest are in the run's memory."
    )
