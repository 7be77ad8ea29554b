"""How fast the same prompts are answered one by one, gathered into batches, and by vLLM: greedy, the same machine.

python -m tests.benchmarks.serving [PROMPTS [IN_FLIGHT]] [--model FOLDER] [--most TOKENS] [--alone PROMPTS]

Without --model it is the sandbox's target; --alone is how many of the prompts are asked one by one. vLLM is asked where
BREAKFIX_VLLM_PYTHON names a Python that has it. Each way is gone through `ROUNDS` times in turn, and the median said.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median
from typing import Any

import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage

from evals.report.markdown import table
from tools.engine import Engine, Local
from tools.llm import Model, Serving
from tools.records import BASE
from tools.sandbox import target, world
from tools.serve import PYTHON, Server, chat

ROUNDS = 3
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


def main(options: argparse.Namespace) -> None:
    settings = target.Settings(heads=4)  # on a CPU vLLM has no attention for the usual eight, of sixteen numbers each
    folder = options.model or target.build(settings, lambda done, total: None)
    said, many, together = prompts(options.prompts), options.in_flight, f"{options.in_flight} in flight"
    engine, alone = Engine(folder, many, options.most), said[: options.alone or len(said)]
    ways = {"one by one": one_by_one(engine), f"hf:, {together}": gathered(Local(engine=engine), many)}
    found: dict[str, list[tuple[float, int, list[str]]]] = {}
    half = Serving(memory=0.5 if torch.cuda.is_available() else None)
    with tempfile.TemporaryDirectory() as run:
        spec = Model(model=f"vllm:{folder}", max_tokens=options.most, concurrency=many, vllm=half)
        server = Server(folder, Path(run) / "vllm.log", spec.vllm)
        if os.environ.get(PYTHON):
            server.start()
            ways[f"vllm:, {together}"] = gathered(chat(server, spec, BASE, engine.as_chat), many)
        for name, way in ways.items():
            timed(way, alone[:2] if name == "one by one" else said[:many])
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found.setdefault(name, []).append(timed(way, alone if name == "one by one" else said))
        server.stop()
    plain, rows, first = found["one by one"][0][2], [], 0.0
    for name, rounds in found.items():
        seconds, (_, tokens, answers) = median(one[0] for one in rounds), rounds[0]
        first = first or tokens / seconds
        same = sum(a == b for a, b in zip(plain, answers, strict=False))
        rows.append([name, f"{seconds:.2f}", f"{len(answers) / seconds:.1f}", f"{tokens / seconds:,.0f}",
                     f"{tokens / seconds / first:.1f}x", f"{same} of {len(plain)}"])  # fmt: skip
    print(table(["way", "seconds", "answers a second", "tokens a second", "of one by one", "same text"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("prompts", type=int, nargs="?", default=512)
    parser.add_argument("in_flight", type=int, nargs="?", default=64)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--alone", type=int)
    main(parser.parse_args())
