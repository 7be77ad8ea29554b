"""A mistake in a recipe, or in a part of one, in one line: the key, the value, and what would do."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from tools.names import instead

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


SECRET = re.compile("key|token|secret|password", re.IGNORECASE)
"""Keys whose values are not repeated: what somebody took for a setting may be one."""


def explained(error: ValidationError, of: type[BaseModel]) -> str:
    """The first mistake of a recipe, or a part of one, in one line: the key, the value, and what would do."""
    mistakes = error.errors()
    first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
    parts = [str(part) for part in first["loc"]]
    key = ".".join(part for part in parts if part != "str" and not part.startswith("tuple["))
    if first["type"] == "extra_forbidden":
        siblings = settings_at(first["loc"][:-1], of)
        said = "..." if SECRET.search(key) else shown(first["input"])
        return f"unknown key {key} = {said}; {instead(str(first['loc'][-1]), siblings)}"
    if first["type"] == "missing":
        return f"{key} is missing; add it to the recipe or give --set {key}=..."
    message = shape(first, of) or first["msg"].removeprefix("Value error, ")
    given = f"{key} = " * bool(key) + shown(first["input"])
    return message if first["type"] == "value_error" else f"{given}: {message}"


def shape(mistake: "ErrorDetails", of: type[BaseModel]) -> str:
    """What to write where a setting is of another kind than it should be; empty for a mistake of another kind."""
    given, keys = mistake["input"], settings_at(mistake["loc"], of)
    table = ", ".join([f"{key} = ..." for key in keys[:5] or ["NAME"]] + ["..."] * (len(keys) > 5))
    if mistake["type"] in ("tuple_type", "list_type"):
        return f"write a list: [{shown(given) if isinstance(given, str) or not keys else f'{{ {table} }}'}]"
    if mistake["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"write a table: {{ {table} }}"
    if mistake["type"] == "string_type":
        return "write one name" + (f", such as {shown(given[0])}" if isinstance(given, list) and given else "")
    return ""


def settings_at(place: Sequence[int | str], of: type[BaseModel]) -> list[str]:
    """The names of the settings at a place in the recipe, or in a part of one."""
    model: Any = of
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = [a for a in (*get_args(field.annotation), field.annotation) if is_settings(a)] if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:80]
