"""Endpoints: how many requests are in flight at one, what is asked again, and when it is given up."""

import asyncio
import logging
import math
import random
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, TypeVar

T = TypeVar("T")
LOG = logging.getLogger("breakfix")
LOG.addHandler(logging.NullHandler())
Kind = Literal["refused", "own", "limited", "away", "slow", "wrong"]
"""What a failure says: the recipe is wrong; this conversation is; too many requests; nobody is there; no answer in
time; no answer that can be read."""

TRIES: dict[Kind, int] = {"refused": 1, "own": 1, "limited": 20, "away": 6, "slow": 3, "wrong": 6}
"""Tries of one call. Those of a `SHARED` kind count only when somebody else has had an answer in between."""
SAID: dict[Kind, str] = {
    "refused": "endpoint refuses", "own": "endpoint does not take this conversation", "limited": "too many requests",
    "away": "endpoint does not answer", "slow": "no answer in time", "wrong": "no answer that can be read",
}  # fmt: skip
"""What the log says of a failure."""
SHARED: tuple[Kind, ...] = ("limited", "away")
FALLEN: tuple[Kind, ...] = ("away", "slow", "wrong")
"""After these a server of our own may have to be started again."""
STATUS: dict[int, Kind] = {
    400: "own", 413: "own", 422: "own", 408: "wrong", 409: "wrong", 425: "wrong", 429: "limited",
    502: "away", 503: "away", 504: "away", 529: "limited",
}  # fmt: skip
"""Every other 3xx and 4xx is `refused`, and every other status `wrong`."""
MENDS = {
    400: "compare what it takes with the recipe's settings",
    401: "set the variable named by key_env to a key that is valid",
    402: "the account behind the key has no credit left",
    403: "the key may not use this model: name another model or another key_env",
    404: "check the recipe's model and base_url (which often ends in /v1)",
}
THEIRS = re.compile(r"content.?(filter|policy|management)|moderation|flagged|(context|prompt|input).{0,20}l[oe]ng|tool")
"""Words of an error that is about one call, its text, length or tools, and says nothing of the others."""
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the next try of a call, each shortened by chance; the last for all further ones."""
TIMEOUT = 120.0
"""Seconds that one request may take."""
PATIENCE, AT_FIRST = 300.0, 30.0
"""Seconds without any answer before an endpoint is given up, where nobody says another number; the second, of one that
has never answered."""
LONG, SLOWEST = 60.0, 60.0
"""Seconds without any answer from which on somebody is told, and most between two tries then."""
OWN = 20
"""Conversations in a row that one model will not take before that is the recipe's fault and not theirs."""
ROW = 5
"""Calls in a row that came to nothing before an endpoint is given up."""
LATER = "mend that (the run's own recipe.toml may be edited), and `breakfix resume` goes on where it was"


Wait = Callable[[str, float, float, str], None]
"""Told of a wait: who is waited for, for how many seconds so far and at most, and why; empty where that is over."""


class EndpointGone(RuntimeError):
    """An endpoint has stopped answering. What was finished is kept, and the run can be gone on with."""


class EndpointRefused(RuntimeError):
    """An endpoint takes no request of this recipe: a wrong key, model or address."""


class Unanswered(RuntimeError):
    """One call has come to nothing, while the endpoint may well answer others."""


class Failed(Exception):
    """An answer that is none, with the status and the headers that it came with."""

    def __init__(self, said: str, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(said)
        self.status_code, self.headers = status_code, headers or {}


class Trouble(NamedTuple):
    """What a failure comes to: its kind, one line, and for how many seconds the endpoint asks to be left alone."""

    kind: Kind
    said: str
    wait: float = 0.0

    @property
    def status(self) -> dict[str, int]:
        """Its HTTP status, where it had one: the rest of what was said may quote what was asked."""
        found = re.match(r"status (\d+)", self.said)
        return {"status": int(found[1])} if found else {}


@dataclass
class Call:
    """One call on its way: what it has met since somebody last had an answer."""

    model: str
    answers: int
    tried: "Counter[Kind]" = field(default_factory=Counter)
    since: float | None = None


@dataclass
class Endpoint:
    """The gate before one endpoint, for every role and conversation that asks it.

    The limit starts at the cap, is halved by a 429 (once for all the requests that were in flight together) and grows
    back by one for each `limit` answers: additive increase, multiplicative decrease, as TCP does
    (https://www.rfc-editor.org/rfc/rfc5681). When nobody is there, one request at a time finds out whether that lasts.
    """

    name: str
    cap: int
    limit: float = 0.0
    flying: int = 0
    answers: int = 0
    cuts: int = 0
    """How often the limit has been halved."""
    row: int = 0
    """Calls that came to nothing since the last answer."""
    own: "Counter[str]" = field(default_factory=Counter)
    """For each model, conversations that it would not take since it took one."""
    away: bool = False
    since: float | None = None
    """When it was last known to answer, where it does not now."""
    closed_until: float = 0.0
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)
    revive: Callable[[], bool] | None = None
    """Starts the server behind it again, if it has to; whether it did. It may take minutes, in a thread."""
    reviving: "asyncio.Future[bool] | None" = None

    def __post_init__(self) -> None:
        self.limit = self.limit or float(self.cap)

    @property
    def room(self) -> int:
        return 1 if self.away else int(self.limit)

    async def call(self, ask: Callable[[], Awaitable[T]], model: str = "") -> T:
        """What `ask` returns, however many tries that takes.

        Raises Unanswered when this call is given up, EndpointGone when the endpoint is, and EndpointRefused when it
        wants another key, model or address.
        """
        call = Call(model, self.answers)
        while True:
            await self._enter()
            cuts = self.cuts
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await ask()
            except Unanswered:
                self._answered(model)
                raise
            except Exception as error:
                met = trouble(error)
                pause = 0.0 if met.kind in FALLEN and await self._revived() else self._failed(call, met, cuts)
            else:
                self._answered(model)
                return answer
            finally:
                self._leave()
            await asyncio.sleep(pause)

    async def _revived(self) -> bool:
        """Whether the server had to be started again; one start is for everybody, and nobody is let in meanwhile."""
        if self.revive is None:
            return False
        if self.reviving is None or self.reviving.done():
            self.reviving = asyncio.ensure_future(asyncio.to_thread(self.revive))
        try:
            return await asyncio.shield(self.reviving)
        except RuntimeError as error:
            raise EndpointGone(f"{error}; {LATER}") from error

    async def _enter(self) -> None:
        while True:
            pause = self.closed_until - time.monotonic()
            if self.reviving and not self.reviving.done():
                await asyncio.wait([self.reviving])
            elif pause > 0:
                await asyncio.sleep(pause)
            elif self.flying < self.room:
                self.flying += 1
                return
            else:
                gate = asyncio.get_running_loop().create_future()
                self.waiting.append(gate)
                try:
                    await gate
                finally:
                    if gate in self.waiting:
                        self.waiting.remove(gate)

    def _leave(self) -> None:
        self.flying -= 1
        for _ in range(min(self.room - self.flying, len(self.waiting))):
            gate = self.waiting.popleft()
            if not gate.done():
                gate.set_result(None)

    def _answered(self, model: str) -> None:
        if self.away:
            LOG.info("endpoint answers again", extra={"told": {"endpoint": self.name, "model": model}})
        self.own[model] = 0
        self.answers += 1
        if self.since is not None and (lasted := time.monotonic() - self.since) > LONG:
            WAITING.tell(self.name, lasted, WAITING.patience, "")
        self.since = None
        self.row, self.away = 0, False
        self.limit = min(self.cap, self.limit + 1 / self.limit)

    def _failed(self, call: Call, met: Trouble, cuts: int) -> float:
        """Seconds until the next try of a call; raises when there is to be none."""
        now, line = time.monotonic(), f"{call.model} at {self.name}: {met.said}"
        others = self.answers > call.answers
        if others or call.since is None:
            call.answers, call.since = self.answers, now
        if met.kind in ("slow", "wrong") and self.answers and self.row >= ROW - 1:
            met = met._replace(kind="away")  # it is not the calls: so many in a row came to nothing
        if met.wait > WAITING.patience:
            raise EndpointGone(f"{line}; it asks to wait {met.wait:.0f} s; {LATER}")
        if met.kind not in SHARED or (cuts == self.cuts if met.kind == "limited" else not self.away):
            LOG.warning(SAID[met.kind], extra={"told": {"endpoint": self.name, "model": call.model, **met.status}})
        if met.kind in SHARED:
            self._pause(met, now - call.since, line, cuts)
        call.tried[met.kind] += others or met.kind not in SHARED
        if call.tried[met.kind] >= TRIES[met.kind]:
            raise self._end(met, line, call.model)
        self.closed_until = max(self.closed_until, now + met.wait)
        return 0.0 if met.kind in SHARED else WAITS[min(call.tried.total(), len(WAITS)) - 1] * random.uniform(0.5, 1)

    def _pause(self, met: Trouble, lasted: float, line: str, cuts: int) -> None:
        """Leaves the endpoint alone for a while, the longer the longer it has answered nobody."""
        if met.kind == "limited" and cuts == self.cuts:
            self.limit, self.cuts = max(1.0, self.limit / 2), self.cuts + 1
        self.away = self.away or met.kind == "away"
        if lasted > (WAITING.patience if self.answers else min(WAITING.patience, AT_FIRST)):
            raise EndpointGone(f"{line}; no answer to anybody for {lasted:.0f} s; {LATER}")
        self.since = min(self.since or math.inf, time.monotonic() - lasted)
        if lasted > LONG:
            WAITING.tell(self.name, lasted, WAITING.patience, line)
        pause = min(max(WAITS[-1], min(lasted / 10, SLOWEST)), max(WAITS[0], lasted)) * random.uniform(0.5, 1)
        self.closed_until = max(self.closed_until, time.monotonic() + pause)

    def _end(self, met: Trouble, line: str, model: str) -> RuntimeError:
        """What a call ends with that is not tried again."""
        if met.kind == "refused":
            return EndpointRefused(f"{line}; {LATER}")
        if met.kind == "own" and THEIRS.search(met.said.lower()):
            return Unanswered(line)
        self.own[model] += met.kind == "own"
        self.row += met.kind != "own" or not self.answers
        if self.own[model] >= OWN:
            return EndpointRefused(f"{line}; so {OWN} conversations in a row; {LATER}")
        if self.row >= ROW:
            return EndpointGone(f"{line}; so {self.row} calls in a row; {LATER}")
        return Unanswered(line)


def nobody(name: str, lasted: float, most: float, why: str) -> None:
    """Is told of waits, and does nothing."""


@dataclass
class Waiting:
    """How long an endpoint is waited for in this process, and who is told."""

    own: float | None = None
    tell: Wait = nobody

    @property
    def patience(self) -> float:
        return PATIENCE if self.own is None else self.own


WAITING = Waiting()


@contextmanager
def patient(seconds: float, tell: Wait) -> Iterator[None]:
    """Has endpoints that have answered be waited for that long."""
    before = WAITING.own, WAITING.tell
    WAITING.own, WAITING.tell = seconds, tell
    try:
        yield
    finally:
        WAITING.own, WAITING.tell = before


ENDPOINTS: dict[str, Endpoint] = {}
"""Those of this process, by name."""


def endpoint(name: str, cap: int) -> Endpoint:
    """The endpoint of that name. Roles with the same one share its gate, whose cap is the smallest of theirs."""
    one = ENDPOINTS.setdefault(name, Endpoint(name, cap))
    one.cap = min(one.cap, cap)
    one.limit = min(one.limit, one.cap)
    return one


def trouble(error: Exception) -> Trouble:
    """What a failure says.

    Errors of the providers' own packages are known by what they have in common: `status_code`, `response.headers`.
    """
    response = getattr(error, "response", None) or error
    status = int(getattr(error, "status_code", None) or getattr(response, "status_code", None) or 200)
    said = " ".join(str(error).split())[:200] or type(error).__name__
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if status != 200:
        kind = STATUS.get(status, "refused" if 300 <= status < 500 else "wrong")
        mend = f" ({MENDS[status]})" if status in MENDS and not THEIRS.search(said.lower()) else ""
        text = "" if status == 401 else f": {said}"
        return Trouble(kind, f"status {status}{mend}{text}", wanted(getattr(response, "headers", {})))
    if "Timeout" in names:
        return Trouble("slow", f"no answer in {TIMEOUT:g} s")
    if "ConnectionError" in names or "TransportError" in names:
        return Trouble("away", f"no connection: {said}")
    return Trouble("wrong", f"no answer that can be read: {said}")


def wanted(headers: Mapping[str, str]) -> float:
    """The seconds of a Retry-After header, given as such or as a date; 0 without one that can be read."""
    text = (headers.get("Retry-After") or headers.get("retry-after") or "0").strip()
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
