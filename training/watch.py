"""Looks at a stage while it is trained: whether it runs away, and which of its steps is the one to keep."""

import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from tools.records import Example, StagePlan, digest
from training import masks
from training.saving import step_of
from training.settings import Training, Watch

CHOSEN, REJECTED, MARGIN, KL = "probe/logps/chosen", "probe/logps/rejected", "probe/rewards/margins", "probe/kl"
"""As TRL's own names without `probe/`: means over the rows of a sum over an answer's tokens, and DPO's reward margin.
The last is the KL divergence from the base, in nats for a chosen token."""
HELD = "held_out/loss"
LEAST, MOST = 4, 128
"""Fewest rows of a probe, and the tokens as far as which their answers are looked at."""
COST = 0.02
"""Most of a stage's forward passes (a backward one is two) that looking may take, but for the fewest rows."""
FEW, NEAR, FAR = 5, 5, 15
"""A short stage has a few looks, that near to each other; more where they are that far apart: else they take a
twentieth of a small model's stage."""
PASSES = {"sft": (3, 2), "dpo": (8, 3)}
"""Forward passes that a row takes: in training (policy and reference, chosen and rejected), and in a look."""

Entry = Mapping[str, float]
"""What is logged of a step."""


class Spoilt(ValueError):
    """A stage has come to what is no number, and had no sound step before."""


class Asked(NamedTuple):
    """A row of the probe, in tokens. A row of SFT has nothing rejected."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def looks(steps: int, limits: Watch) -> set[int]:
    """The steps after which the stage is looked at, its end among them."""
    number = min(limits.looks, max(2, min(FEW, steps // NEAR), steps // FAR)) if steps > 1 else min(limits.looks, 1)
    return {round(steps * one / number) for one in range(1, number + 1)}


def probe(rows: Sequence[Example], tokenizer: Any, plan: StagePlan, limits: Watch) -> list[Asked]:
    """Rows of the stage, drawn by its seed: as many as its looks can afford."""
    number, (train, look) = len(looks(int(len(rows) * plan.epochs / plan.batch), limits)), PASSES[plan.stage]
    if not number:
        return []
    most = min(limits.rows, max(LEAST, int(COST * len(rows) * plan.epochs * train / look / (number + 1))))
    drawn = sorted(rows, key=lambda row: digest(plan.seed, "probe", row.id))[:most]
    if plan.stage == "dpo":
        pairs = masks.dpo_tokens(drawn, tokenizer, plan)
        return [Asked(one["prompt_ids"], one["chosen_ids"][:MOST], one["rejected_ids"][:MOST]) for one in pairs]
    found = []
    for one in masks.sft_tokens(drawn, tokenizer, plan):
        start = next(n for n, label in enumerate(one["labels"]) if label != -100)
        found.append(Asked(one["input_ids"][:start], one["input_ids"][start:][:MOST], []))
    return found


def look(model: Any, asked: Sequence[Asked], at_once: int = 8) -> dict[str, float]:
    """What the model makes of the probe, so many rows together; nothing is drawn by chance.

    The base is the model without its adapter; where there is none, as all weights are trained, nothing is said of it.
    """
    import torch

    was, adapted = model.training, hasattr(model, "peft_config")
    model.eval()
    chosen, rejected, apart, tokens = list[float](), list[float](), 0.0, 0
    with torch.no_grad():
        for some in (asked[first : first + at_once] for first in range(0, len(asked), at_once)):
            right = [(row.prompt, row.chosen) for row in some]
            wrong = [(row.prompt, row.rejected) for row in some if row.rejected]
            after = spread(model, right)
            chosen += map(said, after, (answer for _, answer in right))
            rejected += map(said, spread(model, wrong), (answer for _, answer in wrong)) if wrong else ()
            if adapted:
                with model.disable_adapter():
                    before = spread(model, right)
                apart += sum(map(divergence, after, before))
                tokens += sum(len(answer) for _, answer in right)
    model.train(was)
    means = {CHOSEN: chosen, REJECTED: rejected}
    found = {name: math.fsum(values) / len(values) for name, values in means.items() if values}
    return found | ({KL: apart / tokens} if tokens else {})


def spread(model: Any, texts: Sequence[tuple[list[int], list[int]]]) -> list[Any]:
    """The logits of all words at each token of the answers that follow prompts. Padded on the left, so that no more
    than the longest answer's are made."""
    import torch

    longest = max(len(prompt) + len(answer) for prompt, answer in texts)
    ids, mask = torch.zeros(2, len(texts), longest, dtype=torch.long, device=model.device)
    for row, (prompt, answer) in enumerate(texts):
        whole = torch.tensor([*prompt, *answer], device=model.device)
        ids[row, -len(whole) :], mask[row, -len(whole) :] = whole, 1
    most = max(len(answer) for _, answer in texts) + 1
    autocast = torch.autocast("cuda", torch.bfloat16) if ids.is_cuda else nullcontext()
    with autocast:
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), logits_to_keep=most,
            use_cache=False,
        ).logits  # fmt: skip
    return [logits[row, -len(answer) - 1 : -1] for row, (_, answer) in enumerate(texts)]


def said(logits: Any, answer: list[int]) -> float:
    """The log-probability of an answer."""
    import torch

    logps = logits.float().log_softmax(-1)
    return float(logps.gather(1, torch.tensor(answer, device=logps.device)[:, None]).sum())


def divergence(logits: Any, others: Any) -> float:
    """The KL divergence from others' words, summed over the tokens."""
    after, before = (one.float().log_softmax(-1) for one in (logits, others))
    return float((after.exp() * (after - before)).sum())


def bad(entry: Entry, start: Entry, tokens: float, limits: Watch) -> str:
    """What is wrong with the model at a look; empty where nothing is. `tokens` are those of a mean chosen answer."""
    fell = (start[CHOSEN] - entry[CHOSEN]) / tokens
    if not math.isfinite(entry[CHOSEN]):
        return "what was chosen has no likelihood any more"
    if fell > limits.fall:
        return f"what was chosen became {fell:.2f} nats a token less likely, and {limits.fall:g} is the bound"
    if limits.kl and entry.get(KL, 0.0) > limits.kl:
        return f"the model is {entry[KL]:.2f} nats a token from its base, and {limits.kl:g} is the bound"
    return ""


def ended(seen: Sequence[Entry], tokens: float, settings: Training) -> str:
    """Why the stage should end now, by its looks, the first of which is at its start; empty where it should not."""
    start, *later = seen
    wrong = [bad(entry, start, tokens, settings.watch) for entry in later]
    if len(wrong) > 1 and wrong[-1] and wrong[-2]:
        return f"ran away by step {later[-1]['step']:.0f}: {wrong[-1]}"
    held = [entry[HELD] for entry in later if HELD in entry]
    if len(held) - 1 - held.index(min(held)) >= settings.patience if held else False:
        return f"the loss on the rows kept back has not fallen for {settings.patience} looks"
    return ""


def best(seen: Sequence[Entry], tokens: float, settings: Training) -> int:
    """The step to keep: of those at which nothing was wrong, the one with the lowest loss on what is kept back, or the
    last; 0 is the start."""
    if not seen:
        return 0
    start, *later = seen
    sound = [entry for entry in later if not bad(entry, start, tokens, settings.watch)]
    held = [entry for entry in sound if HELD in entry]
    if held:
        return int(min(held, key=lambda entry: entry[HELD])["step"])
    return int(sound[-1]["step"]) if sound else 0


class Verdict(NamedTuple):
    """What came of the looks: the folder of the weights to keep (None for those at the end), and why."""

    kept: Path | None
    why: str


class Looks:
    """What is seen of a stage, and what follows from it: the events of a callback, and in the end a verdict.

    What is seen joins what TRL logs of the step, and so is in the curve and in every checkpoint. The weights of the
    best look are held in memory (`hold` says what they are) and written before a checkpoint is kept, so that a stage
    that goes on from one finds what it had.
    """

    def __init__(self, trainer: Any, asked: Sequence[Asked], plan: StagePlan, settings: Training, work: Path,
                 hold: Callable[[], Any], write: Callable[[Path, Any], None]) -> None:  # fmt: skip
        self.trainer, self.asked, self.plan, self.settings, self.work = trainer, asked, plan, settings, work
        self.hold, self.write = hold, write
        self.tokens = sum(len(row.chosen) for row in asked) / max(1, len(asked))
        self.now: dict[str, float] = {}
        """What was seen after this step, which has not been logged yet."""
        self.why = ""
        self.held: Any = None
        """The weights of the best look so far; None where they are in its folder."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for old in self.work.glob("kept-*"):
            if step_of(old) > state.global_step:
                shutil.rmtree(old, ignore_errors=True)
        if self.asked and not seen(state):
            state.log_history.append(self.observed(state))
            self.held = self.hold()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step not in looks(state.max_steps, self.settings.watch):
            return
        self.now = self.observed(state)
        control.should_log = True  # to evaluate has been to log, and the step itself is still to be
        so_far = [*seen(state), self.now]
        if self.best(so_far) == state.global_step:
            self.held = self.hold()
        self.why = ended(so_far, self.tokens, self.settings)
        control.should_training_stop = control.should_training_stop or bool(self.why)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return
        state.log_history[-1].update(self.now)
        logs.update(self.now)
        self.now.clear()
        if not math.isfinite(logs["loss"]):
            self.why = f"the loss is {logs['loss']} at step {state.global_step}; lower the rate"
            control.should_training_stop = True
            if not self.best(seen(state)):
                raise Spoilt(self.why)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = self.best(seen(state))
        self.put_down(step)
        for old in self.work.glob("kept-*"):
            if step_of(old) != step:
                shutil.rmtree(old, ignore_errors=True)

    def verdict(self) -> Verdict:
        """What is to be kept, once the stage has ended."""
        state = self.trainer.state
        sound = numbers(self.trainer.model)
        step = self.best([one for one in seen(state) if sound or one["step"] < state.global_step])
        if step and not sound and not self.why:
            self.why = f"the weights were no numbers any more at step {state.global_step}; lower the rate"
        if step == state.global_step or not (self.why or self.trainer.eval_dataset):
            return Verdict(None, self.why)
        said = self.why or f"the loss on the rows kept back was lowest at step {step}"
        print(f"{said}; kept are the weights of step {step}", file=sys.stderr, flush=True)
        self.put_down(step)
        return Verdict(self.folder(step), said)

    def best(self, so_far: Sequence[Entry]) -> int:
        return best(so_far, self.tokens, self.settings)

    def put_down(self, step: int) -> None:
        """Writes the weights of the best look, which was at that step."""
        if self.held is not None:
            self.write(self.folder(step), self.held)
            self.held = None

    def folder(self, step: int) -> Path:
        return self.work / f"kept-{step}"

    def observed(self, state: Any) -> dict[str, float]:
        """The same to every process, whatever their cards round to: they have to end together."""
        from accelerate.utils import broadcast_object_list

        trainer = self.trainer
        found: dict[str, float] = {"step": state.global_step, **look(trainer.model, self.asked, self.settings.at_once)}
        start = next(iter(seen(state)), found)
        if REJECTED in found:
            moved = found[CHOSEN] - start[CHOSEN] - (found[REJECTED] - start[REJECTED])
            found[MARGIN] = self.plan.beta * moved
        if trainer.eval_dataset is not None and state.global_step:
            was = trainer.model.training
            found[HELD] = trainer.evaluate()["eval_loss"]
            trainer.model.train(was)
        told = [found]
        broadcast_object_list(told)
        return told[0]


def numbers(model: Any) -> bool:
    """Whether all that is trained of a model is finite."""
    return all(bool(one.isfinite().all()) for one in model.parameters() if one.requires_grad)


def seen(state: Any) -> list[dict[str, float]]:
    return [entry for entry in state.log_history if CHOSEN in entry]


def watcher(trainer: Any, asked: Sequence[Asked], plan: StagePlan, settings: Training, work: Path,
            hold: Callable[[], Any], write: Callable[[Path, Any], None]) -> Any:  # fmt: skip
    """A callback that looks, whose `verdict` says in the end what is to be kept."""
    from transformers import TrainerCallback

    class Watcher(Looks, TrainerCallback):  # type: ignore[misc, unused-ignore]
        pass

    return Watcher(trainer, asked, plan, settings, work, hold, write)
