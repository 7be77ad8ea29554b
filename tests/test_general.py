import json
from pathlib import Path
from typing import Any

import pytest
from public import data

from tools import general
from tools.general import Row, load, shaped
from tools.records import Message

HH = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: How is tea made?\n\nAssistant: "
TALK = [{"role": "user", "content": "How is tea made?"}]


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def said(row: Row | None) -> tuple[list[str], str, str]:
    assert row is not None
    return [f"{message.role}: {message.content}" for message in row.prompt], row.chosen, row.rejected


@pytest.mark.parametrize("raw", [
    {"prompt": "How is tea made?", "chosen": "Steep it.", "rejected": "Dunno."},
    {"prompt": TALK, "chosen": "Steep it.", "rejected": [{"role": "assistant", "content": "Dunno."}]},
    {"prompt": "How is tea made?", "prompt_id": "1", "messages": TALK, "score_chosen": 8.0,
     "chosen": [*TALK, {"role": "assistant", "content": "Steep it."}],
     "rejected": [*TALK, {"role": "assistant", "content": "Dunno."}]},
    {"conversations": [{"from": "human", "value": "How is tea made?"}],
     "chosen": {"from": "gpt", "value": "Steep it."}, "rejected": {"from": "gpt", "value": "Dunno."}},
])  # fmt: skip
def test_pairs_are_read_in_every_format_that_they_are_published_in(raw: dict[str, Any]) -> None:
    assert said(shaped(raw, "here")) == (["user: How is tea made?"], "Steep it.", "Dunno.")


def test_a_transcript_is_taken_apart_and_one_whose_beginnings_differ_is_left_out() -> None:
    row = shaped({"chosen": HH + "Steep it.", "rejected": HH + "Dunno."}, "here")
    assert said(row) == (["user: Hi", "assistant: Hello.", "user: How is tea made?"], "Steep it.", "Dunno.")
    assert shaped({"chosen": HH + "Steep it.", "rejected": "\n\nHuman: Hi\n\nAssistant: Bye."}, "here") is None


@pytest.mark.parametrize("raw", [
    {"instruction": "Add", "input": "1 1", "output": "2"},
    {"messages": [{"role": "user", "content": "Add\n\n1 1"}, {"role": "assistant", "content": "2"}]},
    {"question": "Add\n\n1 1", "answer": "2", "language": "nl"},
])  # fmt: skip
def test_answers_without_a_worse_one_are_read_too(raw: dict[str, Any]) -> None:
    row = shaped(raw, "here")
    assert said(row) == (["user: Add\n\n1 1"], "2", "")
    assert row is not None
    assert row.language == raw.get("language", "")


@pytest.mark.parametrize(
    "raw", [{"instruction": "x"}, {"output": "x"}, {"prompt": " ", "chosen": "x"}, {"messages": TALK}]
)
def test_a_row_that_is_not_whole_is_left_out(raw: dict[str, Any]) -> None:
    assert shaped(raw, "here") is None


def test_what_is_drawn_is_the_same_for_the_same_seed_and_no_more_than_is_asked_for(tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", [{"prompt": f"{n}?", "chosen": f"{n}!", "rejected": "no"} for n in range(200)])
    rows = load(source, 40, "1/2/0", pairs=True)
    assert rows == load(source, 40, "1/2/0", pairs=True) != load(source, 40, "1/3/0", pairs=True)
    assert len({row.chosen for row in rows}) == 40
    assert len(load(source, 10**6, 0)) == 200


def test_a_public_file_of_instructions_is_read_whole() -> None:
    path = str(data("general_instruct/alpaca_en_demo.json"))
    assert len(load(path, 10**6, 0)) > 900
    assert load(path, 0, 0) == []


def test_parquet_is_read_and_only_rows_with_a_rejected_are_pairs(tmp_path: Path) -> None:
    from datasets import Dataset

    both = {"prompt": ["a", "b"], "chosen": ["A", "B"], "rejected": ["", "z"]}
    Dataset.from_dict(both).to_parquet(tmp_path / "a.parquet")
    assert load(str(tmp_path / "a.parquet"), 9, 0, pairs=True) == [Row((Message(role="user", content="b"),), "B", "z")]


@pytest.mark.parametrize(("name", "text", "wrong"), [
    ("a.json", "{}", "not a list of rows"), ("a.json", "[", "not JSON"), ("a.txt", "x", "not read from .txt"),
    ("a.jsonl", '{"text": "x"}', r"row 1: columns \['text'\]; there should be a prompt"),
    ("a.csv", '"a\nb",c\nd,e\n', r"row 1: columns \['a\\nb', 'c'\]; there should be"),
    ("a.csv", "prompt,chosen\na\nb,c,d\n", "cannot read .*a.csv: Error tokenizing"),
    ("a.jsonl", '{"prompt": "x", "chosen": ""}', "no row in it has"), ("a.jsonl", "oh", "cannot read"),
    ("a.jsonl", "", "it is empty"),
])  # fmt: skip
def test_a_source_that_cannot_be_read_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, text: str, wrong: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=wrong) as error:
        load(str(tmp_path / name), 3, 0)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""
    for nowhere, why in (
        (str(tmp_path / "none.jsonl"), "nothing lies"),
        ("", "nothing lies"),
        ("hub:", "no repository"),
    ):
        with pytest.raises(ValueError, match=why):
            load(nowhere, 3, 0)


def test_a_place_on_the_hub_is_a_repository_and_maybe_a_config_and_a_split() -> None:
    assert general.place_of("hub:me/set") == {"path": "me/set", "name": None, "split": "train"}
    assert general.place_of("hub:me/set:en:test") == {"path": "me/set", "name": "en", "split": "test"}
