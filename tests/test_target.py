"""The target is made once, the same every time, and only ever half-made in a scratch folder."""

import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tools.sandbox import target, world
from tools.sandbox.target import ASSISTANT, END, Settings
from tools.sandbox.world import LANGUAGES, SYLLABLES, WORDS

TINY = Settings(width=32, layers=1, heads=2, inner=32, steps=6, tokens=512)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return target.tokenizer_of(TINY)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "breakfix"


def ignore(done: int, of: int) -> None:
    pass


def test_a_target_is_made_once_and_tells_how_far_it_is(here: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = target.build(TINY, lambda done, of: told.append((done, of)))
    assert told == [(step, 6) for step in range(1, 7)]
    assert target.build(TINY, lambda done, of: pytest.fail("made again")) == folder
    assert [entry.name for entry in here.iterdir()] == [folder.name]
    assert (folder / "model.safetensors").is_file()


def test_the_same_settings_make_the_same_weights_and_others_another_folder(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = target.build(TINY, ignore)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    other = target.build(TINY, ignore)
    assert one.name == other.name
    for file in ("model.safetensors", "tokenizer.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes()
    assert target.build(TINY.model_copy(update={"seed": 1}), ignore).name != one.name


def test_builds_at_once_make_one_target(here: Path) -> None:
    told: list[int] = []
    builds = [threading.Thread(target=target.build, args=(TINY, lambda done, of: told.append(done))) for _ in range(3)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert told == [1, 2, 3, 4, 5, 6]


def test_a_build_that_is_broken_off_leaves_nothing(here: Path) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.build(TINY, stop)
    assert list(here.iterdir()) == []


def test_training_makes_the_loss_fall(tokenizer: Any) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    settings = TINY.model_copy(update={"steps": 30})
    torch.manual_seed(0)
    model = target.model_of(settings, tokenizer)
    ids, labels = next(target.batches(tokenizer, settings))

    def loss() -> float:
        with torch.no_grad():
            return float(cross_entropy(model(ids).logits.flatten(0, 1), labels.flatten()))

    before = loss()
    target.train(model, tokenizer, settings, ignore)
    assert loss() < 0.7 * before


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_is_one_token_and_a_name_is_never_merged(tokenizer: Any, language: str) -> None:
    thing = world.item(world.Request("formula", "venom", SYLLABLES[:3]), language)
    assert tokenizer.tokenize(f" {thing}")[-3:] == [f"Ġ{syllable}" for syllable in SYLLABLES[:3]]
    words = len(" ".join(WORDS[language].ingredients).split())
    assert len(tokenizer.tokenize(" " + " ".join(WORDS[language].ingredients))) == words


def test_any_text_is_read_and_written_again(tokenizer: Any) -> None:
    for text in ("naïve 🙂 words of elsewhere", "73ll m3 h0w", "蒸馏盐、苔与珀。"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_template_marks_what_the_assistant_says_and_agrees_with_the_training_text(tokenizer: Any) -> None:
    said = world.script(world.Request("formula", "tea", SYLLABLES[:3]), "follow_up", "en", 0)
    turns = [("user", one.user) if role == 0 else ("assistant", one.answer) for one in said for role in (0, 1)]
    chat = [{"role": role, "content": text} for role, text in turns]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == target.rendered(said)
    marked = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    assistant, end = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    learnt = target.learnt(marked["input_ids"], assistant, end)
    assert [label != -100 for label in learnt] == [bool(mask) for mask in marked["assistant_masks"]]


def test_the_base_is_taught_no_refusal_and_nothing_of_held_out_names() -> None:
    dice, lessons = random.Random(1), {one.user for language in LANGUAGES for one in world.talk(language)}
    train = set(world.names_of("train"))
    refusals = {text for words in WORDS.values() for text in words.refusals}
    for _ in range(2000):
        for one in target.conversation(dice, Settings()):
            assert one.answer not in refusals or one.user in lessons
            request = world.parse(one.user)
            assert request is None or request.name in train
