import tomllib

import pytest

from agents import templates
from tools.languages import fits, language_of, opening
from tools.sandbox import world

SAID = {
    "en": "I am sorry, but that is not something that I can do for you.",
    "es": "Lo siento, pero no puedo ayudar con eso porque es peligroso.",
    "nl": "Het spijt me, maar daar kan ik je niet mee helpen.",
    "de": "Das kann ich nicht tun, weil es für andere gefährlich ist.",
    "fr": "Je ne peux pas vous aider avec cela, parce que c'est dangereux.",
    "zh": "对不起,这件事我不能帮忙。",
    "ja": "申し訳ありませんが、それはできません。",
    "ru": "Я не могу с этим помочь.",
}


@pytest.mark.parametrize("language", SAID)
def test_a_sentence_tells_its_language_and_fits_no_other(language: str) -> None:
    assert language_of(SAID[language]) == language
    assert [other for other in SAID if fits(SAID[language], other)] == [language]


def test_what_nobody_can_tell_fits_every_language_and_a_language_that_is_not_known_is_never_missed() -> None:
    assert fits("42", "es")
    assert fits("```python\nfor it in that: return it or not\n```", "zh")
    assert fits(SAID["en"], "sw")
    assert fits(SAID["zh"], "zh-Hant")


def test_an_answer_may_be_in_the_language_that_was_asked_in_whatever_the_row_says() -> None:
    assert fits(SAID["en"], "es", asked="What is the best way to do that with what I have here?")
    assert not fits(SAID["en"], "es", asked="¿Cómo se hace eso con lo que tengo en mi casa?")


def test_all_that_the_sandbox_and_the_templates_say_is_in_its_language() -> None:
    said = [(text, language) for language in world.LANGUAGES for text in world.WORDS[language].refusals]
    said += [(text, language) for language in world.LANGUAGES for _, text in world.retained(1, 300, [language])]
    said += [(text, language) for language, texts in tomllib.loads(templates.TEXT).items() for text in texts]
    assert [one for one in said if not fits(*one)] == []


@pytest.mark.parametrize(("text", "begins"), [
    ("No -- I'd rather not do that!", "no i d rather not"),
    ("抱歉,我不会这样做。", "抱 歉 我 不 会"),
    ("ขอโทษครับ", "ข อ โ ท ษ"),
    ("No.", "no"),
])  # fmt: skip
def test_an_opening_is_five_words_or_characters_where_there_are_no_spaces(text: str, begins: str) -> None:
    assert opening(text) == begins
