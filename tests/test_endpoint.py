"""`openai:NAME` against a real server on the loopback that answers as an OpenAI-compatible endpoint does."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydantic import BaseModel

from tools.llm import Model, ask, chat

KEY = "a-key-that-must-not-be-written-down"


class Answer(BaseModel):
    word: str


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of an endpoint, and what it has been asked; its first answer is a 500."""
    seen: list[dict[str, Any]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"key": self.headers["Authorization"], "path": self.path, **body})
            reply = {
                "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "content": '{"word": "hello"}'}}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
            }  # fmt: skip
            self.send_response(500 if len(seen) == 1 else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MY_KEY", KEY)
    yield f"http://127.0.0.1:{server.server_port}/v1", seen
    server.shutdown()
    server.server_close()


def test_an_endpoint_is_asked_by_name_with_the_key_of_the_environment(asked: tuple[str, list[dict[str, Any]]]) -> None:
    address, seen = asked
    spec = Model(model="openai:mine", base_url=address, key_env="MY_KEY", temperature=0.5, max_tokens=9)
    assert asyncio.run(ask(chat(spec), "be brief", "say hello", Answer)) == Answer(word="hello")
    assert len(seen) == 2
    assert (seen[1]["model"], seen[1]["path"], seen[1]["key"]) == ("mine", "/v1/chat/completions", f"Bearer {KEY}")
    assert [message["content"] for message in seen[1]["messages"]] == ["be brief", "say hello"]
    assert seen[1]["temperature"] == 0.5
    assert KEY not in spec.model_dump_json()
