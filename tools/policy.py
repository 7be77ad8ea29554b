"""The harm policy: which areas count, what each is, and how severe an answer in it can be. Data, not code."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tools.records import Severity

DEFAULT = Path(__file__).with_suffix(".toml")
HAZARDS = {
    "S1": ("Violent Crimes", "vcr"),
    "S2": ("Non-Violent Crimes", "ncr"),
    "S3": ("Sex-Related Crimes", "src"),
    "S4": ("Child Sexual Exploitation", "cse"),
    "S5": ("Defamation", "dfm"),
    "S6": ("Specialized Advice", "spc"),
    "S7": ("Privacy", "prv"),
    "S8": ("Intellectual Property", "ipv"),
    "S9": ("Indiscriminate Weapons", "iwp"),
    "S10": ("Hate", "hte"),
    "S11": ("Suicide & Self-Harm", "ssh"),
    "S12": ("Sexual Content", "sxc"),
    "S13": ("Elections", "spc_ele"),
    "S14": ("Code Interpreter Abuse", ""),
}
"""MLCommons' hazards: the codes and names are those of Llama Guard 3
(https://huggingface.co/meta-llama/Llama-Guard-3-8B); AILuminate v1.0 has no numbers, and names the same hazards in
letters (https://github.com/mlcommons/ailuminate), with elections under specialised advice and no S14."""


class Area(BaseModel):
    """A kind of harm. It is defined by what an answer does, never by how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    severity: dict[Severity, str] = Field(min_length=1)
    """What answers of some severities are like, on the paper's scale from 0 to 7; those between lie between."""
    in_force: bool = True
    hazards: tuple[str, ...] = ()
    """The codes of `HAZARDS` that an answer in the area may fall under. Judges are not shown them."""

    @field_validator("hazards")
    @classmethod
    def are_known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        for code in codes:
            if code not in HAZARDS:
                raise ValueError(f"{code!r} is no hazard; there are {', '.join(HAZARDS)}")
        return codes


class Policy(BaseModel):
    """The areas by which answers are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    areas: tuple[Area, ...] = Field(min_length=1)

    def as_text(self) -> str:
        """The areas in force as an agent's prompt shows them."""
        return "\n".join(as_text(area) for area in self.areas if area.in_force)


def as_text(area: Area) -> str:
    anchors = "; ".join(f"{level} = {text}" for level, text in sorted(area.severity.items()))
    return f"- {area.name}: {area.definition}\n  severity: {anchors}"


def load(path: Path | None = None) -> Policy:
    """The default policy, extended or replaced by a file of one's own.

    A table `[areas.NAME]` changes the keys it gives of an area that is there and adds one that is not. With
    `replaces = true` at its top, the file's areas are all there are. `[severity]` gives the anchors of the areas
    without any. Raises ValueError, one line with the key and the mend.
    """
    default = tables(DEFAULT)
    own = tables(path) if path else {}
    merged = {} if own.get("replaces") else dict(default["areas"])
    for name, area in own.get("areas", {}).items():
        merged[name] = merged.get(name, {}) | area
    anchors = {"severity": own.get("severity", default["severity"])}
    where = path or DEFAULT
    if not any(area.get("in_force", True) for area in merged.values()):
        raise ValueError(f"{where}: no area is in force; give at least one [areas.NAME] without `in_force = false`")
    return Policy(areas=tuple(area_of(name, anchors | area, where) for name, area in merged.items()))


def tables(path: Path) -> dict[str, Any]:
    """The tables of a policy file. Raises ValueError for one that is not made like a policy."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"cannot read the policy {path}: {why}; give the path of a .toml file") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the policy {path} is not TOML: {error}; write it as on https://toml.io") from error
    for key in found:
        if key not in ("replaces", "severity", "areas"):
            raise ValueError(f"{path}: unknown key {key!r}; there are replaces, [severity] and [areas.NAME]")
    if not isinstance(found.get("replaces", False), bool):
        raise ValueError(f"{path}: replaces = {found['replaces']!r}; write true or false")
    areas = found.get("areas", {})
    if not isinstance(areas, dict) or not all(isinstance(area, dict) for area in areas.values()):
        raise ValueError(f"{path}: areas = {str(areas)[:60]!r}; write a table [areas.NAME] for each")
    return found


def area_of(name: str, table: dict[str, Any], where: Path) -> Area:
    try:
        return Area.model_validate(table | {"name": name})
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(str(part) for part in wrong["loc"] if part != "[key]")
        value = "" if wrong["type"] == "missing" else f" = {str(wrong['input'])[:60]!r}"
        known = f"; there are {', '.join(Area.model_fields)}" if wrong["type"] == "extra_forbidden" else ""
        raise ValueError(f"{where}: areas.{name}.{key}{value}: {wrong['msg']}{known}") from error
