"""What the models cost is counted, estimated where an endpoint does not say, and held against the budget."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import Scripted
from langchain_core.messages import AIMessage, HumanMessage
from test_config import RECIPE

from graph.config import Recipe
from graph.costs import Meter, over
from graph.recipes import load
from tools.memory import Memory

PRICED = """{ model = "openai:a", base_url = "http://localhost:1/v1", price = [2.0, 10.0] }"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path / "memory.sqlite")
    memory.cost("attack", 1, "attacker", 3, 600_000, 300_000)
    memory.cost("attack", 1, "target", 3, 50, 50)
    memory.cost("judge", 1, "attacker", 1, 50_000, 50_000)
    yield memory
    memory.close()


def recipe(tmp_path: Path, *settings: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return load(path, settings)


def test_a_budget_of_tokens_is_a_roles_own(tmp_path: Path, memory: Memory) -> None:
    assert over(memory, recipe(tmp_path)) == ""
    assert over(memory, recipe(tmp_path, "stop.tokens={attacker=1_000_001, target=101}")) == ""
    assert over(memory, recipe(tmp_path, "stop.tokens={attacker=1_000_000}")) == (
        "attacker has used 1,000,000 of 1,000,000 tokens"
    )


def test_money_is_what_all_roles_cost_by_the_price_of_their_models(tmp_path: Path, memory: Memory) -> None:
    priced = f"agents.attacker={PRICED}"  # 0.65 million read at 2, 0.35 million written at 10
    assert over(memory, recipe(tmp_path, priced, "stop.money=4.81")) == ""
    assert over(memory, recipe(tmp_path, priced, "stop.money=4.8")) == "4.80 of 4.80 is spent"


def test_tokens_are_the_models_own_count_or_an_estimate_of_what_was_read_and_written() -> None:
    accounts: dict[str, list[int]] = {}
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    model = Scripted([AIMessage("hello", usage_metadata=usage), "twelve bytes", ConnectionError("gone")])
    model.callbacks = [meter := Meter("target", accounts)]
    asyncio.run(model.ainvoke([HumanMessage("a question")]))
    assert accounts == {"target": [1, 7, 5]}
    asyncio.run(model.ainvoke([HumanMessage("sixteen bytes is"), AIMessage("four")]))
    assert accounts == {"target": [2, 7 + 4 + 1, 5 + 3]}
    with pytest.raises(ConnectionError):
        asyncio.run(model.ainvoke([HumanMessage("a question")]))
    assert accounts["target"][0] == 2
    assert meter.asked == {}
