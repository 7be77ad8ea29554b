"""How lm-evaluation-harness asks our models. To be imported late: all of it is slow to load."""

import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import convert_to_messages
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

from evals.harness import UNANSWERED, Row, Tell, Unaskable, first_line, quiet, rows_of, seeded
from tools.campaign import campaign
from tools.completions import Completions
from tools.endpoints import Unanswered
from tools.engine import Local
from tools.llm import reply

MOST = 16
"""Prompts whose likelihood is taken at once: for each token of them the logits of a whole vocabulary are held."""
STEP = 8
"""Batches between two words of progress."""
LONGEST = 1_000_000
"""Tokens of a prompt: how many an endpoint takes it says itself."""
TOKENS = 512
"""Most tokens of an answer where the task does not say."""


def answered(
    model: BaseChatModel, task: Any, numbers: Sequence[int], seed: int, tell: Tell, system: str = "", **asked: Any
) -> list[Row]:
    """Asks a model some items of one task and says what became of them. `asked` goes to `asked_of`."""
    name, kind = str(task.config.task), str(task.OUTPUT_TYPE)
    with quiet(), seeded(seed):
        lm, templated = asked_of(model, name, kind, tell, **asked)
        found = evaluate(
            lm, {"tasks": {name: task}}, samples={name: list(numbers)} if len(numbers) < len(task.eval_docs) else None,
            bootstrap_iters=0, system_instruction=system or None, apply_chat_template=templated,
            fewshot_as_multiturn=templated,
        )  # fmt: skip
    return rows_of(name, task, found["samples"][name])


def asked_of(
    model: BaseChatModel, task: str, kind: str, tell: Tell, weights: Path | None = None,
    at_once: int = 16, account: list[int] | None = None,
) -> tuple[LM, bool]:  # fmt: skip
    """What the harness asks, and whether its prompts are put into a chat template.

    `weights` is where an endpoint's tokenizer lies. Calls and tokens are added to `account`, unless the model counts
    them itself. Raises Unaskable where the model cannot be asked a task of that kind.
    """
    spent = [0, 0, 0] if account is None else account
    if isinstance(model, Local):
        return Served(model, tell, spent), model.engine.tokenizer.chat_template is not None
    if kind == "generate_until":
        return Spoken(model, tell, at_once), True
    if not isinstance(model, Completions) or weights is None or not (weights / "tokenizer_config.json").is_file():
        raise Unaskable(
            f"lm_eval task {task!r} weighs how likely given answers are, and to ask an endpoint that takes its "
            "tokenizer: give `base`, the folder of the model, or a task whose answers are written"
        )
    echoed = Echoed(model, weights, tell, at_once, spent, task)
    return echoed, echoed.tokenizer.chat_template is not None


class Served(HFLM):  # type: ignore[misc, unused-ignore]
    """A model that is loaded already, with one of its adapters on: the weights are not held twice."""

    def __init__(self, model: Local, tell: Tell, account: list[int]) -> None:
        engine = model.engine
        super().__init__(
            pretrained=engine.wearing(model.adapter), tokenizer=engine.tokenizer, batch_size=min(engine.batch, MOST),
            trust_remote_code=False,
        )  # fmt: skip
        self.tell, self.account, self.wide = tell, account, engine.batch

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return self.stepwise(super().loglikelihood, requests)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        self.batch_size_per_gpu = self.wide
        answers = self.stepwise(super().generate_until, requests)
        self.account[0] += len(answers)
        self.account[1] += sum(len(self.tok_encode(request.args[0])) for request in requests)
        self.account[2] += sum(len(self.tok_encode(answer)) for answer in answers)
        return answers

    def stepwise(self, ask: Callable[..., list[Any]], requests: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        step = STEP * self.wide
        for start in range(0, len(requests), step):
            found += ask(requests[start : start + step], disable_tqdm=True)
            self.tell(len(found), len(requests))
        return found

    def _loglikelihood_tokens(self, requests: Sequence[Any], **more: Any) -> list[tuple[float, bool]]:
        count(self.account, requests)
        return list(super()._loglikelihood_tokens(requests, **more))


class Spoken(LM):  # type: ignore[misc, unused-ignore]
    """A model that writes its answers, asked as every model of ours is: through its endpoint's gate, and counted.

    The harness's own client goes around both, and takes the key from one variable alone.
    """

    tokenizer_name = ""

    def __init__(self, model: BaseChatModel, tell: Tell, at_once: int) -> None:
        super().__init__()
        self.model, self.tell, self.at_once = model, tell, at_once

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        answers = [""] * len(requests)
        finished = 0

        async def ask(number: int) -> int:
            messages, how = requests[number].args
            most = {"max_tokens": how.get("max_gen_toks", TOKENS)} if hasattr(self.model, "raw") else {}
            try:
                text = await reply(self.model, convert_to_messages(json.loads(messages)), **most)
                answers[number] = cut(text, how.get("until") or [])
            except Unanswered:
                answers[number] = UNANSWERED
            return number

        def keep(batch: Sequence[int]) -> None:
            nonlocal finished
            finished += len(batch)
            self.tell(finished, len(requests))

        campaign(range(len(requests)), ask, keep, self.at_once)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError("a chat says nothing of how likely an answer is")

    loglikelihood_rolling = loglikelihood


class Echoed(LocalCompletionsAPI):  # type: ignore[misc, unused-ignore]
    """An endpoint that gives the likelihood of a prompt's tokens on `/completions`, as vLLM does."""

    def __init__(
        self, model: Completions, weights: Path, tell: Tell, at_once: int, account: list[int], task: str
    ) -> None:
        super().__init__(
            model=model.model, base_url=f"{model.base_url.rstrip('/')}/completions", tokenizer=str(weights),
            tokenizer_backend="huggingface", num_concurrent=max(at_once, 2), max_length=LONGEST,
            header={"Authorization": f"Bearer {model.key.get_secret_value()}"}, trust_remote_code=False,
        )  # fmt: skip
        self.tell, self.account, self.task = tell, account, task

    def _loglikelihood_tokens(self, requests: Sequence[Any], **more: Any) -> list[tuple[float, bool]]:
        count(self.account, requests)
        try:
            found = list(super()._loglikelihood_tokens(requests, **more))
        except Exception as error:
            raise Unaskable(
                f"lm_eval task {self.task!r}: {self.base_url} does not say how likely the tokens of a prompt are "
                f"({first_line(error)}); give an endpoint that does, such as vLLM, or a task whose answers are written"
            ) from error
        self.tell(len(found), len(found))
        return found

    @staticmethod
    def parse_logprobs(outputs: Any, tokens: Any = None, ctxlens: Any = None, **more: Any) -> list[tuple[float, bool]]:
        """Raises ValueError where the prompt's tokens are left out, which the harness would take for certainty."""
        for output in outputs if isinstance(outputs, list) else [outputs]:
            for choice, prompt in zip(sorted(output["choices"], key=itemgetter("index")), tokens, strict=True):
                if len((choice.get("logprobs") or {}).get("token_logprobs") or ()) <= len(prompt):
                    raise ValueError("no likelihood for some token")
        return list(LocalCompletionsAPI.parse_logprobs(outputs, tokens, ctxlens, **more))


def count(account: list[int], requests: Sequence[Any]) -> None:
    """Adds requests for the likelihood of an answer: a call each, in which all tokens are read and none is written."""
    account[0] += len(requests)
    account[1] += sum(len(context) + len(answer) for _, context, answer in requests)


def cut(text: str, until: str | Sequence[str]) -> str:
    """A text up to the first of the words that end it."""
    ends = [until] if isinstance(until, str) else until
    return text[: min((at for end in ends if end and (at := text.find(end)) >= 0), default=len(text))]
