"""Fuzzing: inputs to begin at, and ways to spoil them that know what JSON and tables are made of."""

import csv
import io
import json
import random
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data"
"""Public sets, where they lie beside the checkout."""
FOLDER = Path(tempfile.mkdtemp(prefix="breakfix-fuzz-"))
Run = Callable[[bytes], object]


class Parser(NamedTuple):
    """What is tried with each variant, what it may raise, and inputs to begin at, by variant."""

    variants: Mapping[str, Run]
    named: tuple[type[Exception], ...]
    seeds: Mapping[str, Iterable[bytes]]
    told: bool = True
    """Whether what it raises is shown to people, and so has to be a line of our own."""

    def once(self, data: bytes) -> None:
        """Raises what the parser may not."""
        head, _, body = data.partition(b"\n")
        run = self.variants.get(head.decode(errors="replace"))
        try:
            if run:
                run(body)
        except self.named as error:
            if self.told and not said(error):
                raise

    def inputs(self) -> list[bytes]:
        """The inputs to begin at; a variant without any of its own begins at those of all."""
        every = [body for some in self.seeds.values() for body in some] or [b""]
        return [f"{name}\n".encode() + body for name in self.variants for body in self.seeds.get(name, every)]


def said(error: Exception) -> bool:
    """Whether an error is one that our code raises on purpose, in a line, and not what Python or a library says."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = Path(last.filename).is_relative_to(HERE.parent) and ".venv" not in last.filename
    return ours and (last.line or "").startswith("raise") and "\n" not in str(error)


def placed(name: str, body: bytes) -> Path:
    """A file of that name with that in it."""
    path = FOLDER / name
    path.write_bytes(body)
    return path


def begun(path: Path, rows: int = 3, most: int = 6000) -> bytes:
    """The beginning of a file that is whole in itself: the first rows of a table, or few of every list."""
    if path.suffix == ".json" and "\n{" not in path.read_text(encoding="utf-8"):
        return json.dumps(cut(json.loads(path.read_text(encoding="utf-8"))), ensure_ascii=False).encode()[:most]
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        out = io.StringIO()
        csv.writer(out).writerows(row for row, _ in zip(csv.reader(io.StringIO(text)), range(rows + 1), strict=False))
        return out.getvalue().encode()[:most]
    return "\n".join(text.split("\n")[:rows]).encode()[:most]


def cut(value: Any) -> Any:
    if isinstance(value, list):
        return [cut(one) for one in value[:2]]
    return {key: cut(one) for key, one in list(value.items())[:30]} if isinstance(value, dict) else value


def shared(pattern: str) -> list[bytes]:
    return [begun(path) for path in sorted(DATA.glob(pattern))[:6]]


def recorded(name: str) -> bytes:
    return begun(HERE / "recordings" / name)


def text(body: bytes) -> str:
    return body.decode(errors="replace")


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", " ", "0", "None", "nan", "\x00",
    "\ud800", "\u202e", "\ufeff", "é" * 300, "a" * 5000, "=1+1", "../../x", "/dev/null", "{0.__class__}", "{{7*7}}",
    "<|end|>", "\x1b[31m", "hub:x", [], {}, [[]], {"": ""}, [None], "1e999", "٣", "²", "-", "sandbox",
)  # fmt: skip
"""What stands where something else should."""
BITS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\n", b"\r", b"\r\n", b"\xe2\x80\xa8", b'"', b"'",
    b",", b"{", b"}",
    b"[", b"]", b"(", b")", b"=", b":", b"\\", b"\\ud800", b"\\u0000", b"%00", b"&", b"&#0;", b"#", b"[[",
    b'"""', b"1e999",
    b"-", b"9" * 5000, b"NaN", b"null", b"[" * 3000, b'{"a":' * 3000, b"((((" * 500, b" " * 2000, b"A" * 4000,
)  # fmt: skip
"""What is put between."""


def spoilt(data: bytes, dice: random.Random) -> bytes:
    """An input with something wrong: in a value where it is JSON, a cell where it is a table, and anywhere else."""
    head, _, body = data.partition(b"\n")
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        body = dice.choice((in_json, in_json, in_lines, in_bytes, in_bytes))(body, dice)
    return head + b"\n" + body


def in_json(body: bytes, dice: random.Random) -> bytes:
    """Another value in the whole, or in one of its lines."""
    lines = body.split(b"\n")
    at = dice.randrange(len(lines))
    for place, one in ((None, body), (at, lines[at])):
        try:
            value = json.loads(one)
        except (ValueError, RecursionError):
            continue
        try:
            said = json.dumps(replaced(value, dice), ensure_ascii=dice.random() < 0.7).encode(errors="surrogatepass")
        except RecursionError:
            continue
        return said if place is None else b"\n".join([*lines[:at], said, *lines[at + 1 :]])
    return in_bytes(body, dice)


def replaced(value: Any, dice: random.Random) -> Any:
    """A value in which one thing is odd, missing, there twice, or deeper than it should be."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return [[[value]]] if dice.random() < 0.1 else dice.choice(ODD)
    key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if dice.random() < 0.15:
        left = {name: one for name, one in value.items() if name != key} if isinstance(value, dict) else list(value)
        if isinstance(left, list):
            left = left * 2 if dice.random() < 0.5 else left[:-1]
        return left
    inner = replaced(value[key], dice)
    if isinstance(value, dict):
        name = dice.choice(["", "id", "\ud800", key.upper()]) if dice.random() < 0.1 else key
        return {**value, name: inner}
    return [*value[:key], inner, *value[key + 1 :]]


def in_lines(body: bytes, dice: random.Random) -> bytes:
    """A line or a cell that is missing, odd, there twice or in another place."""
    lines = body.split(b"\n")
    at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.randrange(5)
    if how == 0:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 1:
        del lines[at]
    elif how == 2:
        lines.insert(other, lines[at])
    else:
        parts = lines[at].split(mark := dice.choice((b",", b":", b"=", b" ", b"&", b".")))
        parts[dice.randrange(len(parts))] = str(dice.choice(ODD)).encode(errors="surrogatepass")
        lines[at] = mark.join(parts)
    return b"\n".join(lines)


def in_bytes(body: bytes, dice: random.Random) -> bytes:
    """Something put between, cut out or turned over."""
    at = dice.randrange(len(body) + 1)
    until = min(len(body), at + dice.choice((1, 1, 4, 40)))
    how = dice.randrange(4)
    if how == 0:
        return body[:at] + dice.choice(BITS) + body[at:]
    if how == 1:
        return body[:at] + body[until:]
    if how == 2:
        return body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]
    return body[:at] + body[at:until] * dice.choice((2, 50)) + body[until:]
