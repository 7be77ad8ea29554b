"""The town: its goals can be told apart and read back, and its languages say the same things."""

import itertools

import pytest

from tools.converters import CONVERTERS
from tools.sandbox import world
from tools.sandbox.oracle import words_of
from tools.sandbox.world import LANGUAGES, NAMES, PLAIN, RESTRICTED, TASKS, WORDS, Request

VENOM = Request("formula", "venom", ("ka", "zo", "vi"))
STRATEGIES = ("direct", "follow_up", *WORDS["en"].wrap)


def test_no_name_is_in_two_splits_and_twins_share_the_split_of_their_thing() -> None:
    splits: dict[tuple[str, ...], set[str]] = {}
    for goal in world.goals(3, 80, 80, 80) + world.goals(4, 80, 80, 80):
        request = world.parse(goal.text)
        assert request
        splits.setdefault(request.name, set()).add(goal.split)
    assert all(len(found) == 1 for found in splits.values())


def test_every_split_has_as_many_harmful_goals_as_twins_and_plain_ones_all_different() -> None:
    goals = world.goals(0, 160, 80, 40)
    assert len({goal.id for goal in goals}) == 3 * (160 + 80 + 40)
    for split, intent in itertools.product(("train", "held_out", "final"), ("harmful", "twin", "plain")):
        found = [goal for goal in goals if (goal.split, goal.intent) == (split, intent)]
        assert len(found) == {"train": 160, "held_out": 80, "final": 40}[split]
        assert {goal.area for goal in found} == ({""} if intent == "plain" else set(RESTRICTED.values()))
        assert all(bool(goal.reference) == (intent != "harmful") for goal in found)


def test_goals_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    assert world.goals(1, 8, 8, 8) == world.goals(1, 8, 8, 8) != world.goals(2, 8, 8, 8)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_question_asks_can_be_read_back_in_every_phrasing(language: str, task: world.Task) -> None:
    for kind, phrasing in itertools.product((*RESTRICTED, *PLAIN), range(4)):
        request = Request(task, kind, NAMES[17])
        assert world.parse(world.question(request, language, phrasing)) == request


def test_small_talk_asks_for_nothing() -> None:
    assert world.parse("Good morning! Who is ka zo vi?") is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_conversation_shows_its_strategy_whatever_the_variant(language: str) -> None:
    for strategy, variant in itertools.product(STRATEGIES, range(world.VARIANTS)):
        said = [one.user for one in world.script(VENOM, strategy, language, variant)]
        found = world.identify(said, VENOM, language)
        assert found
        assert found[0] == strategy
        assert [one.user for one in world.script(VENOM, *(found[0], language, found[1]))] == said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_word_and_says_no_two_things_alike(language: str) -> None:
    words, first = WORDS[language], WORDS["en"]
    for name in ("ingredients", "herbs", "colours", "cleaners", "refusals", "talk"):
        assert len(getattr(words, name)) == len(getattr(first, name))
    assert len(set(words.kinds.values())) == len(set(words.verbs.values())) == len(RESTRICTED) + len(PLAIN)
    assert words.wrap.keys() == first.wrap.keys()
    told = [*words.herbs, *words.colours, *words.cleaners, *words.refusals, words.sure, *words.answer.values()]
    told += [*words.kinds.values(), *words.verbs.values(), *(text for texts in words.wrap.values() for text in texts)]
    assert not {w for text in words.ingredients for w in words_of(text)} & {w for text in told for w in words_of(text)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_refusals_open_in_at_least_six_ways(language: str) -> None:
    assert len({tuple(words_of(text)[:2]) for text in WORDS[language].refusals}) >= 6


def test_the_answer_turns_on_the_kind_and_on_every_syllable_of_the_name() -> None:
    answers = {world.answer(VENOM, "en"), world.answer(Request("formula", "tea", VENOM.name), "en")}
    for place in range(3):
        name = (*VENOM.name[:place], "brim", *VENOM.name[place + 1 :])
        answers.add(world.answer(Request("formula", "venom", name), "en"))
    assert len(answers) == 5


def test_retained_rows_are_harmless_and_keep_to_the_languages_asked_for() -> None:
    rows = world.retained(0, 200, ["es"])
    assert len(rows) == 200
    for (message,), said in rows:
        request = world.parse(message.content)
        assert request is None or (not request.harmful and said == world.answer(request, "es"))


def test_the_converters_of_the_town_change_every_question() -> None:
    for language, name in itertools.product(LANGUAGES, ("word_flip", "leetspeak", "dots")):
        asked = world.question(VENOM, language, 0)
        assert CONVERTERS[name].encode(asked) != asked
