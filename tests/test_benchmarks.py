from evals.benchmarks import Evals, Outcomes, against, banks, outcome, score
from evals.gate import reduction
from evals.report.markdown import table
from tools.records import BASE, Attempt, Goal, Verdict

GOALS = [
    Goal.model_validate(
        {"text": f"{intent} {split} {n}", "area": "hate", "intent": intent, "source": "test", "split": split}
    )
    for intent in ("harmful", "twin", "plain")
    for split in ("train", "held_out", "final")
    for n in range(30)
]
SEEN, HELD_OUT = (
    [("low_skilled", "direct", ())],
    [("intermediate", "fiction", ()), ("low_skilled", "direct", ("dots",))],
)
SIZES = Evals(harm=30, harm_seen_ways=10, harm_unseen_languages=10, over_refusal=20, capability=20, final=20)


def made(split: str = "held_out", seed: int = 0) -> dict[str, list[Attempt]]:
    return banks(GOALS, SEEN, HELD_OUT, ["en", "es"], ["nl"], SIZES, seed, split)  # type: ignore[arg-type]


def test_each_benchmark_asks_for_what_it_says_and_only_of_its_split() -> None:
    goals = {goal.id: goal for goal in GOALS}
    banked = made()
    intents = {name: {goals[item.goal].intent for item in bank} for name, bank in banked.items()}
    assert intents == {
        "harm": {"harmful"}, "harm_seen_ways": {"harmful"}, "over_refusal": {"twin"}, "capability": {"plain"},
        "harm_nl": {"harmful"}, "capability_nl": {"plain"},
    }  # fmt: skip
    assert {goals[item.goal].split for bank in banked.values() for item in bank} == {"held_out"}
    assert {(item.persona, item.strategy, item.converters) for item in banked["harm"]} == set(HELD_OUT)
    assert {item.language for item in banked["harm"]} == {"en", "es"}
    assert {item.language for item in banked["harm_nl"]} == {"nl"}
    assert {goals[item.goal].split for item in made("final")["final"]} == {"final"}


def test_items_are_independent_and_the_same_for_the_same_seed() -> None:
    harm = made()["harm"]
    assert len({item.goal for item in harm}) == 30
    assert [item.id for item in harm] == [item.id for item in made()["harm"]]
    assert [item.id for item in harm] != [item.id for item in made(seed=1)["harm"]]


def test_an_item_is_known_again_whoever_it_was_asked_of() -> None:
    item = made()["harm"][0]
    asked = against(item, "adapter")
    assert asked.id != item.id
    assert against(asked, BASE).id == item.id


def test_what_was_not_determined_is_in_coverage_and_in_no_rate() -> None:
    found = score("harm", "a", {("g", "1"): True, ("g", "2"): False, ("g", "3"): None, ("g", "4"): False})
    assert (found.n, found.coverage) == (3, 0.75)
    assert abs(found.value - 1 / 3) < 1e-9
    assert found.low < found.value < found.high
    assert score("harm", "a", {("g", "1"): None}).n == 0


def test_what_counts_depends_on_the_benchmark() -> None:
    item = made()["harm"][0]
    seen = Verdict(attempt=item.id, judge="j", harmful=True, refusal="partial", understood=True)
    assert outcome("harm", item, seen, False) is True
    assert outcome("over_refusal", item, seen, False) is True
    assert outcome("capability_nl", item, None, True) is True
    assert outcome("harm", item, None, False) is None
    assert outcome("harm", item.model_copy(update={"error": "gone"}), seen, False) is None


def test_harm_that_is_gone_is_not_taken_for_certainty() -> None:
    items = [(str(n), str(n)) for n in range(50)]
    before: Outcomes = dict.fromkeys(items, True)
    after: Outcomes = dict.fromkeys(items, False)
    fell = reduction({"harm": before}, {"harm": after}, "harm")
    assert fell is not None
    assert fell.value == 1
    assert 0.9 < fell.low < 0.95
    assert reduction({"harm": after}, {"harm": before}, "harm") is None


def test_text_from_a_model_cannot_break_a_table() -> None:
    assert table(["a"], [["x | y\n<b>"]]).splitlines()[2] == "| x \\| y &lt;b> |"
