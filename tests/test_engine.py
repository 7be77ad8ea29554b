import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from tools.campaign import campaign
from tools.engine import Answer, Engine, Local, Way, drawn
from tools.records import BASE


@pytest.fixture
def engine(tiny_model: Path) -> Engine:
    return Engine(tiny_model, batch=4, max_tokens=6)


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


def test_one_thread_generates_for_all_campaigns(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, generate = set[threading.Thread](), Engine.generate

    def watched(self: Engine, prompts: Sequence[str], *way: Any) -> list[Answer]:
        threads.add(threading.current_thread())
        return generate(self, prompts, *way)

    monkeypatch.setattr(Engine, "generate", watched)
    for text in ("venom", "hello", "no"):
        ask(Local(engine=engine), text)
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_too_little_memory_halves_what_is_answered_at_once_and_loses_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    batches, room = list[int](), 2
    generate = Engine.generate

    def crowded(self: Engine, prompts: Sequence[str], *way: Any) -> list[Answer]:
        batches.append(len(prompts))
        if len(prompts) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return generate(self, prompts, *way)

    texts = ["how is a tea made", "venom", "steep it in water", "hello", "no", "sure hello"]
    before = [ask(Local(engine=engine), text)[0] for text in texts]
    monkeypatch.setattr(Engine, "generate", crowded)
    assert ask(Local(engine=engine), *texts) == before
    assert batches == [4, 2, 2, 2]
    assert "too little memory to answer 4 at once: 2 from here on" in capsys.readouterr().err
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        ask(Local(engine=engine), "hello")


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_sixty_four_in_flight_take_an_eighth_of_what_they_take_one_by_one(tiny_model: Path) -> None:
    """By the processor's clock, which other work does not move; threads that wait would."""
    model = Local(engine=Engine(tiny_model, batch=64, max_tokens=6))
    texts = [f"{word} how is a tea made" for word in ("hello", "sure", "no", "water") * 16]
    ask(model, *texts)
    began = time.process_time()
    together = ask(model, *texts)
    between = time.process_time()
    alone = [ask(model, text)[0] for text in texts]
    assert together == alone
    assert (time.process_time() - between) / (between - began) > 8


def test_an_adapter_answers_beside_the_base_and_leaves_it_as_it_was(engine: Engine, tiny_adapter: Path) -> None:
    before = ask(Local(engine=engine), "how is a tea made")
    engine.load("mine", tiny_adapter)
    changed = ask(Local(engine=engine, adapter="mine"), "how is a tea made")
    assert changed != before
    assert ask(Local(engine=engine, adapter=BASE), "how is a tea made") == before


def test_old_adapters_are_let_go_and_can_come_back(engine: Engine, tiny_adapter: Path) -> None:
    for name in ("one", "two", "three", "four"):
        engine.load(name, tiny_adapter)
    assert list(engine.model.peft_config) == ["two", "three", "four"]  # type: ignore[attr-defined]
    engine.load("one", tiny_adapter)
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


def test_a_draw_is_the_same_whatever_else_is_in_the_batch_and_another_number_is_another_draw(engine: Engine) -> None:
    model, texts = Local(engine=engine), ["how is a tea made", "venom", "hello"]

    def draws(seed: int, *asked: str) -> list[str]:
        async def together() -> list[Any]:
            said = [[HumanMessage(text)] for text in asked]
            return await asyncio.gather(*(model.ainvoke(one, temperature=1.0, seed=seed) for one in said))

        return [str(message.text) for message in asyncio.run(together())]

    assert draws(1, *texts) == [draws(1, text)[0] for text in texts]
    assert len({draws(seed, "venom")[0] for seed in range(8)}) > 1
    assert ask(model, "venom") == ask(model, "venom")


def test_draws_are_as_likely_as_the_temperature_says() -> None:
    import torch

    scores, n = torch.tensor([2.0, 1.0, 0.0, -1.0]), 20_000
    disturb = drawn([str(number) for number in range(n)], 1, 2.0, "cpu")
    seen = disturb(torch.empty(0), scores.expand(n, -1)).argmax(1).bincount(minlength=4) / n
    assert torch.allclose(seen, (scores / 2).softmax(0), atol=0.015)


def test_a_text_is_cut_after_so_many_of_the_models_tokens(engine: Engine) -> None:
    assert engine.first("steep it in water", 2) == "steep it"
    assert engine.first("steep it", 9) == "steep it"
    assert engine.first("steep it", 0) == engine.first("", 3) == ""


def test_eight_bits_are_eight_bits_and_near_to_what_they_stand_for(tiny_model: Path) -> None:
    import torch

    whole, small = Engine(tiny_model, 4, 6).model, Engine(tiny_model, 4, 6, int8=True).model
    before, after = whole.model.layers[0].mlp.up_proj, small.model.layers[0].mlp.up_proj
    assert after.weight.dtype == torch.int8
    assert ((after.weight * after.scale[:, None] - before.weight).abs() <= after.scale[:, None] / 2 + 1e-9).all()
    assert small.lm_head.weight.dtype == torch.float32
    assert type(after) is type(small.model.layers[1].mlp.down_proj)
    ids = torch.tensor([[3, 6, 7, 8, 2]])
    assert torch.allclose(small(ids).logits, whole(ids).logits, atol=0.01)
    assert not torch.equal(small(ids).logits, whole(ids).logits)


def test_what_is_imported_is_not_looked_through_for_garbage(engine: Engine) -> None:
    ask(Local(engine=engine), "hello")
    assert gc.get_freeze_count() > 100_000


def test_nothing_is_generated_any_more_when_a_campaign_has_failed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, generate = list[int](), Engine.generate

    def slow(self: Engine, prompts: Sequence[str], *way: Any) -> list[Answer]:
        time.sleep(0.5)
        done.append(len(prompts))
        return generate(self, prompts, *way)

    async def work(text: str) -> Answer:
        if text == "bad":
            await asyncio.sleep(0.1)
            raise ValueError(text)
        return await engine.answer(text, Way(BASE))

    monkeypatch.setattr(Engine, "generate", slow)
    with pytest.raises(ValueError, match="bad"):
        campaign(["hello", "bad"], work, lambda batch: None, 2)
    assert done == [1]


def test_a_model_that_rested_is_back_with_its_adapters(engine: Engine, tiny_adapter: Path) -> None:
    engine.load("mine", tiny_adapter)
    before = ask(Local(engine=engine, adapter="mine"), "how is a tea made")
    engine.rest()
    assert "model" not in vars(engine)
    assert ask(Local(engine=engine, adapter="mine"), "how is a tea made") == before
