"""What training through us costs over a bare TRL script of the same data and settings, and whether it is the same.

python -m tests.benchmarks.training [REPEATS] [--model FOLDER | phi3-mini-random | phi3-tiny-random] [--steps N]
    [--batch ROWS] [--at-once ROWS] [--length TOKENS]

Each stage is a process, ours and the bare one in turn. Without --model it is the sandbox's target. Of a model with
random weights only time and memory are of interest: Phi-3-mini's shape at full size wants a GPU of 24 GB or more.
What ours does beside the steps (looks, weights that are kept, checkpoints, the curve) is in callbacks and saves: their
CPU is told by itself, as two processes that do the same differ by several percent on a small machine. That the steps
are the same is told as well: every operation of one, on tensors of which shapes.
Tokens a second and FLOPs are by the median step, from the second on; of attention no FLOPs are counted.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from operator import sub
from pathlib import Path
from statistics import median
from typing import Any

from evals.report.markdown import table
from tools.records import Example, StagePlan
from tools.sandbox import target, world
from training import dataset, stages
from training.settings import Training

RANDOM = {
    "phi3-mini-random": {},  # transformers' own defaults are Phi-3-mini's shape
    "phi3-tiny-random": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                         "num_key_value_heads": 4},
}  # fmt: skip
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second, by a word in the card's name, from the makers' data sheets."""
COMMON = {"lr_scheduler_type": "cosine", "warmup_steps": 0.05, "logging_steps": 1, "save_strategy": "no",
          "report_to": "none", "disable_tqdm": True}  # fmt: skip

WAYS = {"bare": {}, "bare, in a stage's environment": stages.QUIET, "ours": stages.QUIET}
"""What is run, and what its environment is told. A bare script has that of its user's shell."""
ONE = 2
"""The step whose operations are told, from 0."""


def rows(n: int, length: int, tokenizer: Any) -> list[Example]:
    """General rows of the town, each with another's answer as what is rejected; for a `length`, filled up to it."""
    found = world.retained(0, n, ["en", "es", "zh"])
    made = []
    for number, (prompt, answer) in enumerate(found):
        other = found[number - 1][1] + " ."
        if length:
            few = max(1, len(tokenizer(answer).input_ids))
            answer, other = (" ".join([text] * (length // few + 1)) for text in (answer, other))
        made.append(Example(kind="retain", prompt=prompt, chosen=answer, rejected=other, language="en", cycle=1,
                            writer="town", number=number))  # fmt: skip
    return made


def plans(model: Path, options: argparse.Namespace, n: int) -> list[StagePlan]:
    small = options.model is None
    common = {"base": str(model), "cycle": 1, "examples": "all", "rows": n, "rank": 32, "batch": options.batch,
              "length": options.length, "seed": 0, "epochs": 2 if small else 1}  # fmt: skip
    return [StagePlan(stage="sft", rate=8e-4 if small else 1e-4, **common),
            StagePlan(stage="dpo", rate=5e-5 if small else 5e-6, **common)]  # fmt: skip


def bare(folder: Path, spec: stages.Spec) -> None:
    """What one would write with TRL's documentation at hand."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    plan, cuda = spec.plan, torch.cuda.is_available()
    torch.set_num_threads(spec.settings.threads or 1)
    model = AutoModelForCausalLM.from_pretrained(plan.base, dtype=torch.bfloat16 if cuda else torch.float32)
    read = [Example.model_validate_json(line) for line in (folder / stages.ROWS).read_text().splitlines()]
    micro = min(plan.batch, spec.settings.at_once)
    settings: dict[str, Any] = COMMON | {
        "output_dir": str(folder / "bare"), "num_train_epochs": plan.epochs, "learning_rate": plan.rate,
        "per_device_train_batch_size": micro, "gradient_accumulation_steps": plan.batch // micro, "seed": plan.seed,
        "data_seed": plan.seed, "max_length": plan.length, "bf16": cuda, "use_cpu": not cuda,
        "gradient_checkpointing": cuda,
    }  # fmt: skip
    data = [{"prompt": [asdict(message) for message in row.prompt]} for row in read]
    for one, row in zip(data, read, strict=True):
        said = {"completion": row.chosen} if plan.stage == "sft" else {"chosen": row.chosen, "rejected": row.rejected}
        one |= {name: [{"role": "assistant", "content": text}] for name, text in said.items()}
    more = {"train_dataset": Dataset.from_list(data), "processing_class": AutoTokenizer.from_pretrained(plan.base)}
    if plan.stage == "sft":
        lora = LoraConfig(r=plan.rank, lora_alpha=2 * plan.rank, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = SFTTrainer(model, SFTConfig(**settings), peft_config=lora, **more)
    else:
        losses = {"beta": plan.beta, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, plan.sft_weight]}
        model = PeftModel.from_pretrained(model, str(spec.parent), is_trainable=True)
        trainer = DPOTrainer(model, args=DPOConfig(**settings, **losses), **more)
    trainer.train()
    trainer.save_model(str(folder / "bare"))


def child(way: str, folder: Path) -> None:
    """Trains in this process, and leaves what TRL's `train` took."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import CallbackHandler

    train, step, found = Trainer.train, Trainer.training_step, dict[str, Any]()
    ends, beside = list[float](), [0.0]

    def counted(method: Any) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            began = time.process_time()
            try:
                return method(*given, **more)
            finally:
                beside[0] += time.process_time() - began

        return call

    CallbackHandler.call_event = counted(CallbackHandler.call_event)
    Trainer._save_checkpoint = counted(Trainer._save_checkpoint)

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, done: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found.setdefault("operations", []).append(
                f"{done} {[tuple(one.shape) for one in args if torch.is_tensor(one)]}"
            )
            return done(*args, **(kwargs or {}))

    def watched(self: Any, *given: Any, **more: Any) -> Any:
        with Operations() if self.state.global_step == ONE else nullcontext():
            return step(self, *given, **more)

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, *_: Any, **more: Any) -> None:
            ends.append(time.perf_counter())

    def timed(self: Any, *args: Any, **more: Any) -> Any:
        self.add_callback(Clock())
        wall, cpu = time.perf_counter(), time.process_time()
        came = train(self, *args, **more)
        found.update(seconds=time.perf_counter() - wall, cpu=time.process_time() - cpu, steps=self.state.global_step,
                     losses=[one["loss"] for one in self.state.log_history if "loss" in one],
                     tokens=tokens(self.train_dataset) * self.args.num_train_epochs,
                     parameters=self.model.num_parameters(), beside=beside[0],
                     step=median(map(sub, ends[1:], ends)))  # fmt: skip
        return came

    Trainer.train, Trainer.training_step = timed, watched
    spec = stages.Spec.model_validate_json((folder / stages.SPEC).read_text())
    bare(folder, spec) if way == "bare" else stages.train(folder, spec, lambda seen: None)
    cuda = torch.cuda.is_available()
    found["memory"] = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(0).ru_maxrss
    found["card"] = torch.cuda.get_device_name() if cuda else ""
    (folder / f"{way}.json").write_text(json.dumps(found))


def tokens(data: Any) -> int:
    """All that a pass over the rows reads; a pair has its prompt twice."""
    if "input_ids" in data.column_names:
        return sum(map(len, data["input_ids"]))
    return sum(2 * len(one["prompt_ids"]) + len(one["chosen_ids"]) + len(one["rejected_ids"]) for one in data)


def ran(way: str, folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / stages.WORK, ignore_errors=True)  # or the next one would go on from its last checkpoint
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = "ours" if way == "ours" else "bare"
    command = [sys.executable, "-m", "tests.benchmarks.training", "--child", child, "--folder", str(folder)]
    with (folder / f"{child}.log").open("w") as log:
        env = os.environ | WAYS[way] | {"PYTHONSAFEPATH": ""}
        code = subprocess.run(command, env=env, stdout=log, stderr=log, check=False).returncode
    if code:
        sys.exit(f"{way} ended with code {code}: {(folder / f'{child}.log').read_text()[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole_cpu = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    told: dict[str, Any] = json.loads((folder / f"{child}.json").read_text())
    return told | {"whole": time.perf_counter() - began, "whole_cpu": whole_cpu}


def built(name: str | None, folder: Path) -> Path:
    """The folder of the model: the sandbox's target, one with random weights, or one that is there."""
    town = target.build(target.Settings(), lambda step, steps: None)
    if name is None or name not in RANDOM:
        return Path(name) if name else town
    import torch
    from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(town)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Phi3ForCausalLM._from_config(
            Phi3Config(**RANDOM[name], pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id),
            dtype=torch.bfloat16,
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def line(plan: StagePlan, way: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    one, seconds = runs[0], median(run["seconds"] for run in runs)
    steps, step = one["steps"], median(run["step"] for run in runs)
    rate = one["tokens"] / steps / step
    flops = (4 if plan.stage == "sft" else 6) * one["parameters"]  # a token's: no gradients of frozen weights
    peak = next((most for word, most in PEAK.items() if word in one["card"]), 0)
    cpu, whole = (median(run[name] for run in runs) for name in ("cpu", "whole_cpu"))
    return (plan.stage.upper(), way, f"{steps / seconds:.2f}", f"{step:.3f}", f"{1000 * cpu / steps:.0f}",
            f"{rate:,.0f}", f"{rate * flops / peak:.1%}" if peak else "", f"{one['memory'] / 2**30:.2f}",
            f"{median(run['whole'] for run in runs):.1f}", f"{whole:.1f}")  # fmt: skip


def measure(options: argparse.Namespace, work: Path) -> None:
    from transformers import AutoTokenizer

    model = built(options.model, work / "model")
    settings = Training(at_once=options.at_once, dropout=0, threads=1 if options.model is None else None)
    steps = options.steps or (38 if options.model is None else 12)
    made = rows(steps * options.batch, options.length if options.model else 0, AutoTokenizer.from_pretrained(model))
    parent: Path | None = None
    for plan in plans(model, options, len(made)):
        folder = work / plan.id
        folder.mkdir()
        given = made if plan.stage == "sft" else dataset.thinned(dataset.pairs(made), len(made), plan.seed)
        (folder / stages.ROWS).write_text("".join(row.model_dump_json() + "\n" for row in given))
        (folder / stages.SPEC).write_text(stages.Spec(plan=plan, parent=parent, settings=settings).model_dump_json())
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for repeat in range(options.repeats):
            for way in WAYS if repeat % 2 else reversed(WAYS):
                runs[way].append(ran(way, folder))
        head = ("stage", "way", "steps/s", "s/step", "CPU ms/step", "tokens/s", "MFU", "GiB", "process s",
                "process CPU s")  # fmt: skip
        print(table(head, [line(plan, way, some) for way, some in runs.items()]), flush=True)
        for way in WAYS:
            if way != "ours":
                print(f"\nours over {way}: {compared(runs['ours'], runs[way])}", flush=True)
        print(flush=True)
        parent = folder


def compared(ours: list[dict[str, Any]], bare: list[dict[str, Any]]) -> str:
    """By how much ours costs more than as many bare runs, each beside its own."""
    both = list(zip(ours, bare, strict=True))
    whole, step, cpu = (f"{median(x[name] / y[name] - 1 for x, y in both):+.1%}" for name in ("seconds", "step", "cpu"))
    beside = median((x["beside"] - y["beside"]) / y["cpu"] for x, y in both)
    same = "the same" if all(one["operations"] == ours[0]["operations"] for one in (*ours, *bare)) else "NOT THE SAME"
    apart = max(abs(a - b) for x, y in both for a, b in zip(x["losses"], y["losses"], strict=True))
    return (f"time {whole}, the median step {step}, CPU {cpu}, of which beside the steps {beside:+.1%}; {same} "
            f"{len(ours[0]['operations'])} operations in a step; the losses of {len(ours[0]['losses'])} steps are at "
            f"most {apart:.1e} apart")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("repeats", type=int, nargs="?", default=5)
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--length", type=int, default=160)
    parser.add_argument("--child", choices=("bare", "ours"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder)
    else:
        with tempfile.TemporaryDirectory() as work:
            measure(options, Path(work))


if __name__ == "__main__":
    main()
