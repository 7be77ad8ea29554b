"""Doing many conversations at once, and keeping each as soon as it is done."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
EVERY = 0.5
"""Seconds between two writes of what has been finished."""


def campaign(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], keep: Callable[[Sequence[R]], None], cap: int
) -> None:
    """Runs `work` on every item, at most `cap` at a time, and hands what is finished to `keep` in batches.

    When one raises, the others are stopped, what is finished is kept, and the error goes up.
    """
    asyncio.run(_campaign(items, work, keep, cap))


async def _campaign(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], keep: Callable[[Sequence[R]], None], cap: int
) -> None:
    queue, finished, kept = iter(items), list[R](), time.monotonic()

    async def worker() -> None:
        nonlocal kept
        for item in queue:
            finished.append(await work(item))
            if time.monotonic() - kept > EVERY:
                kept = time.monotonic()
                await asyncio.to_thread(keep, taken(finished))

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(cap):
                workers.create_task(worker())
    except* Exception as group:
        raise first(group) from None
    finally:
        if finished:
            keep(taken(finished))


def taken(finished: list[R]) -> list[R]:
    """Empties the list and returns what was in it."""
    batch = finished[:]
    finished.clear()
    return batch


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of errors."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
