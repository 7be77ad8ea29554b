"""A night's turn on one card: vLLM serves, sleeps while an adapter is trained there, wakes, and serves that as well.

python -m tests.benchmarks.one_card FOLDER [--method lora | qlora] [--rows N] [--length TOKENS] [--prompts N]
    [--most TOKENS]

FOLDER holds a model that vLLM can serve, such as what `tests.benchmarks.training.built` leaves. Each part is told with
its seconds and the most of the card that was taken. It has not been run to its end yet: the card that was lent had no
vLLM.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from evals.report.markdown import table
from tests.benchmarks.serving import gathered, prompts
from tests.benchmarks.training import rows
from tools.engine import Engine
from tools.llm import Model
from tools.records import BASE, StagePlan
from tools.serve import Server, chat
from training import stages
from training.settings import Training


@contextmanager
def timed(found: list[tuple[str, str, str]], what: str) -> Iterator[None]:
    """Adds to what was found how long it took, and the most of the card that anybody had while it did."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            free, total = torch.cuda.mem_get_info()
            most[0] = max(most[0], total - free)

    watcher, began = threading.Thread(target=look), time.perf_counter()
    watcher.start()
    try:
        yield
    finally:
        lasted = time.perf_counter() - began
        time.sleep(0.1)
        over.set()
        watcher.join()
        found.append((what, f"{lasted:.1f}", f"{most[0] / 2**30:.1f}"))


def main(options: argparse.Namespace) -> None:
    folder, found = options.folder, list[tuple[str, str, str]]()
    made = rows(options.rows, options.length, AutoTokenizer.from_pretrained(folder))
    plan = StagePlan(stage="sft", base=str(folder), cycle=1, examples="all", rows=len(made), epochs=1, rate=1e-4,
                     rank=32, batch=16, length=options.length, seed=0, method=options.method)  # fmt: skip
    spec = Model(model=f"vllm:{folder}", max_tokens=options.most, concurrency=options.prompts)
    template = Engine(folder, 1, options.most).as_chat
    said = prompts(options.prompts)
    with tempfile.TemporaryDirectory() as run:
        server = Server(folder, Path(run) / "vllm.log", spec.vllm, rank=32, rests=True)

        def answers(adapter: str) -> list[Any]:
            return asyncio.run(gathered(chat(server, spec, adapter, template), len(said))(said))

        try:
            with timed(found, "vLLM starts"):
                server.start()
            process = server.process
            answers(BASE)
            with timed(found, f"{len(said)} answers of {options.most} tokens"):
                before = answers(BASE)
            with timed(found, "it goes to sleep"):
                server.sleep()
            with timed(found, f"asleep{'' if server.asleep else ' (stopped: this build cannot sleep)'}"):
                time.sleep(1)
            with timed(found, f"{plan.method} SFT, {len(made)} rows of {options.length} tokens, its process"):
                settings = Training(method=options.method)
                adapter = stages.run_stage(plan, made, Path(run), None, lambda seen: None, settings)
            with timed(found, "it wakes"):
                server.start()
            with timed(found, "the adapter is loaded"):
                server.load(adapter.id, Path(run) / adapter.path)
            with timed(found, "as many answers of the base, and of the adapter"):
                after, tuned = answers(BASE), answers(adapter.id)
        except Exception:
            print((Path(run) / "vllm.log").read_text()[-3000:])
            raise
        finally:
            server.stop()
    print(table(["what", "seconds", "GiB of the card, at most"], found))
    same = sum(one.text == other.text for one, other in zip(before, after, strict=True))
    other = sum(one.text != two.text for one, two in zip(after, tuned, strict=True))
    print(f"\nsame server process: {process is server.process}; the base says the same after its sleep to {same} of "
          f"{len(said)}; the adapter says something else to {other}; SFT took {adapter.steps} steps, "
          f"{adapter.seconds} s, loss {adapter.loss_first:.2f} to {adapter.loss_last:.2f}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=("lora", "qlora"), default="lora")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--most", type=int, default=128)
    main(parser.parse_args())
