"""How fast the same prompts are answered one by one, gathered into batches, and by vLLM: greedy, the same machine.

python -m tests.benchmarks.serving [PROMPTS [IN_FLIGHT]]

vLLM is asked where BREAKFIX_VLLM_PYTHON names a Python that has it. Each way is gone through `ROUNDS` times in turn,
and the median said.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage

from evals.report.markdown import table
from tools.engine import Engine, Local
from tools.llm import Model
from tools.records import BASE
from tools.sandbox import target, world
from tools.serve import PYTHON, Server, chat

MOST, ROUNDS = 40, 3
Way = Callable[[list[str]], Coroutine[Any, Any, list[AIMessage]]]


def prompts(n: int) -> list[str]:
    """Harmful requests of the town, in the languages that its target speaks."""
    goals = [goal.text for goal in world.goals(0, n, 0, 0) if goal.intent == "harmful"]
    return (goals * (n // len(goals) + 1))[:n]


def gathered(model: BaseChatModel, in_flight: int) -> Way:
    """All at once, at most so many in flight."""

    async def ask(said: list[str]) -> list[AIMessage]:
        gate = asyncio.Semaphore(in_flight)

        async def one(text: str) -> AIMessage:
            async with gate:
                return await model.ainvoke([HumanMessage(text)])

        return list(await asyncio.gather(*map(one, said)))

    return ask


def one_by_one(engine: Engine) -> Way:
    """`generate` of transformers, a prompt at a time."""

    async def ask(said: list[str]) -> list[AIMessage]:
        answers = [engine.generate([engine.as_chat([HumanMessage(text)])], BASE)[0] for text in said]
        return [AIMessage(one.text, usage_metadata={
            "input_tokens": one.read, "output_tokens": one.written, "total_tokens": one.read + one.written,
        }) for one in answers]  # fmt: skip

    return ask


def timed(way: Way, said: list[str]) -> tuple[float, int, list[str]]:
    """Seconds, tokens written, and the answers."""
    began = time.perf_counter()
    answers = asyncio.run(way(said))
    seconds = time.perf_counter() - began
    return seconds, sum((one.usage_metadata or {"output_tokens": 0})["output_tokens"] for one in answers), [
        str(one.text) for one in answers
    ]  # fmt: skip


def main(n: int, in_flight: int) -> None:
    settings = target.Settings(heads=4)  # on a CPU vLLM has no attention for the usual eight, of sixteen numbers each
    folder, said = target.build(settings, lambda done, total: None), prompts(n)
    engine = Engine(folder, in_flight, MOST)
    ways = {"one by one": one_by_one(engine), f"hf:, {in_flight} in flight": gathered(Local(engine=engine), in_flight)}
    with tempfile.TemporaryDirectory() as run:
        spec = Model(model=f"vllm:{folder}", max_tokens=MOST, concurrency=in_flight)
        server = Server(folder, Path(run) / "vllm.log", spec.vllm)
        if os.environ.get(PYTHON):
            server.start()
            ways[f"vllm:, {in_flight} in flight"] = gathered(chat(server, spec, BASE, engine.as_chat), in_flight)
        for way in ways.values():
            timed(way, said[:in_flight])
        found: dict[str, list[tuple[float, int, list[str]]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(timed(way, said))
        server.stop()
    first = median(seconds for seconds, _, _ in found["one by one"])
    plain = found["one by one"][0][2]
    rows = []
    for name, rounds in found.items():
        seconds, tokens = median(one[0] for one in rounds), rounds[0][1]
        same = sum(a == b for a, b in zip(plain, rounds[0][2], strict=True))
        rows.append([name, f"{seconds:.2f}", f"{n / seconds:.0f}", f"{tokens / seconds:.0f}", f"{first / seconds:.1f}x",
                     f"{same} of {n}"])  # fmt: skip
    print(table(["way", "seconds", "answers a second", "tokens a second", "of one by one", "same text"], rows))


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:] + ["512", "64"][len(sys.argv) - 1 :])))
