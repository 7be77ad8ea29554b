import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, tokenizer
from langchain_core.messages import AIMessage, HumanMessage

from tools import chat
from tools.engine import Engine
from tools.records import Example, Kind, Message, StagePlan
from tools.sandbox import phi3, target
from training.masks import dpo_tokens, prefix, sft_tokens

GOLDEN = Path(__file__).with_name("templates")
ASKED, CHOSEN = "How is a venom made?", "No, that could hurt somebody."
REJECTED = "Sure, steep the leaves in water, and wait."
TALK = [("user", "Hello."), ("assistant", "Hello."), ("user", ASKED)]
PROMPTS = {
    "single turn": [("user", ASKED)],
    "multi-turn": TALK,
    "prefix-augmented": [("user", ASKED)],
    "system prompt": [("system", "Be brief."), *TALK],
}


def row(prompt: list[tuple[Any, str]], kind: Kind = "refuse", number: int = 0, **more: Any) -> Example:
    said = tuple(Message(role=role, content=text) for role, text in prompt)
    return Example(**{
        "kind": kind, "prompt": said, "chosen": CHOSEN, "rejected": REJECTED, "language": "en", "cycle": 1,
        "writer": "w", "number": number, **more,
    })  # fmt: skip


def plan(**more: Any) -> StagePlan:
    return StagePlan(**{
        "stage": "sft", "base": "b", "cycle": 1, "examples": "all", "rows": 1, "epochs": 1, "rate": 1e-4, "rank": 4,
        "batch": 4, "length": 512, "seed": 4, **more,
    })  # fmt: skip


def said(tokens: Any, ids: list[int]) -> list[str]:
    """Each token's text, a space that is a mark of its own as a space."""
    return [token.translate({0x120: " ", 0x10A: "\n", 0x2581: " "}) for token in tokens.convert_ids_to_tokens(ids)]


def shown(name: str) -> str:
    """What each row is to a model, its loss between brackets, and the tokens that carry it."""
    tokens, told = tokenizer(name), []
    for title, prompt in PROMPTS.items():
        share = float(title == "prefix-augmented")
        [made] = sft_tokens([row(prompt)], tokens, plan(prefix_share=share, prefix_most=4))
        ids, labels = made["input_ids"], made["labels"]
        begins = labels.count(-100)
        assert labels == [-100] * begins + ids[begins:]
        before, after = said(tokens, ids[:begins]), said(tokens, ids[begins:])
        told.append(f"== {title}\n{''.join(before)}[[{''.join(after)}]]\n-- {'|'.join(after)}\n")
    return "\n".join(told)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_on_the_last_answer_through_the_token_that_ends_it(name: str) -> None:
    assert shown(name) == (GOLDEN / f"{name}.txt").read_text("utf-8")


def theirs(tokens: Any, rows: list[Example], folder: Path, told: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What TRL's trainers make of the rows as conversations."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokens), **shape))
    settings = {"output_dir": str(folder), "max_length": 512, "use_cpu": True, "report_to": "none"}
    more = {"chat_template_kwargs": told} if told else {}
    asked = [{"prompt": [asdict(one) for one in row.prompt], **more} for row in rows]
    answers = {"chosen": said_by(CHOSEN), "rejected": said_by(REJECTED)}
    for_sft = Dataset.from_list([row | {"completion": said_by(CHOSEN)} for row in asked])
    for_dpo = Dataset.from_list([row | answers for row in asked])
    sft = SFTTrainer(model, SFTConfig(**settings, completion_only_loss=True), train_dataset=for_sft,
                     processing_class=tokens)  # fmt: skip
    dpo = DPOTrainer(
        model, copy.deepcopy(model), args=DPOConfig(**settings), train_dataset=for_dpo, processing_class=tokens
    )
    return list(sft.train_dataset), list(dpo.train_dataset)


def said_by(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


BEHIND = {
    "sandbox": "", "sandbox phi3": "<|endoftext|>", "phi3": "<|endoftext|>", "phi4": "", "phi4_mini": "<|endoftext|>",
    "llama3": "", "llama3_2": "", "qwen2_5": "\n", "qwen3": "\n", "gemma3": "\n", "mistral": "",
}  # fmt: skip
"""What TRL puts loss on as well: what the template has behind the token at which the model has ended its turn.
Beside SmolLM3's, whose date is today's there."""


@pytest.mark.parametrize("name", BEHIND)
def test_the_tokens_are_those_of_trl_as_far_as_the_end_of_the_turn(name: str, tmp_path: Path) -> None:
    if name in FAMILIES:
        tokens: Any = tokenizer(name)
    else:
        texts = [ASKED, CHOSEN, REJECTED]
        tokens = phi3.tokenizer_of(texts) if name == "sandbox phi3" else target.tokenizer_of(target.Settings())
    rows = [row(prompt, number=n) for n, prompt in enumerate(PROMPTS.values())]
    if name == "mistral":  # its template has the system message in a prompt, and not in a whole conversation
        rows.pop()
    sft, dpo = theirs(tokens, rows, tmp_path, chat.options(tokens))
    for one, other in zip(sft_tokens(rows, tokens, plan()), sft, strict=True):
        end = len(one["input_ids"])
        assert (one["input_ids"], one["labels"]) == (other["input_ids"][:end], other["labels"][:end])
        assert "".join(said(tokens, other["input_ids"][end:])) == BEHIND[name]
    for pair, other in zip(dpo_tokens(rows, tokens, plan()), dpo, strict=True):
        assert pair["prompt_ids"] == other["prompt_ids"]
        for column in ("chosen_ids", "rejected_ids"):
            ours, whole = pair[column], other[column]
            assert "".join(said(tokens, whole[len(ours) :])) == BEHIND[name]
            assert ours == whole[: len(ours)]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_trained_on_begins_with_what_is_served(name: str, tiny_model: Path) -> None:
    tokens, engine = tokenizer(name), Engine(tiny_model, 1, 1)
    engine.tokenizer = tokens  # type: ignore[misc]
    for begun in (False, True):
        [made] = sft_tokens([row(TALK)], tokens, plan(prefix_share=float(begun)))
        asked = [HumanMessage("Hello."), AIMessage("Hello."), HumanMessage(ASKED)]
        start = prefix(tokens, row(TALK), plan(prefix_share=1.0))
        text = engine.as_chat([*asked, AIMessage(start)] if begun else asked)
        ids = tokens(text, add_special_tokens=False).input_ids
        assert made["input_ids"][: made["labels"].count(-100)] == ids


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_that_is_begun_goes_on_as_at_an_endpoint(name: str) -> None:
    tokens, begun = (
        tokenizer(name),
        [{"role": role, "content": text} for role, text in [*TALK, ("assistant", "Sure, ")]],
    )
    whole = chat.CLOCK + tokens.get_chat_template()
    theirs = tokens.apply_chat_template(
        begun, chat_template=whole, tokenize=False, continue_final_message=True, **chat.options(tokens)
    )
    assert chat.rendered(tokens, begun, begun=True) == theirs


def test_a_refusal_is_cut_from_the_harmful_answer_at_the_end_of_a_token_in_any_script() -> None:
    tokens = tokenizer("qwen2_5")
    rows = [
        row([("user", ASKED)], number=n, rejected="Claro: añade ñandú 毒药 y espera", chosen="不行。")
        for n in range(40)
    ]
    for made in sft_tokens(rows, tokens, plan(prefix_share=1.0, prefix_most=30)):
        before = made["labels"].count(-100)
        start, rest = (tokens.decode(ids) for ids in (made["input_ids"][:before], made["input_ids"][before:]))
        assert rows[0].rejected.startswith(start.rpartition("assistant\n")[2])
        assert rest == "不行。<|im_end|>"


def test_a_declared_share_of_the_refusals_is_augmented_and_the_same_ones_every_time() -> None:
    tokens, rows = tokenizer("phi3"), [row([("user", ASKED)], number=n) for n in range(400)]
    begun = [prefix(tokens, one, plan(prefix_share=0.5, prefix_most=3)) for one in rows]
    assert 160 < sum(map(bool, begun)) < 240
    assert set(begun) == {"", "Sure", "Sure,", "Sure, steep"}
    assert begun == [prefix(tokens, one, plan(prefix_share=0.5, prefix_most=3)) for one in rows]
    assert begun != [prefix(tokens, one, plan(prefix_share=0.5, prefix_most=3, seed=5)) for one in rows]
    others = [row([("user", ASKED)], "help"), row([("user", ASKED)], rejected="")]
    assert not any(prefix(tokens, one, plan(prefix_share=1.0)) for one in others)


def test_rows_are_cut_to_length_and_those_without_room_for_an_answer_are_left_out() -> None:
    tokens, rows = tokenizer("phi3"), [row([("user", ASKED)]), row(TALK)]
    [short, long] = sft_tokens(rows, tokens, plan())["input_ids"]
    [left] = sft_tokens(rows, tokens, plan(length=len(long) - 8))
    assert left["input_ids"] == short
    [cut, other] = sft_tokens(rows, tokens, plan(length=len(long) - 2))
    assert (len(other["input_ids"]), len(other["labels"])) == (len(long) - 2, len(long) - 2)
    assert cut["input_ids"] == short
    assert len(dpo_tokens(rows, tokens, plan(length=len(long) - 8))) == 1
    [unbegun] = sft_tokens(rows[:1], tokens, plan(length=len(short) - 7, prefix_share=1.0, seed=9))
    assert unbegun["input_ids"] == short[:-7]


def test_a_system_message_stands_in_the_first_user_turn_where_there_is_no_place_for_one() -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    gemma = tokenizer("gemma")
    assert chat.folded(gemma, asked) == [{"role": "user", "content": "Be brief.\n\nHello."}]
    assert chat.folded(tokenizer("llama3"), asked) == asked
    deaf = copied(
        "phi3", "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    )
    assert chat.rendered(deaf, asked) == "<|user|>Be brief.\n\nHello.<|end|>"


def test_an_endpoint_is_told_what_the_template_has_to_be_told() -> None:
    assert chat.options(tokenizer("qwen3")) == {"enable_thinking": False}
    assert chat.options(tokenizer("llama3_2")) == {"date_string": "26 Jul 2024"}
    assert chat.options(tokenizer("phi3")) == {}


def copied(name: str, template: str | None) -> Any:
    one = copy.copy(tokenizer(name))
    one.chat_template = template
    return one


@pytest.mark.parametrize(("template", "wrong"), [
    (None, "is missing"),
    ("{{ raise_exception('no') }}", "cannot be used, it says 'no'"),
    ("{% for", "cannot be used"),
    ("{% for m in messages %}{{ m.content[0].text }}<|end|>{% endfor %}", "leaves out what is said"),
    ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "ends no answer with a special token"),
])  # fmt: skip
def test_a_template_that_cannot_be_used_is_one_line_with_the_mend(template: str | None, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as error:
        chat.check(copied("phi3", template))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("the chat template of phi3 ")
    assert "chat_template.jinja" in str(error.value)
