"""What a model's chat template makes of messages: the one text that is served, measured and trained on."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
DAY = "26 Jul 2024"
"""Today, to templates that say the date: what Llama's own says where it has no clock. By the real date, a run that goes
on after midnight would ask other prompts than it has trained on, and none could be repeated."""
CLOCK = f"{{% macro strftime_now(format) %}}{DAY}{{% endmacro %}}"
"""Put before a template, for those that cannot be told the date."""
MARK = "kumquat"
"""A text that no template has of its own."""
MEND = "give the model's folder the chat_template.jinja of its instruction-tuned release"


class Form(NamedTuple):
    """What a template was found to do, by rendering a few small chats."""

    system: bool
    """Whether it says a system message."""
    options: dict[str, Any]
    """What it has to be told: thinking off, the date."""
    lead: str
    """What stands between the prompt and an answer's text, which the model has to say."""
    end: str
    """What the model has to say after an answer, through the token that ends its turn."""
    trims: bool
    """Whether it takes the space from around an answer."""


def rendered(tokenizer: "PreTrainedTokenizerBase", messages: Messages, begun: bool = False) -> str:
    """The prompt that is served for a chat, or one that goes on with the last answer (`begun`).

    To be tokenized without special tokens. Thinking is off and there are no tools.
    """
    found, chat = form(tokenizer), folded(tokenizer, messages)
    if not begun:
        return applied(tokenizer, chat, found.options)
    start = chat[-1]["content"]
    return applied(tokenizer, chat[:-1], found.options) + found.lead + (start.strip() if found.trims else start)


def first(tokenizer: "PreTrainedTokenizerBase", text: str, tokens: int) -> str:
    """A text as far as the end of one of its tokens."""
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text[: ends[min(tokens, len(ends)) - 1][1]] if tokens and ends else ""


def options(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """`chat_template_kwargs` for an endpoint that applies the template itself to `folded` messages."""
    return dict(form(tokenizer).options)


def check(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raises ValueError, in one line with the mend, where there is no template or none that can be used."""
    form(tokenizer)


def folded(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> list[dict[str, str]]:
    """The messages; what a template without a system role would refuse or swallow stands in the first user turn."""
    chat = [dict(message) for message in messages]
    told = [message["content"] for message in chat if message["role"] == "system"]
    if not told or form(tokenizer).system:
        return chat
    said = [message for message in chat if message["role"] != "system"]
    asked = [said.pop(0)["content"]] if said and said[0]["role"] == "user" else []
    return [{"role": "user", "content": "\n\n".join([*told, *asked])}, *said]


def applied(tokenizer: "PreTrainedTokenizerBase", chat: Messages, told: Mapping[str, Any], ask: bool = True) -> str:
    """What the template itself makes of a chat."""
    template = CLOCK + tokenizer.get_chat_template()
    return str(
        tokenizer.apply_chat_template(
            list(chat), chat_template=template, tokenize=False, add_generation_prompt=ask, **told
        )
    )


def form(tokenizer: "PreTrainedTokenizerBase") -> Form:
    """What the tokenizer's template does, found out once."""
    return probed(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def probed(tokenizer: "PreTrainedTokenizerBase", template: str) -> Form:
    where = f"the chat template of {tokenizer.name_or_path or 'this tokenizer'}"
    if not tokenizer.chat_template:
        raise ValueError(f"{where} is missing: {MEND}")
    user, answer = {"role": "user", "content": "u" + MARK}, {"role": "assistant", "content": "a" + MARK}
    spaced = answer | {"content": f" {answer['content']} "}
    try:
        told = needed(tokenizer, [user])
        prompt = applied(tokenizer, [user], told)
        whole = applied(tokenizer, [user, answer], told, ask=False)
        trims = spaced["content"] not in applied(tokenizer, [user, spaced], told, ask=False)
        system = knows_system(tokenizer, user, told)
    except Exception as error:
        raise ValueError(f"{where} cannot be used, it says {' '.join(str(error).split())!r}: {MEND}") from error
    before, said, after = whole.partition(answer["content"])
    if user["content"] not in prompt or not said:
        raise ValueError(f"{where} leaves out what is said: {MEND}")
    marks = sorted((str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
    end = re.search("|".join(map(re.escape, marks)), after) if marks else None
    if not end:
        raise ValueError(f"{where} ends no answer with a special token, so that nothing would stop there: {MEND}")
    lead = before.removeprefix(prompt) if before.startswith(prompt) else ""
    return Form(system, told, lead, after[: end.end()], trims)


def needed(tokenizer: "PreTrainedTokenizerBase", chat: Messages) -> dict[str, Any]:
    """The options that make a difference to the template."""
    tried = {"enable_thinking": (False, True), "date_string": (DAY, MARK)}
    return {
        name: ours
        for name, (ours, other) in tried.items()
        if applied(tokenizer, chat, {name: ours}) != applied(tokenizer, chat, {name: other})
    }


def knows_system(tokenizer: "PreTrainedTokenizerBase", user: Mapping[str, str], told: Mapping[str, Any]) -> bool:
    """Whether a system message is said: some templates raise an error at one, some leave it out."""
    from jinja2 import TemplateError

    try:
        text = applied(tokenizer, [{"role": "system", "content": "s" + MARK}, user], told)
    except TemplateError:
        return False
    return "s" + MARK in text
