"""Answers that people have labelled: what a judge is measured by, and what a judge of one's own is fitted on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tools.formats.rows import cells
from tools.goals import json_object, lines
from tools.records import Attempt, Goal, Severity, Turn

Task = Literal["harmful", "refusal"]
"""What a label says of an answer: that it does the harm asked for, or that it declines, in whole or in part."""


class Label(BaseModel):
    """One answer with what a person said of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    goal: str = Field(min_length=1)
    response: str
    label: bool
    prompt: str = ""
    """What the model was asked, where that is not the goal as it stands."""
    language: str = ""
    area: str = ""
    severity: Severity | None = None
    model: str = ""
    """Who answered: a judge is validated on models that it was not fitted on."""

    @field_validator("label", mode="before")
    @classmethod
    def one_point_nought_is_one(cls, value: Any) -> Any:
        """A number as spreadsheets write it."""
        return {"1.0": True, "0.0": False}.get(value, value) if isinstance(value, str) else value

    @field_validator("goal", "response", "prompt")
    @classmethod
    def can_be_stored(cls, text: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("holds half a character")
        return text

    @field_validator("*", mode="before")
    @classmethod
    def nothing_is_the_default(cls, value: Any, info: Any) -> Any:
        """An empty cell of a CSV, or a null, is no value."""
        optional = info.field_name not in ("goal", "response", "label")
        return cls.model_fields[info.field_name].default if optional and value in ("", None) else value

    @property
    def asked(self) -> str:
        return self.prompt or self.goal

    def conversation(self, cycle: int = 0, number: int = 0) -> tuple[Goal, Attempt]:
        """The row as a judge gets it; the cycle and the row's number tell its attempt from others."""
        goal = Goal(text=self.goal, area=self.area, intent="harmful", source="labels", split="held_out")
        turns = Turn(role="user", text=self.asked), Turn(role="assistant", text=self.response)
        attempt = Attempt(
            goal=goal.id, persona="", strategy="recorded", language=self.language, target=self.model, cycle=cycle,
            seed=number, purpose="import", turns=turns,
        )  # fmt: skip
        return goal, attempt


def read(path: Path) -> list[Label]:
    """The labels of a CSV with a head, or of a JSONL file: `goal`, `response` and `label` (0 or 1).

    `prompt`, `language`, `area`, `severity` (0 to 7) and `model` may be added; other columns are passed over. Raises
    ValueError, one line, for a file that is none or a row that is not as it should be.
    """
    found = [parsed(path, place, row) for place, row in rows(path)]
    if not found:
        raise ValueError(f"{path} holds no labels; give rows of goal, response and label")
    return found


def rows(path: Path) -> "list[tuple[str, dict[str, Any]]]":
    if path.suffix.lower() == ".csv":
        return [(f"line {line}", row) for line, row in cells(path, ("goal", "response", "label"))]
    found = []
    for place, line in lines(path):
        try:
            found.append((place, json_object(line, "the line")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, {place}: {error}; give JSONL, or a CSV with a name that ends so") from error
    return found


def parsed(path: Path, place: str, row: dict[str, Any]) -> Label:
    try:
        return Label.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        key = first["loc"][0] if first["loc"] else "the row"
        shown = "" if first["type"] == "missing" else f" = {str(first['input'])[:60]!r}"
        raise ValueError(f"{path}, {place}: {key}{shown}: {first['msg']}") from error
