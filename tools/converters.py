"""Encodings of a whole message: pure text to text, for attacks that hide what they ask."""

import ast
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tools.encodings import alphabets, bases, ciphers, escapes, layouts
from tools.names import instead


@dataclass(frozen=True)
class Converter:
    """An encoding, and its inverse where there is one.

    Both take the text and the same parameters. `decode` raises ValueError for what the encoding never writes.
    """

    encode: Callable[..., str]
    decode: Callable[..., str] | None = None
    lossless: bool = False
    """Whether any text comes back whole; otherwise the docstrings say what is lost, mostly capitals and white space."""


@functools.cache
def converter(name: str) -> Converter:
    """The converter of a name: `base64`, `caesar(shift=7)`, or `pyrit:NAME` for one of PyRIT's.

    Raises ValueError for a name, a parameter or a value that is none, and where PyRIT is needed and missing.
    """
    plain, params = parsed(name)
    if plain.startswith("pyrit:"):
        from tools.encodings.pyrit import encoder

        return Converter(encoder(plain.removeprefix("pyrit:"), params))
    if plain not in CONVERTERS:
        raise ValueError(f"no converter is called {plain!r}; {instead(plain, [*CONVERTERS, 'pyrit:NAME'])}")
    found = CONVERTERS[plain]
    if not params:
        return found
    checked(plain, params, found.encode)
    encode = partial(found.encode, **params)
    encode("")  # a wrong value is an error of the recipe, not of its first message
    return replace(found, encode=encode, decode=found.decode and partial(found.decode, **params))


def encode(names: Sequence[str], text: str) -> str:
    """The text through a stack of converters, the first one first."""
    return functools.reduce(lambda said, name: converter(name).encode(said), names, text)


def decode(names: Sequence[str], text: str) -> str | None:
    """What a stack of converters was given, or None where one of them has no inverse.

    Raises ValueError for a text that the stack never writes.
    """
    stack = [(name, inverse) for name in reversed(names) if (inverse := converter(name).decode)]
    if len(stack) < len(names):
        return None
    for name, inverse in stack:
        try:
            text = inverse(text)
        except ValueError as error:
            raise ValueError(f"{text[:40]!r} is not {name}: {error}") from None
    return text


def parsed(name: str) -> tuple[str, dict[str, Any]]:
    """A name and its parameters, which are written as in a call of Python."""
    plain, bracket, rest = name.partition("(")
    try:
        call = ast.parse(f"_({rest}" if bracket else "_()", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("no call")
        return plain, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"{name[:80]!r} cannot be read: write parameters as in caesar(shift=7)") from None


def checked(plain: str, params: dict[str, Any], function: Callable[..., str]) -> None:
    """Raises ValueError for a parameter that is none, or a value of another type than the default."""
    _, *possible = inspect.signature(function).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in possible}
    for name, value in params.items():
        if name not in defaults:
            raise ValueError(f"{plain} has no parameter {name!r}; {instead(name, defaults) or 'leave it out'}")
        wanted = type(defaults[name])
        if type(value) is not wanted and (wanted, type(value)) != (float, int):
            raise ValueError(f"{plain}({name}={value!r}): {name} must be of type {wanted.__name__}")


CONVERTERS: dict[str, Converter] = {
    "word_flip": Converter(layouts.word_flip, layouts.word_flip),
    "leetspeak": Converter(alphabets.leetspeak, alphabets.unleetspeak),
    "dots": Converter(layouts.dots, layouts.undots),
    "rot13": Converter(partial(ciphers.caesar, shift=13), partial(ciphers.uncaesar, shift=13), lossless=True),
    "base64": Converter(bases.to_base64, bases.from_base64, lossless=True),
    "base16": Converter(bases.to_base16, bases.from_base16, lossless=True),
    "base32": Converter(bases.to_base32, bases.from_base32, lossless=True),
    "base45": Converter(bases.to_base45, bases.from_base45, lossless=True),
    "base58": Converter(bases.to_base58, bases.from_base58, lossless=True),
    "base62": Converter(bases.to_base62, bases.from_base62, lossless=True),
    "base85": Converter(bases.to_base85, bases.from_base85, lossless=True),
    "base92": Converter(bases.to_base92, bases.from_base92, lossless=True),
    "hex": Converter(bases.to_hex, bases.from_hex, lossless=True),
    "binary": Converter(bases.to_binary, bases.from_binary, lossless=True),
    "caesar": Converter(ciphers.caesar, ciphers.uncaesar, lossless=True),
    "rot47": Converter(ciphers.rot47, ciphers.unrot47, lossless=True),
    "rot8000": Converter(ciphers.rot8000, ciphers.rot8000, lossless=True),
    "affine": Converter(ciphers.affine, ciphers.unaffine, lossless=True),
    "atbash": Converter(ciphers.atbash, ciphers.atbash, lossless=True),
    "vigenere": Converter(ciphers.vigenere, ciphers.unvigenere, lossless=True),
    "morse": Converter(alphabets.morse, alphabets.unmorse),
    "braille": Converter(alphabets.braille, alphabets.unbraille),
    "nato": Converter(alphabets.nato, alphabets.unnato),
    "a1z26": Converter(alphabets.a1z26, alphabets.una1z26),
    "confusables": Converter(alphabets.confusables, alphabets.confusables, lossless=True),
    "superscript": Converter(alphabets.superscript, alphabets.superscript, lossless=True),
    "unicode_tags": Converter(escapes.unicode_tags, escapes.unicode_tags, lossless=True),
    "sneaky_bits": Converter(escapes.sneaky_bits, escapes.unsneaky_bits, lossless=True),
    "zero_width": Converter(layouts.zero_width, layouts.unzero_width, lossless=True),
    "diacritics": Converter(escapes.diacritics, escapes.undiacritics),
    "tatweel": Converter(layouts.tatweel, layouts.untatweel),
    "reversal": Converter(layouts.reversal, layouts.reversal, lossless=True),
    "spacing": Converter(layouts.spacing, layouts.unspacing, lossless=True),
    "string_join": Converter(layouts.string_join, layouts.unstring_join, lossless=True),
    "random_capitals": Converter(layouts.random_capitals),
    "first_letters": Converter(layouts.first_letters),
    "url": Converter(escapes.url, escapes.unurl, lossless=True),
    "html_entity": Converter(escapes.html_entity, escapes.unhtml_entity, lossless=True),
    "unicode_escape": Converter(escapes.unicode_escape, escapes.ununicode_escape, lossless=True),
}
"""By name. One of a name alone has its default parameters; `converter` reads names with parameters."""
