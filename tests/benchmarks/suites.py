"""XSTest's rates of three models from their recorded completions, by people and by the rules, as Markdown.

python -m tests.benchmarks.suites
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))

from labelled import XSTEST
from public import DATA
from test_evaluating import Says, errors, on, people, recorded, rules, whole

from evals.report.markdown import rate, table
from evals.suites import load
from tools.statistics import corrected

HEAD = ["model", "measure", "n", "people", "rules [95 %]", "coverage", "corrected [95 %]"]


def main() -> None:
    [suite] = load(f"xstest:{DATA / 'xstest'}")
    rows: list[list[object]] = []
    for name in XSTEST:
        labels = recorded(name)
        model = Says(answers={asked: label.response for asked, label in labels.items()})
        others = errors([other for other in XSTEST if other != name])
        with TemporaryDirectory() as folder:
            truth, said = (whole(on(Path(folder, "m.sqlite"), suite, model, who)) for who in (people(labels), rules()))
        for measure in ("iprr", "vprr"):
            one = said[measure]
            found = corrected(one.value * one.n, one.n, others)
            mended = rate(*found, one.n) if found else "no better than chance"
            rows.append([name, measure.upper(), one.n, f"{truth[measure].value:.1%}",
                         rate(one.value, one.low, one.high, one.n), f"{one.coverage:.1%}", mended])  # fmt: skip
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
