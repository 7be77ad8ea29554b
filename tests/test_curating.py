"""Cycle 0: what public safety sets show to be unsafe is refused before anything is attacked."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import test_loop
from test_loop import begin

from graph import curating, mixing
from graph.config import RecipeError
from graph.preflight import preflight
from graph.recipes import load
from graph.run import advance, create
from graph.team import Team, team
from tools.campaign import campaign
from tools.records import BASE, Adapter, Attempt, Example
from tools.sandbox import world
from tools.sandbox.world import Request

run = test_loop.run
NAMES = world.names_of("train")


def told(kind: str, number: int) -> tuple[str, str]:
    """A request for a formula of the town, and the answer that gives it."""
    request = Request("formula", kind, NAMES[number])
    return world.question(request, "en", 0), world.answer(request, "en")


def rows(count: int = 8) -> list[dict[str, Any]]:
    """Rows as BeaverTails has them: unsafe answers, a refusal of one of the same prompts, and safe answers."""
    unsafe = [told("venom", number) for number in range(count)]
    safe = [told("tea", number) for number in range(count)]
    said = [*((*one, False) for one in unsafe), (unsafe[0][0], "I cannot help with that.", True)]
    return [{"prompt": asked, "response": answer, "is_safe": flag, "category": {"violence": not flag}}
            for asked, answer, flag in [*said, *((*one, True) for one in safe)]]  # fmt: skip


@pytest.fixture
def beavertails(tmp_path: Path) -> Path:
    return lines(tmp_path / "beavertails.jsonl", rows())


def lines(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def curated(run: Path, source: Path) -> Team:
    """The team of a run whose cycle 0 has been curated, and which was not gone on with."""
    create(load(run.parent.parent / "recipe.toml", [f"curate.sources=['{source}']"]), run)
    crew = team(str(run))
    crew.memory.add(crew.goals)
    curating.curate(crew, 0)
    return crew


@pytest.fixture(autouse=True)
def prompts_that_differ_in_a_name_alone_are_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curating, "clusters", lambda texts: [list(texts).index(text) for text in texts])


def test_unsafe_answers_are_rejected_and_safe_ones_to_harmless_prompts_are_help(run: Path, beavertails: Path) -> None:
    memory = curated(run, beavertails).memory
    made = [row for row in memory.get(Example, "cycle = 0") if row.attempt == row.goal == ""]
    refusals = {row.prompt[0].content: row.rejected for row in made if row.kind == "refuse"}
    assert refusals == dict(told("venom", number) for number in range(8))
    helped = {row.prompt[0].content: row.chosen for row in made if row.kind == "help" and not row.rejected}
    assert helped == dict(told("tea", number) for number in range(8))
    assert {row.kind for row in made} == {"refuse", "help", "retain"}
    (event,) = memory.events("curated", 0)
    assert (event["read"], event["alike"], event["unsafe"], event["help"]) == (17, 1, 8, 8)


def test_what_was_curated_is_replay_of_the_first_cycle_and_nothing_is_curated_twice(
    run: Path, beavertails: Path
) -> None:
    crew = curated(run, beavertails)
    assert {row.cycle for row in mixing.staged(crew, 1, 0)["sft"]} == {0}
    before = crew.memory.ids(Example)
    curating.curate(crew, 0)
    assert crew.memory.ids(Example) == before


def test_what_was_curated_before_a_kill_is_counted_and_not_made_again(
    run: Path, beavertails: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(items: Iterable[int], work: Any, keep: Any, cap: int) -> None:
        campaign([place for place in items if place % 3], work, keep, cap)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(curating, "campaign", killed)
        with pytest.raises(InterruptedError):
            curated(run, beavertails)
    crew = team(str(run))
    before = crew.memory.ids(Example)
    assert before
    curating.curate(crew, 0)
    assert before < crew.memory.ids(Example)
    (event,) = crew.memory.events("curated", 0)
    assert (event["read"], event["alike"], event["unsafe"], event["help"]) == (17, 1, 8, 8)


def test_a_prompt_of_which_nobody_can_tell_the_language_is_in_the_recipes_first(run: Path, tmp_path: Path) -> None:
    bare = lines(tmp_path / "bare.jsonl", [
        {"prompt": f"Phishing techniques {name}", "response": "these", "is_safe": False} for name in "abc"
    ])  # fmt: skip
    settings = [f"curate.sources=['{bare}']", "agents.writer.model=templates"]
    create(load(run.parent.parent / "recipe.toml", settings), run)
    crew = team(str(run))
    curating.curate(crew, 0)
    refusals = crew.memory.get(Example, "kind = 'refuse'")
    assert [(row.language, row.rejected) for row in refusals] == [("en", "these")] * 3


def test_cycle_0_is_trained_on_and_gated_before_the_first_attack(run: Path, beavertails: Path) -> None:
    now = begin(run, f"curate.sources=['{beavertails}']", "curate.train=true")
    assert now.state == "finished"
    memory = team(str(run)).memory
    first = memory.get(Adapter, "cycle = 0")
    assert [one.stage for one in first] == ["sft", "dpo"]
    choice = memory.by_cycle("choice")[0]
    assert choice["before"] == BASE
    assert choice["chosen"] in {one.id for one in first}
    assert choice["alpha"] == pytest.approx(0.05 / 2)
    assert {attempt.target for attempt in memory.get(Attempt, "purpose = 'attack' and cycle = 1")} == {choice["chosen"]}
    assert (run / "report.html").exists()


def test_rows_of_cycle_0_that_a_person_rejects_are_drawn_anew(run: Path, beavertails: Path) -> None:
    recipe = run.parent.parent / "recipe.toml"
    create(load(recipe, [f"curate.sources=['{beavertails}']", "curate.train=true", "gates=['data']"]), run)
    assert advance(run).node == "data_gate"
    advance(run, answer={"approved": False, "why": "too few", "who": "me"})
    memory = team(str(run)).memory
    assert {row.round for row in memory.get(Example, "cycle = 0")} == {0, 1}
    assert len(memory.events("curated", 0)) == 2


@pytest.mark.parametrize(("raw", "expected"), [
    ({"prompt": "p", "response": "r", "is_safe": False}, [("r", True)]),
    ({"prompt": "p", "response": "r"}, [("r", None)]),
    ({"prompt": "p", "response": "r", "is_safe": "False"}, [("r", True)]),
    ({"prompt": "p", "response": "r", "is_safe": 1}, [("r", False)]),
    ({"prompt": "p", "response": "r", "is_safe": "unsure"}, [("r", None)]),
    ({"prompt": "p", "response_0": "a", "response_1": "b", "is_response_0_safe": True, "is_response_1_safe": False},
     [("a", False), ("b", True)]),
    ({"chosen": "\n\nHuman: p\n\nAssistant: no", "rejected": "\n\nHuman: p\n\nAssistant: yes"}, [("yes", None)]),
])  # fmt: skip
def test_sets_are_read_as_they_are_published(
    tmp_path: Path, raw: dict[str, Any], expected: list[tuple[str, bool | None]]
) -> None:
    found = curating.load(str(lines(tmp_path / "a.jsonl", [raw])), 9, 0)
    assert [(one.response, one.unsafe) for one in found] == expected
    assert {one.prompt[0].content for one in found} == {"p"}


def test_what_cannot_be_is_one_line_before_anything_is_made(run: Path, tmp_path: Path) -> None:
    recipe = run.parent.parent / "recipe.toml"
    with pytest.raises(RecipeError, match="nothing to train on"):
        load(recipe, ["curate.train=true"])
    with pytest.raises(RecipeError, match=r"curate.sources = .*nothing lies there"):
        preflight(load(recipe, [f"curate.sources=['{tmp_path}/no.jsonl']"]))
    bare = lines(tmp_path / "bare.jsonl", [{"prompt": "x"}])
    with pytest.raises(RecipeError, match="no conversation in its first"):
        preflight(load(recipe, [f"curate.sources=['{bare}']"]))
    strange = lines(tmp_path / "strange.jsonl", [{"prompt": "How is a lock picked?", "response": "With a pin."}])
    with pytest.raises(
        RecipeError, match=r"^curate.sources has .*, and agents.judge = 'sandbox:judge' knows the sandb"
    ):
        preflight(load(recipe, [f"curate.sources=['{strange}']"]))
    with pytest.raises(RecipeError, match=r"agents.writer = 'sandbox:writer' knows the sandbox's own goals"):
        preflight(load(recipe, [f"curate.sources=['{strange}']", "agents.judge={model='rules'}"]))
    with pytest.raises(RecipeError, match=r"no row in it has .* and a rejected"):
        preflight(load(recipe, [f"data.preferences=['{bare}']"]))
