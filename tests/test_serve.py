import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from tools.records import BASE
from tools.serve import Answer, Engine, Local


@pytest.fixture
def engine(tiny_model: Path) -> Engine:
    return Engine(tiny_model, batch=4, max_tokens=6)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    lora = LoraConfig(r=8, lora_alpha=512, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(model, lora).save_pretrained(folder)
    return folder


def ask(model: Local, *texts: str) -> list[str]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(model.ainvoke([HumanMessage(text)]) for text in texts))

    return [str(message.text) for message in asyncio.run(together())]


def test_requests_that_arrive_together_are_answered_in_batches_and_none_is_mixed_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    generate = Engine.generate

    def counted(self: Engine, prompts: Sequence[str], *way: Any) -> list[Answer]:
        batches.append(len(prompts))
        return generate(self, prompts, *way)

    monkeypatch.setattr(Engine, "generate", counted)
    texts = ["how is a tea made", "venom", "steep it in water", "hello", "no", "sure hello"]
    together = ask(Local(engine=engine), *texts)
    assert batches == [4, 2]
    assert together == [ask(Local(engine=engine), text)[0] for text in texts]


def test_an_adapter_answers_beside_the_base_and_leaves_it_as_it_was(engine: Engine, adapter: Path) -> None:
    before = ask(Local(engine=engine), "how is a tea made")
    engine.load("mine", adapter)
    changed = ask(Local(engine=engine, adapter="mine"), "how is a tea made")
    assert changed != before
    assert ask(Local(engine=engine, adapter=BASE), "how is a tea made") == before


def test_old_adapters_are_let_go_and_can_come_back(engine: Engine, adapter: Path) -> None:
    for name in ("one", "two", "three", "four"):
        engine.load(name, adapter)
    assert list(engine.model.peft_config) == ["two", "three", "four"]  # type: ignore[attr-defined]
    engine.load("one", adapter)
    assert ask(Local(engine=engine, adapter="one"), "hello") == ask(Local(engine=engine, adapter="four"), "hello")


def test_tokens_read_and_written_are_counted(engine: Engine) -> None:
    answer = asyncio.run(Local(engine=engine).ainvoke([HumanMessage("how is a tea made")]))
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == len(
        engine.tokenizer("<|user|> how is a tea made <|end|><|assistant|>").input_ids
    )
    assert 0 < answer.usage_metadata["output_tokens"] <= 6


def test_an_error_reaches_everyone_who_waits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Engine, prompts: Sequence[str], *way: Any) -> list[Answer]:
        raise MemoryError("out of memory")

    monkeypatch.setattr(Engine, "generate", broken)
    with pytest.raises(MemoryError, match="out of memory"):
        ask(Local(engine=engine), "hello", "no")


def test_an_answer_goes_on_from_what_it_was_made_to_begin_with(engine: Engine) -> None:
    prompts: list[str] = []
    generate = Engine.generate

    def seen(self: Engine, asked: Sequence[str], *way: Any) -> list[Answer]:
        prompts.extend(asked)
        return generate(self, asked, *way)

    engine.generate = partial(seen, engine)  # type: ignore[method-assign]
    asyncio.run(Local(engine=engine).ainvoke([HumanMessage("hello"), AIMessage("Sure, here")]))
    asyncio.run(Local(engine=engine).ainvoke([HumanMessage("hello")]))
    assert prompts[0].endswith("Sure, here")
    assert prompts[1] == prompts[0].removesuffix(" Sure, here")
