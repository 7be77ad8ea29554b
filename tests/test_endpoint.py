"""`openai:NAME` against a real server on the loopback that answers as an OpenAI-compatible endpoint does."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from endpoint import Endpoint, running
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from tools import endpoints
from tools.campaign import campaign
from tools.llm import Model, answer, ask, chat, reply

KEY = "a-key-that-must-not-be-written-down"
HELLO = [HumanMessage("hello")]


class Answer(BaseModel):
    word: str


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setattr(endpoints, "WAITS", (0.01, 0.02))
    with running(Endpoint()) as one:
        endpoints.ENDPOINTS.pop(one.url, None)
        yield one


def test_an_endpoint_is_asked_by_name_with_the_key_of_the_environment(endpoint: Endpoint) -> None:
    endpoint.say = lambda number, asked: '{"word": "hello"}' if number else 500
    spec = Model(model="openai:mine", base_url=endpoint.url, key_env="MY_KEY", temperature=0.5, max_tokens=9)
    assert asyncio.run(ask(chat(spec), "be brief", "say hello", Answer)) == Answer(word="hello")
    first, asked = endpoint.asked
    assert first == asked
    assert (asked["model"], asked["temperature"], asked["max_completion_tokens"]) == ("mine", 0.5, 9)
    assert [message["content"] for message in asked["messages"]] == ["be brief", "say hello"]
    assert endpoint.keys == [f"Bearer {KEY}"] * 2
    assert KEY not in spec.model_dump_json() + repr(chat(spec))


def test_tokens_are_counted_and_the_beginning_of_an_answer_can_be_put_into_its_mouth(endpoint: Endpoint) -> None:
    model = chat(Model(model="openai:mine", base_url=endpoint.url))
    assert asyncio.run(reply(model, [*HELLO, AIMessage("Sure,")])) == "hello"
    assert endpoint.asked[0]["messages"][1] == {"role": "assistant", "content": "Sure,"}
    assert model.invoke(HELLO).usage_metadata == {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}


def test_a_tool_call_is_asked_for_and_read(endpoint: Endpoint) -> None:
    called = b"""{"choices": [{"finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
        "tool_calls": [{"id": "1", "type": "function",
                        "function": {"name": "Answer", "arguments": "{\\"word\\": \\"hi\\"}"}}]}}]}"""
    endpoint.say = lambda number, asked: called
    model = chat(Model(model="openai:mine", base_url=endpoint.url))
    tools: dict[str, Any] = model.bind_tools([Answer]).kwargs  # type: ignore[attr-defined]
    said = asyncio.run(answer(model, HELLO, **tools))
    assert [(call["name"], call["args"]) for call in said.tool_calls] == [("Answer", {"word": "hi"})]
    assert endpoint.asked[0]["tools"][0]["function"]["name"] == "Answer"


def test_two_roles_at_one_endpoint_never_have_more_in_flight_than_the_smaller_cap(endpoint: Endpoint) -> None:
    endpoint.latency = 0.02
    models = [chat(Model(model=f"openai:{n}", base_url=endpoint.url, concurrency=n)) for n in (20, 6)]

    async def converse(item: int) -> str:
        for model in models * 2:
            await reply(model, HELLO)
        return "done"

    kept: list[str] = []
    campaign(range(30), converse, kept.extend, cap=20)
    assert (len(kept), len(endpoint.asked), endpoint.peak) == (30, 120, 6)


def test_requests_are_halved_by_a_429_once_for_all_in_flight_and_grow_back(endpoint: Endpoint) -> None:
    limits: list[int] = []
    endpoint.latency = 0.05
    model = chat(Model(model="openai:mine", base_url=endpoint.url, concurrency=16))
    gate = endpoints.ENDPOINTS[endpoint.url]

    def say(number: int, asked: dict[str, Any]) -> str | int:
        limits.append(gate.room)
        return 429 if number < 16 else "hello"

    endpoint.say = say
    kept: list[str] = []
    campaign(range(200), lambda item: reply(model, HELLO), kept.extend, cap=16)
    assert len(kept) == 200
    assert len(endpoint.asked) == 216
    assert (limits[:16], limits[16]) == ([16] * 16, 8)
    assert limits[-1] == 16
    assert endpoint.peak == 16


def test_an_endpoint_that_asks_to_be_left_alone_is(endpoint: Endpoint) -> None:
    endpoint.headers = {"Retry-After": "1"}
    endpoint.say = lambda number, asked: "hello" if number else 429
    model, began = chat(Model(model="openai:mine", base_url=endpoint.url)), time.monotonic()
    assert asyncio.run(reply(model, HELLO)) == "hello"
    assert 1 <= time.monotonic() - began < 2


def test_the_cache_of_langchain_is_honoured_and_tells_models_apart(endpoint: Endpoint) -> None:
    endpoint.say = lambda number, asked: f"answer {number}"
    models = [Model(model="openai:a", base_url=endpoint.url, temperature=t) for t in (0, 1)]
    set_llm_cache(InMemoryCache())
    try:
        said = [asyncio.run(reply(chat(spec), HELLO)) for spec in models * 2]
    finally:
        set_llm_cache(None)
    assert said == ["answer 0", "answer 1"] * 2
    assert len(endpoint.asked) == 2


def test_an_answer_is_held_to_its_schema_where_the_endpoint_can(endpoint: Endpoint) -> None:
    endpoint.say = lambda number, asked: '{"word": "hello"}'
    model = chat(Model(model="openai:mine", base_url=endpoint.url))
    assert asyncio.run(ask(model, "be brief", "say hello", Answer, held=True)) == Answer(word="hello")
    asked = endpoint.asked[0]["response_format"]
    assert (asked["type"], asked["json_schema"]["schema"]) == ("json_schema", Answer.model_json_schema())
    assert asyncio.run(ask(model, "be brief", "say hello", Answer)) == Answer(word="hello")
    assert "response_format" not in endpoint.asked[1]


def test_an_endpoint_that_knows_no_schemas_is_asked_without_from_then_on(endpoint: Endpoint) -> None:
    endpoint.error = b'{"error": {"message": "Unrecognized request argument supplied: response_format"}}'
    endpoint.say = lambda number, asked: 400 if "response_format" in asked else '{"word": "hello"}'
    model = chat(Model(model="openai:mine", base_url=endpoint.url))
    for _ in range(2):
        assert asyncio.run(ask(model, "be brief", "say hello", Answer, held=True)) == Answer(word="hello")
    assert ["response_format" in asked for asked in endpoint.asked] == [True, False, False]
