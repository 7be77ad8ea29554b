"""An OpenAI-compatible endpoint on the loopback that answers, or misbehaves, as it is told to.

`python tests/endpoint.py SECONDS` takes that long for each answer; it prints its address, serves until its standard
input ends, and prints as JSON how many requests there were and how many at a time at most.
"""

import asyncio
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Weighed = list[tuple[str, dict[str, float]]]
"""The tokens of an answer, each with the probabilities of those that could have stood in its place."""
Say = str | int | bytes | Weighed
"""What a request gets: an answer's text or tokens, a status, the bytes of a body, or one of `reset` and `hang`."""
RESET, HANG = b"reset", b"hang"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def body(text: str | None, chat: bool = True, logprobs: dict[str, Any] | None = None) -> bytes:
    """A chat completion that says `text`, or a completion of plain text."""
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": logprobs, **said}
    kind = "chat.completion" if chat else "text_completion"
    completion = {"id": "1", "object": kind, "created": 0, "model": "mock", "choices": [choice]}
    return json.dumps({**completion, "usage": USAGE}).encode()


def logprobs(tokens: Weighed, chat: bool) -> dict[str, Any]:
    """Probabilities as chat completions tell them, or completions
    (https://platform.openai.com/docs/api-reference/completions/object)."""
    tops = [{token: math.log(p) for token, p in others.items()} for _, others in tokens]
    if not chat:
        own = [top[token] for (token, _), top in zip(tokens, tops, strict=True)]
        return {"tokens": [token for token, _ in tokens], "token_logprobs": own, "top_logprobs": tops}
    content = [
        {"token": token, "logprob": top[token], "top_logprobs": [{"token": t, "logprob": p} for t, p in top.items()]}
        for (token, _), top in zip(tokens, tops, strict=True)
    ]
    return {"content": content}


@dataclass
class Endpoint:
    """What a server says to its n-th request (`say`), after `latency` seconds, and what it has been asked."""

    say: Callable[[int, dict[str, Any]], Say] = lambda number, asked: "hello"
    latency: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    error: bytes = b'{"error": {"message": "as it was told to"}}'
    """Both are sent with every status that is not 200."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    flying: int = 0
    peak: int = 0
    port: int = 0
    open: set[asyncio.Transport] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class Connection(asyncio.Protocol):
    """One client's connection, kept open: HTTP/1.1 as far as a chat client speaks it."""

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.buffer = endpoint, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.endpoint.open.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.endpoint.open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        length = int(next((headers[name] for name in headers if name.lower() == "content-length"), 0))
        if found and len(rest) >= length:
            self.buffer = rest[length:]
            self.endpoint.keys.append(headers.get("Authorization", ""))
            self.endpoint.paths.append(head.decode().split(" ")[1])
            self.request(json.loads(rest[:length]))

    def request(self, asked: dict[str, Any]) -> None:
        one = self.endpoint
        one.asked.append(asked)
        one.flying += 1
        one.peak = max(one.peak, one.flying)
        asyncio.get_running_loop().call_later(one.latency, self.answer, one.say(len(one.asked) - 1, asked), asked)

    def answer(self, said: Say, asked: dict[str, Any]) -> None:
        self.endpoint.flying -= 1
        if said == RESET:
            self.transport.abort()
        elif said != HANG:
            chat, weighed = "messages" in asked, None
            if isinstance(said, list):
                weighed = logprobs(said, chat) if asked.get("logprobs") else None
                said = "".join(token for token, _ in said)
            status = said if isinstance(said, int) else 200
            sent = (
                said
                if isinstance(said, bytes)
                else body(said, chat, weighed)
                if isinstance(said, str)
                else self.endpoint.error
            )
            headers = {"Content-Type": "application/json", "Content-Length": len(sent)}
            headers |= self.endpoint.headers if status != 200 else {}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 {status} .\r\n{head}\r\n".encode() + sent)


@contextmanager
def running(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Serves in a thread. What is in flight at the end is cut off; the same endpoint may be run again, on its port."""
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def serve() -> asyncio.Server:
        server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", endpoint.port, backlog=1024)
        endpoint.port, endpoint.flying = server.sockets[0].getsockname()[1], 0
        return server

    def stop(server: asyncio.Server) -> None:
        server.close()
        for transport in list(endpoint.open):
            transport.abort()
        loop.call_soon(loop.stop)

    def run() -> None:
        served.append(loop.run_until_complete(serve()))
        started.set()
        loop.run_forever()
        loop.close()

    served: list[asyncio.Server] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(5)
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(lambda: stop(served[0]))
        thread.join(5)


if __name__ == "__main__":
    with running(Endpoint(latency=float(sys.argv[1]))) as one:
        print(one.url, flush=True)
        sys.stdin.read()
        print(json.dumps({"requests": len(one.asked), "peak": one.peak}), flush=True)
