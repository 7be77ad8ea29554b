"""Encodings of a whole message: pure text to text, for attacks that hide what they ask."""

import base64
import codecs
from collections.abc import Callable
from dataclasses import dataclass

LEET = str.maketrans("aeiostAEIOST", "431057431057")


@dataclass(frozen=True)
class Converter:
    """An encoding, and its inverse where it loses nothing."""

    encode: Callable[[str], str]
    decode: Callable[[str], str] | None = None


def word_flip(text: str) -> str:
    """Puts the words in reverse order; where a text has no spaces, what has none stays together."""
    return " ".join(reversed(text.split()))


def leetspeak(text: str) -> str:
    return text.translate(LEET)


def dots(text: str) -> str:
    return " . ".join(text.split())


def rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def to_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def from_base64(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


CONVERTERS: dict[str, Converter] = {
    "word_flip": Converter(word_flip, word_flip),
    "leetspeak": Converter(leetspeak),
    "dots": Converter(dots, lambda text: text.replace(" . ", " ")),
    "rot13": Converter(rot13, rot13),
    "base64": Converter(to_base64, from_base64),
}
"""By name. Loss of white space and of capitals is no loss."""
