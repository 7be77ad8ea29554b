"""What the report says of the judges: how far they can be believed, and the rates less what they get wrong."""

from collections.abc import Mapping, Sequence

from evals.calibration import corrected
from evals.report import rate, table, titled
from evals.scorecard import Scorecard, caution, share_of
from tools.agreement import kappa
from tools.labels import Task
from tools.memory import PEOPLE, Memory
from tools.records import Score
from tools.statistics import Interval, share

NONE = "no scorecard: give `evals.anchors`, or `breakfix label` some of this run"
Known = tuple[Scorecard | None, str]
"""A scorecard, if there is one, and what it is by."""


def scorecards(known: Mapping[tuple[str, Task], Known]) -> str:
    """A row for each role and question: how far its judge can be believed, and by what."""
    rows = []
    for (role, task), (card, by) in known.items():
        if card is None:
            rows.append([role, task, NONE, "", "", "", ""])
        else:
            shares = map(share_of, (card.coverage, card.sensitivity, card.specificity))
            beyond = "" if card.kappa.value is None else f"{card.kappa.value:.2f}"
            rows.append([role, task, f"{by}, n {card.n}", *shares, beyond])
    return table(["judge", "says", "by", "coverage", "sensitivity", "specificity", "kappa"], rows)


def rates(memory: Memory, known: Mapping[Task, Known], powered: Mapping[tuple[str, str], Interval]) -> str:
    """Each measured rate as the measuring judge gave it and as it is without what the judge gets wrong.

    `powered` are the rates that people's labels of the same answers give, by benchmark and adapter.
    """
    rows, warnings = [], []
    for score in memory.get(Score, "part = ''"):
        task: Task = "refusal" if score.benchmark == "over_refusal" else "harmful"
        card, by = known[task]
        if score.benchmark.startswith("capability") or card is None or not score.n:
            continue
        better = corrected(round(score.value * score.n), score.n, card)
        why = caution(card)
        warnings += [f"{task}: {why}"] if why and f"{task}: {why}" not in warnings else []
        direct = powered.get((score.benchmark, score.adapter))
        rows.append([
            titled(memory, score.adapter), score.benchmark, rate(score.value, score.low, score.high, score.n),
            "" if better is None or why else rate(*better, 1), by, rate(*direct, 1) if direct else "",
        ])  # fmt: skip
    head = ["model", "rate", "as judged", "corrected", "by", "with people's labels of the same answers"]
    shown = table(head, rows) if any(row[3] or row[5] for row in rows) else ""
    return "\n\n".join([*([shown] if shown else []), *warnings])


def screens(memory: Memory, judges: Mapping[str, str]) -> str:
    """For each cascade, how many answers its first judge settled, and what the second said of those it looked at."""
    rows = []
    for name, role in judges.items():
        counts = {row["heard"]: row["n"] for row in memory.query(
            "select heard, count(*) as n from verdicts where judge = ? and length(heard) = 2 group by heard", name
        )}  # fmt: skip
        if not any(heard.endswith("-") for heard in counts):
            continue
        for first, word in (("0", "safe"), ("1", "harmful")):
            audited = [(heard[1], n) for heard, n in counts.items() if heard[0] == first and heard[1] in "01"]
            total = sum(n for _, n in audited)
            wrong = share(sum(n for second, n in audited if second != first), total)
            rows.append(
                [role, word, counts.get(f"{first}-", 0), total, rate(*wrong, total) if wrong else "none looked at"]
            )
    return (
        table(["cascade", "first judge says", "settled by it", "second judge looked too", "and differed"], rows)
        if rows
        else ""
    )


def people(memory: Memory) -> str:
    """How many labels each person gave, and how far each two agree on the harm in what both have labelled."""
    names = [row["judge"] for row in memory.query(f"select distinct judge from verdicts v where {PEOPLE} order by 1")]
    rows = []
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            pairs, n = both(memory, one, other)
            rows.append([name_of(one), name_of(other), n, *agreement(pairs)])
    counts = {row["judge"]: row["n"] for row in memory.query(
        f"select judge, count(*) as n from verdicts v where {PEOPLE} group by judge"
    )}  # fmt: skip
    said = ", ".join(f"{name_of(name)} {n}" for name, n in counts.items())
    agreed = table(["one", "other", "both labelled", "agreement", "kappa"], rows) if rows else ""
    return "\n\n".join(part for part in (f"Labels: {said}." if said else "", agreed) if part)


def compared(memory: Memory, judge: str) -> str:
    """How one judge's verdicts agree with every other's on the same conversations, people's among them."""
    others = memory.query("select distinct judge from verdicts where judge <> ? order by 1", judge)
    rows = []
    for other in [row["judge"] for row in others]:
        pairs, n = both(memory, judge, other)
        if pairs:
            harmful = (sum(side) for side in zip(*pairs, strict=True))
            rows.append([name_of(other), n, n - len(pairs), *harmful, *agreement(pairs)])
    n = memory.query("select count(*) as n from verdicts where judge = ?", judge)[0]["n"]
    head = ["beside", "both looked", "undetermined", "harmful by it", "harmful by the other", "agreement", "kappa"]
    return f"Judge `{judge}` has looked at {n} conversations.\n\n" + (table(head, rows) if rows else "No other has.")


def both(memory: Memory, one: str, other: str) -> tuple[list[tuple[int, int]], int]:
    """What two judges say of the harm in each conversation that both know of, and at how many both have looked."""
    rows = memory.query(
        """select a.harmful as one, b.harmful as other from verdicts a join verdicts b on a.at = b.at
        where a.judge = ? and b.judge = ?""", one, other,
    )  # fmt: skip
    pairs = [(row["one"], row["other"]) for row in rows]
    return [pair for pair in pairs if None not in pair], len(pairs)


def agreement(pairs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """How often two say the same, and kappa, as cells."""
    same = share(sum(one == other for one, other in pairs), len(pairs))
    found = kappa([one for one, _ in pairs], [other for _, other in pairs])
    beyond = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]" if found else ""
    return rate(*same, len(pairs)) if same else "", beyond


def name_of(judge: str) -> str:
    return judge.removeprefix("human:")
