"""Models served in this process by transformers: requests that arrive together are answered in one batch."""

import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from tools.chat import first, rendered
from tools.footprint import lacking
from tools.records import BASE, digest

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
KEPT = 3
"""Adapters held in memory: champion, and the candidates of a cycle."""
TOP = 5
"""How many tokens' probabilities are kept for each place, where they are asked for."""


class Answer(NamedTuple):
    """An answer, how many tokens were read and written, and what could have stood in the place of each, if asked."""

    text: str
    read: int
    written: int
    logprobs: Sequence[tuple[str, dict[str, float]]] = ()


class Way(NamedTuple):
    """How an answer is asked for: those asked for in the same way can be one batch."""

    adapter: str
    most: int | None = None
    """Tokens that it may have; None is as many as any."""
    scored: bool = False
    temperature: float | None = None
    """None is the engine's own."""
    draw: int | None = None
    """Which of the answers to be drawn: the same prompt and number give the same one, whatever else is in the batch."""


class Engine:
    """One model with its adapters, loaded once. Greedy in fp32 on a CPU, so that it can be compared with itself."""

    def __init__(self, path: Path, batch: int, max_tokens: int, temperature: float = 0.0, int8: bool = False) -> None:
        self.path, self.batch, self.max_tokens, self.temperature = path, batch, max_tokens, temperature
        self.int8 = int8
        self.adapters: dict[str, Path] = {}
        """Those that are loaded, the oldest first."""
        self._waiting: list[tuple[Way, str, asyncio.Future[Answer]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "engine")
        """Where answers are generated: with a thread for each campaign, malloc and OpenMP keep memory for each."""

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path, padding_side="left", trust_remote_code=False)

    @cached_property
    def model(self) -> "PreTrainedModel":
        imported()
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        cuda = torch.cuda.is_available()
        model = AutoModelForCausalLM.from_pretrained(
            self.path, dtype=torch.bfloat16 if cuda else torch.float32, device_map="cuda" if cuda else None,
            use_safetensors=True, trust_remote_code=False,
        ).eval()  # fmt: skip
        if self.int8:
            from tools.int8 import quantised

            model = quantised(model)
        for name, folder in self.adapters.items():
            model = worn(model, folder, name)
        return model

    async def answer(self, prompt: str, way: Way) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((way, prompt, future))
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        return await future

    def as_chat(self, messages: Sequence[BaseMessage], prefill: bool = True) -> str:
        """What the chat template makes of messages; the answer goes on from a last one of the assistant's."""
        chat = [{"role": ROLES[message.type], "content": str(message.text)} for message in messages]
        answered = chat[-1]["role"] == "assistant"
        if answered and not prefill:  # a guard's template puts a question about a finished conversation around it
            return str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        return rendered(self.tokenizer, chat, begun=answered)

    def first(self, text: str, tokens: int) -> str:
        """A text as far as the end of one of its tokens."""
        return first(self.tokenizer, text, tokens)

    def as_text(self, messages: Sequence[BaseMessage]) -> str:
        """The messages' text as it stands, behind what the tokenizer begins every text with."""
        first = self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]
        return (str(self.tokenizer.bos_token) if first else "") + "".join(str(message.text) for message in messages)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.005)
        while self._waiting:
            way = self._waiting[0][0]
            mine = [item for item in self._waiting if item[0] == way]
            batch, others = mine[: self.batch], [item for item in self._waiting if item[0] != way]
            self._waiting = [*others, *mine[self.batch :]]
            try:
                prompts = [prompt for _, prompt, _ in batch]
                at_work = loop.run_in_executor(self._thread, self.generate, prompts, *way)
                answers = await asyncio.shield(at_work)
            except asyncio.CancelledError:  # whoever no longer waits may want the model, or its room
                await asyncio.wait([at_work])
                raise
            except Exception as error:
                if lacking(error) and self.fewer(len(batch)):
                    self._waiting = [*batch, *self._waiting]
                    continue
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, _, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def fewer(self, tried: int) -> bool:
        """Halves how many are answered at once, as so many are too much for the memory; False where it was one."""
        import torch

        gc.collect()
        torch.cuda.empty_cache()
        if tried == 1:
            return False
        self.batch = tried // 2
        print(f"too little memory to answer {tried} at once: {self.batch} from here on", file=sys.stderr)
        return True

    def generate(
        self, prompts: Sequence[str], adapter: str, most: int | None = None, scored: bool = False,
        temperature: float | None = None, draw: int | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Answers to prompts that the chat template, if any, has been applied to."""
        import torch

        model = self.wearing(adapter)
        batch = self.tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=False)
        batch = batch.to(model.device)
        warmth = self.temperature if temperature is None else temperature
        sampling: dict[str, Any] = {"do_sample": True, "temperature": warmth} if warmth else {"do_sample": False}
        if warmth and draw is not None:
            sampling = {"do_sample": False, "logits_processor": [drawn(prompts, draw, warmth, model.device)]}
        with torch.inference_mode():
            out = model.generate(
                **batch, max_new_tokens=most or self.max_tokens, pad_token_id=self.tokenizer.pad_token_id,
                return_dict_in_generate=True, output_logits=scored, **sampling,
            )  # fmt: skip
        new = out.sequences[:, batch["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        read = batch["attention_mask"].sum(1).tolist()
        written = (new != self.tokenizer.pad_token_id).sum(1).tolist()
        weighed = [self.likely(out.logits[: written[row]], new[row], row) if scored else () for row in range(len(new))]
        return [Answer(text.strip(), *rest) for text, *rest in zip(texts, read, written, weighed, strict=True)]

    def likely(self, logits: Sequence["Tensor"], tokens: "Tensor", row: int) -> list[tuple[str, dict[str, float]]]:
        """Each token of an answer with the log-probabilities of those that could have stood in its place."""
        found = []
        for step, token in zip(logits, tokens, strict=False):
            top = step[row].float().log_softmax(-1).topk(min(TOP, step.shape[-1]))
            others = {
                self.tokenizer.decode([n]): p for n, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
            }
            found.append((self.tokenizer.decode([int(token)]), others))
        return found

    def load(self, adapter: str, folder: Path) -> None:
        """Loads a PEFT adapter and lets go of the oldest when there are more than a cycle needs."""
        if adapter in self.adapters:
            return
        self.model = worn(self.model, folder, adapter)
        self.adapters[adapter] = folder
        self.model.set_adapter(adapter)  # PEFT warns where the one that is worn is deleted
        for old in list(self.adapters)[:-KEPT]:
            self.model.delete_adapter(old)
            del self.adapters[old]

    def rest(self) -> None:
        """Lets go of the memory: the model is loaded again, with its adapters, when it is asked again."""
        if "model" in self.__dict__:
            import torch

            del self.model
            gc.collect()
            torch.cuda.empty_cache()

    def wearing(self, adapter: str) -> Any:
        """The model with that adapter switched on, or none."""
        if not hasattr(self.model, "peft_config"):
            return self.model
        layers = self.model.base_model
        if adapter == BASE:
            layers.disable_adapter_layers()
        else:
            layers.enable_adapter_layers()
            self.model.set_adapter(adapter)
        return self.model


@cache
def imported() -> None:
    """Imports what a model needs, before the first is loaded. From then on Python looks for no garbage in it, nor in
    whatever else there is by then, which takes it a third of a second."""
    from peft import PeftModel  # noqa: F401
    from transformers import AutoModelForCausalLM  # noqa: F401

    gc.collect()  # what is garbage now would stay
    gc.freeze()


def worn(model: Any, folder: Path, name: str) -> Any:
    from tools.adapters import put_on

    return put_on(model, folder, name).eval()


def drawn(prompts: Sequence[str], draw: int, temperature: float, device: Any) -> "Callable[[Tensor, Tensor], Tensor]":
    """Noise by which the likeliest token becomes a draw by the temperature (Gumbel-max), each prompt with dice of its
    own: torch's sampling has one for the batch, and who shares a batch is a matter of time."""
    import torch

    dice = [torch.Generator(device).manual_seed(int(digest(prompt, draw), 16) >> 1) for prompt in prompts]

    def disturb(ids: "Tensor", scores: "Tensor") -> "Tensor":
        waits = [torch.empty_like(row).exponential_(generator=one) for row, one in zip(scores, dice, strict=True)]
        return scores / temperature - torch.stack(waits).log()

    return disturb


class Local(BaseChatModel):
    """A chat model that is one adapter of an engine. A call may say what one of `Completions` may, and `temperature`
    and `seed`."""

    raw: ClassVar[bool] = True
    model_config = ConfigDict(arbitrary_types_allowed=True)
    engine: Engine
    adapter: str = BASE

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What LangChain's cache tells two models apart by."""
        engine = self.engine
        return {"path": str(engine.path), "adapter": self.adapter, "max_tokens": engine.max_tokens,
                "temperature": engine.temperature}  # fmt: skip

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        engine, asked = self.engine, (kwargs.get(name) for name in ("temperature", "seed"))
        way = Way(self.adapter, kwargs.get("max_tokens"), kwargs.get("scored", False), *asked)
        raw, prefill = kwargs.get("raw", False), kwargs.get("prefill", True)
        prompt = engine.as_text(messages) if raw else engine.as_chat(messages, prefill)
        text, read, written, logprobs = await engine.answer(prompt, way)
        usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        message, info = AIMessage(text, usage_metadata=usage), {"logprobs": logprobs} if logprobs else None
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return asyncio.run(self._agenerate(messages, stop, None, **kwargs))
