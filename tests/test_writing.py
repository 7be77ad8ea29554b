"""Rows from failures, by the recipe's writer and its target."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import test_loop
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from test_loop import Town

from graph import mixing, writing
from graph.recipes import load
from graph.run import create
from graph.team import Team, team
from tools.records import BASE, Attempt, Example, Turn
from tools.sandbox import world

run = test_loop.run


class Prompted(Town):
    """A town that refuses what is restricted once it has a system prompt."""

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        if messages[0].type == "system":
            said = world.WORDS["en"].refusals[2]
            return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])
        return super()._generate(messages)


def begun(run: Path, *settings: str) -> tuple[Team, list[Example]]:
    """A team, and the rows that answer one failure."""
    create(load(run.parent.parent / "recipe.toml", settings), run)
    crew = team(str(run))
    crew.memory.add(crew.goals)
    goal = next(goal for goal in crew.goals if goal.intent == "harmful" and goal.split == "train")
    request = world.parse(goal.text)
    assert request
    turns = (Turn(role="user", text=goal.text), Turn(role="assistant", text=world.answer(request, "en")))
    failure = Attempt(goal=goal.id, persona="low_skilled", strategy="direct", language="en", target=BASE, cycle=1,
                      seed=0, purpose="attack", turns=turns)  # fmt: skip
    crew.memory.add([failure])
    rows = asyncio.run(_answered(crew, failure))
    crew.memory.add(rows)
    return crew, rows


async def _answered(crew: Team, failure: Attempt) -> list[Example]:
    goals = {goal.id: goal for goal in crew.goals}
    return await writing.answering(crew, BASE, 1, 0)(failure, goals[failure.goal])


def test_the_target_says_what_is_chosen_where_the_recipe_has_it_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Team, "target", lambda self, adapter: Prompted(adapter=adapter))
    crew, rows = begun(run, "data.chosen='target'")
    own = {row.kind for row in rows if row.writer == writing.target(crew, BASE, 1).name}
    assert [row.chosen for row in rows if row.kind == "refuse"] == [world.WORDS["en"].refusals[2]]
    assert own == {"refuse", "help"}
    assert all(message.role != "system" for row in rows for message in row.prompt)


def test_a_target_that_no_prompt_makes_refuse_leaves_it_to_the_writer(run: Path) -> None:
    crew, rows = begun(run, "data.chosen='target'")
    assert [row.writer for row in rows if row.kind == "refuse"] == [crew.writer_id]


def test_general_pairs_are_for_dpo_alone_and_general_rows_for_sft(run: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": f"What is {n}?", "chosen": f"A number, {n}.", "rejected": "Dunno."} for n in range(90)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    crew, rows = begun(run, f"data.preferences=['{tmp_path}/pairs.jsonl']", "data.preferred=0.5")
    writing.beside(crew, 1, 1, 0)
    stages = mixing.staged(crew, 1, 0)
    assert {row.rejected for row in stages["sft"] if row.kind == "retain"} == {""}
    assert [row.rejected for row in stages["dpo"] if row.kind == "retain"] == ["Dunno."] * len(rows)
    assert {row.kind for row in stages["dpo"]} == {"refuse", "help", "retain"}


def test_several_sources_of_general_rows_are_drawn_from_alike(run: Path, tmp_path: Path) -> None:
    for name in "ab":
        asked = [{"instruction": f"{name}{n}", "output": f"{name}!"} for n in range(9)]
        (tmp_path / f"{name}.json").write_text(json.dumps(asked))
    crew, _ = begun(run, f"data.retain=['sandbox', '{tmp_path}/a.json', '{tmp_path}/b.json']")
    writing.beside(crew, 2, 1, 0)
    kept = crew.memory.get(Example, "kind = 'retain'")
    assert sorted(row.chosen for row in kept if "!" in row.chosen) == ["a!", "b!"]
    assert len(kept) == 4


def test_two_sources_with_one_file_name_lose_no_row(run: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        asked = [{"instruction": f"{name}{n}", "output": f"{name}!"} for n in range(9)]
        (tmp_path / name / "train.json").write_text(json.dumps(asked))
    crew, _ = begun(run, f"data.retain=['{tmp_path}/a/train.json', '{tmp_path}/b/train.json']")
    writing.beside(crew, 2, 1, 0)
    kept = crew.memory.get(Example, "kind = 'retain'")
    assert sorted(row.chosen for row in kept) == ["a!", "a!", "b!", "b!"]


def test_replay_is_of_the_cycles_that_made_the_champion_and_of_none_while_the_base_is_it(run: Path) -> None:
    crew, _ = begun(run)
    assert mixing.learnt(crew, 1) == -1
    for cycle, chosen in ((1, BASE), (2, "better"), (3, "better")):
        crew.memory.event(cycle, "promote_gate", "choice", before=BASE if cycle < 3 else "better", chosen=chosen)
    assert [mixing.learnt(crew, cycle) for cycle in (2, 3, 4)] == [-1, 2, 2]
