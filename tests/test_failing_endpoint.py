"""A server that misbehaves in every way: no attempt is lost or doubled, and what is said of it is clear."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from endpoint import HANG, RESET, Endpoint, Say, body, running
from langchain_core.messages import HumanMessage

from tools import campaign as engine
from tools import endpoints
from tools.campaign import campaign
from tools.endpoints import EndpointGone, EndpointRefused, Unanswered
from tools.llm import Model, chat, reply
from tools.memory import Memory
from tools.records import BASE, Attempt, Goal, Turn

PASSING: dict[str, Say] = {
    **{str(status): status for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)},
    "reset": RESET, "hang": HANG, "empty": b"", "cut short": body("hello")[:60], "not JSON": b"<html>Oh no</html>",
    "no object": b"[]", "no choices": b"{}", "none of them": b'{"choices": []}', "null": b'{"choices": null}',
    "no message": b'{"choices": [{}]}', "no text": body(None),
}  # fmt: skip
"""What may pass by itself."""
SOME = ("429", "500", "503", "reset", "hang", "empty", "no text")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    monkeypatch.setattr(endpoints, "WAITS", (0.01, 0.02, 0.03))
    monkeypatch.setattr(endpoints, "TIMEOUT", 0.4 if "hang" in request.node.name else 10)
    monkeypatch.setattr(endpoints, "PATIENCE", 1)
    monkeypatch.setattr(engine, "EVERY", 0.02)
    monkeypatch.setenv("MY_KEY", "the-key")
    with running(Endpoint()) as one:
        endpoints.ENDPOINTS.pop(one.url, None)
        yield one


def goals(number: int) -> list[Goal]:
    return [Goal(text=f"question {n}", area="a", intent="harmful", source="s", split="train") for n in range(number)]


def held(memory: Memory, url: str, number: int, cap: int = 8) -> list[Attempt]:
    """Holds so many conversations, less those in the memory, and returns all in the memory."""
    memory.add(goals(number))
    text = {goal.id: goal.text for goal in goals(number)}
    model = chat(Model(model="openai:mine", base_url=url, key_env="MY_KEY", concurrency=cap))

    async def work(attempt: Attempt) -> Attempt:
        asked = Turn(role="user", text=text[attempt.goal])
        try:
            said = Turn(role="assistant", text=await reply(model, [HumanMessage(asked.text)]))
        except Unanswered as error:
            return attempt.model_copy(update={"error": str(error)})
        return attempt.model_copy(update={"turns": (asked, said)})

    def keep(batch: Sequence[Attempt]) -> None:
        assert not memory.ids(Attempt) & {attempt.id for attempt in batch}
        memory.add(batch)

    like = Attempt(
        goal="", persona="p", strategy="direct", language="en", target=BASE, cycle=1, seed=0, purpose="attack"
    )
    planned = [like.model_copy(update={"goal": goal}) for goal in text]
    campaign([attempt for attempt in planned if attempt.id not in memory.ids(Attempt)], work, keep, cap)
    return memory.get(Attempt)


def fails(fault: Say, question: str = "question 7") -> Any:
    """Fails one question for ever."""
    return lambda number, asked: fault if asked["messages"][0]["content"] == question else "hello"


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_asked_again_and_nothing_is_lost(tmp_path: Path, endpoint: Endpoint, name: str) -> None:
    endpoint.say = lambda number, asked: PASSING[name] if number % 10 in (4, 5) else "hello"
    attempts = held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 20)
    assert [(attempt.response, attempt.error) for attempt in attempts] == [("hello", "")] * 20
    assert len({attempt.id for attempt in attempts}) == 20
    assert 24 <= len(endpoint.asked) <= 26


@pytest.mark.parametrize("name", [*SOME, "400", "413", "422"])
def test_a_conversation_that_always_fails_becomes_a_failed_attempt(
    tmp_path: Path, endpoint: Endpoint, name: str
) -> None:
    fault = PASSING[name] if name in PASSING else int(name)
    endpoint.say = fails(fault)
    endpoint.latency = 0.02 if fault in (429, 503, RESET) else 0.001
    attempts = held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 100, cap=2)
    errors = [attempt.error for attempt in attempts if attempt.error]
    assert len(attempts) == 100
    assert len(errors) == 1
    assert errors[0].startswith(f"mine at {endpoint.url}: ")
    assert "\n" not in errors[0]
    assert len(endpoint.asked) <= 99 + 30


@pytest.mark.parametrize(("status", "mend"), [(401, "key_env"), (402, "credit"), (403, "key_env"), (404, "base_url")])
def test_a_wrong_key_model_or_address_stops_at_once_and_says_what_mends_it(
    tmp_path: Path, endpoint: Endpoint, status: int, mend: str
) -> None:
    endpoint.error = b'{"error": {"message": "not with the-key"}}'
    endpoint.say = lambda number, asked: status
    with pytest.raises(EndpointRefused, match=rf"^mine at http://.*/v1: status {status} .*{mend}.*$") as told:
        held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 20, cap=1)
    assert status != 401 or "the-key" not in str(told.value)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("name", [*SOME, "400"])
def test_an_endpoint_that_is_gone_stops_the_run_and_resuming_goes_on(
    tmp_path: Path, endpoint: Endpoint, name: str
) -> None:
    memory = Memory(tmp_path / "memory.sqlite")
    fault = PASSING[name] if name in PASSING else int(name)
    good = 0 if name == "400" else 10
    endpoint.say = lambda number, asked: "hello" if number < good else fault
    with pytest.raises(EndpointGone, match=r"^mine at http.*: .*`breakfix resume` goes on where it was$"):
        held(memory, endpoint.url, 50)
    before = memory.get(Attempt)
    assert sum(attempt.response == "hello" for attempt in before) == good
    assert len(before) < good + endpoints.ROW
    assert len(endpoint.asked) < 200
    endpoint.say = lambda number, asked: "hello"
    attempts = held(memory, endpoint.url, 50)
    assert attempts[: len(before)] == before
    assert [attempt.response for attempt in attempts[len(before) :]] == ["hello"] * (50 - len(before))
    assert len(attempts) == 50


def test_a_server_that_dies_and_comes_back_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    monkeypatch.setattr(endpoints, "PATIENCE", 5)
    other, memory, found = Endpoint(latency=0.01), Memory(tmp_path / "memory.sqlite"), list[Attempt]()
    with running(other):
        attacking = threading.Thread(target=lambda: found.extend(held(memory, other.url, 300)))
        attacking.start()
        while len(other.asked) < 100:
            time.sleep(0.001)
    time.sleep(0.5)
    with running(other):
        attacking.join()
    assert [(attempt.response, attempt.error) for attempt in found] == [("hello", "")] * 300
    assert 300 <= len(other.asked) <= 300 + 3 * 8


def test_an_endpoint_that_was_there_is_waited_for_as_long_as_a_recipe_says_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    monkeypatch.setattr(endpoints, "LONG", 0.3)
    told, since = list[tuple[str, bool]](), list[float]()

    def gone(number: int, asked: dict[str, Any]) -> Say:
        if number >= 10:
            since.append(time.monotonic())
        return "hello" if number < 10 or since[-1] - since[0] > 2.5 else PASSING["500"]

    endpoint.say = gone
    with endpoints.patient(60, lambda name, lasted, most, why: told.append((name, bool(why)))):
        attempts = held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 100)
    assert len(attempts) == 100
    assert sum(bool(attempt.error) for attempt in attempts) < endpoints.ROW
    assert (told[0], told[-1]) == ((endpoint.url, True), (endpoint.url, False))
    assert [over for _, over in told].count(False) == 1
    assert len(endpoint.asked) < 200


def test_nobody_at_an_address_is_told_in_one_line_after_few_tries(tmp_path: Path, endpoint: Endpoint) -> None:
    with running(Endpoint()) as closed:
        pass
    with pytest.raises(EndpointGone, match=r"no connection: .*Connect"):
        held(Memory(tmp_path / "memory.sqlite"), closed.url, 10)


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_longer_than_a_run_has_patience_for_stops_it(tmp_path: Path, endpoint: Endpoint, status: int) -> None:
    endpoint.headers = {"Retry-After": "7200"}
    endpoint.say = lambda number, asked: status
    with pytest.raises(EndpointGone, match="it asks to wait 7200 s"):
        held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 10, cap=1)
    assert len(endpoint.asked) == 1


def test_a_content_filter_fails_its_own_conversations_however_many(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.error = b'{"error": {"code": "content_filter", "message": "blocked by the content management policy"}}'
    endpoint.say = lambda number, asked: 400
    attempts = held(Memory(tmp_path / "memory.sqlite"), endpoint.url, 20)
    assert [("policy" in attempt.error) for attempt in attempts] == [True] * 20
    assert len(endpoint.asked) == 20


class Theirs(Exception):
    """An error as the providers' own packages raise it."""

    def __init__(self, status: int, wait: str) -> None:
        super().__init__("so it is\nand so on")
        self.status_code, self.response = status, SimpleNamespace(headers={"retry-after": wait})


class APIConnectionError(Exception):
    """A failure that only its name tells from others."""


def test_errors_of_the_providers_packages_are_read_by_what_they_have_in_common() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    found = [endpoints.trouble(Theirs(429, wait)) for wait in ("0.5", later, "soon", "")]
    assert {trouble.kind for trouble in found} == {"limited"}
    assert [round(trouble.wait, -1) if trouble.wait > 1 else trouble.wait for trouble in found] == [0.5, 60, 0, 0]
    assert found[0].said == "status 429: so it is and so on"
    assert [endpoints.trouble(error).kind for error in (APIConnectionError(), TimeoutError(), KeyError("choices"))] == [
        "away", "slow", "wrong",
    ]  # fmt: skip


def test_a_model_that_takes_no_conversation_any_more_stops_the_node(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.say = lambda number, asked: "hello" if number <= 10 else 400
    memory = Memory(tmp_path / "memory.sqlite")
    with pytest.raises(EndpointRefused, match="conversations in a row") as raised:
        held(memory, endpoint.url, 80)
    assert "\n" not in str(raised.value)
    assert len(memory.ids(Attempt)) < 40


def test_no_endpoint_is_waited_for_longer_than_patience_lasts(tmp_path: Path) -> None:
    gone = endpoints.Failed("later", 500, {"Retry-After": "9" * 400})
    one = endpoints.Endpoint("here", 1)

    async def ask() -> None:
        raise gone

    with pytest.raises(EndpointGone, match="asks to wait"):
        asyncio.run(one.call(ask))
