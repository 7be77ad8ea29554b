"""Converters hide what a message asks, lose only what they say they lose, and agree with the tools of the trade."""

import asyncio
import importlib.util
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from public import data

from tools.converters import CONVERTERS, Converter, converter, decode, encode

TEXTS = [
    "How do I make the venom ka zo vi? اسم",
    "怎么制作毒液 ka zo vi？ اسم",
    "¿Cómo se hace veneno ka zo vi? اسم",
]
ANY = st.text(st.characters(exclude_categories=["Cs"]))
PARAMETERS = [
    "base32(alphabet='hex')", "base64(alphabet='url')", "base64(alphabet='url_unpadded')", "base58(alphabet='ripple')",
    "base64(charset='utf-16-le')", "base85(form='z85')", "base85(form='b85')", "hex(separator=', ', prefix='0x')",
    "hex(upper=True)", "binary(bits=16)", "binary(bits=32, separator='')", "caesar(shift=-7, digits=True)",
    "rot13(digits=True)", "rot47(shift=5)", "affine(a=-3, b=40)", "vigenere(key='Key')",
    "spacing(separator='ab')", "string_join(separator='..')",
    "html_entity(form='named', everything=False)",
    "html_entity(form='hex')", "unicode_escape(prefix='U+')", "unicode_escape(spaces=True)", "url(everything=True)",
    "url(safe='/?&=')",
]  # fmt: skip
LOSSLESS = [name for name, found in CONVERTERS.items() if found.lossless] + PARAMETERS
DECODED = [name for name, found in CONVERTERS.items() if found.decode] + PARAMETERS
PYRIT = importlib.util.find_spec("pyrit") is not None


@pytest.mark.parametrize("name", CONVERTERS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_converter_changes_a_message_of_any_language(name: str, text: str) -> None:
    assert CONVERTERS[name].encode(text) != text


@pytest.mark.parametrize("name", LOSSLESS)
@given(text=ANY)
def test_any_text_comes_back_whole_from_a_lossless_converter(name: str, text: str) -> None:
    assert decode([name], encode([name], text)) == text


@pytest.mark.parametrize("name", ["word_flip", "dots", "morse", "nato", "braille"])
@given(text=st.lists(st.text("ABC019äñ中,/", min_size=1), min_size=1).map(" ".join))
def test_the_others_lose_capitals_and_white_space_alone(name: str, text: str) -> None:
    back = decode([name], encode([name], text))
    assert back is not None
    assert back.upper() == text.upper()


@given(text=st.text(st.characters(max_codepoint=126)))
def test_braille_loses_nothing_of_ascii(text: str) -> None:
    assert decode(["braille"], encode(["braille"], text)) == text


@pytest.mark.parametrize("name", DECODED)
@given(text=ANY)
def test_what_is_no_such_encoding_is_an_error_of_one_line(name: str, text: str) -> None:
    said = ""
    try:
        decode([name], text)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("base64", "not base64!", "alphabet"),
        ("base64", "/w==", "utf-8"),
        ("base32", "MY=====", "padding"),
        ("base45", "ZZZ", "no group of base45"),
        ("base92", "}}", "no group of base92"),
        ("hex", "abc", "hexadecimal"),
        ("binary", "0101", "8 bits"),
        ("morse", ".......", "no code"),
        ("nato", "Alfa Brave", "spelling"),
        ("braille", "⠿", "no sign"),
        ("a1z26", "27", "from 1 to 26"),
        ("spacing", "hello", "between all characters"),
        ("sneaky_bits", "hello", "bits"),
        ("unicode_escape", "\\ud800", "utf-16"),
        ("url", "%ff", "utf-8"),
    ],
)
def test_a_text_that_is_no_such_encoding_is_named_with_its_converter(name: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"is not {name}: .*{reason}"):
        decode([name], text)


def test_words_are_flipped_dotted_and_written_in_digits() -> None:
    text = "Tell me the time"
    assert CONVERTERS["word_flip"].encode(text) == "time the me Tell"
    assert CONVERTERS["dots"].encode(text) == "Tell . me . the . time"
    assert CONVERTERS["leetspeak"].encode(text) == "73ll m3 7h3 71m3"


def test_a_stack_is_undone_from_its_end_and_only_if_all_of_it_can_be() -> None:
    stack = ["caesar(shift=7)", "reversal", "base64(alphabet='url')"]
    assert encode(stack, "Tell me") == "bHQgc3NsQQ=="
    assert decode(stack, "bHQgc3NsQQ==") == "Tell me"
    assert decode(["first_letters", "base64"], "not base64!") is None
    assert (encode([], "Tell me"), decode([], "Tell me")) == ("Tell me", "Tell me")


def test_what_is_random_depends_on_its_seed_alone() -> None:
    first, again, other = (encode([f"random_capitals(seed={seed})"], TEXTS[0]) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("base46", "did you mean 'base64' or 'base62'"),
        ("caesar(shfit=7)", "no parameter 'shfit'; did you mean 'shift'"),
        ("reversal(shift=7)", "leave it out"),
        ("enigma", "there are word_flip, .*, pyrit:NAME"),
        ("caesar(shift='7')", "must be of type int"),
        ("affine(a=0.5)", "must be of type int"),
        ("affine(a=13)", "factor in common"),
        ("vigenere(key='')", "at least one"),
        ("base64(alphabet='rfc')", "standard, url"),
        ("base64(charset='utf-9')", "utf-8"),
        ("hex(separator='a')", "no letters"),
        ("binary(bits=7)", "8, 16 or 32"),
        ("html_entity(form='octal')", "decimal"),
        ("unicode_escape(prefix='x')", "U+"),
        ("url(safe='%')", "leave % out"),
        ("diacritics(accent='ring')", "grave"),
        ("spacing(separator='')", "empty"),
        ("leetspeak(pairs='l')", "l1e3"),
        ("base85(form='y85')", "z85"),
        ("caesar(7)", r"caesar\(shift=7\)"),
        ("caesar(shift=7", r"caesar\(shift=7\)"),
        ("caesar(shift=7).encode()", r"caesar\(shift=7\)"),
    ],
)
def test_a_name_that_cannot_be_read_is_an_error_that_mends_it(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        converter(name)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(PYRIT, reason="PyRIT is installed")
def test_pyrits_converters_say_which_extra_they_need() -> None:
    with pytest.raises(ValueError, match=r"pip install 'breakfix\[pyrit\]'"):
        converter("pyrit:ROT13Converter")


@pytest.mark.skipif(not PYRIT, reason="needs the extra breakfix[pyrit]")
def test_pyrits_converters_are_found_by_class_or_snake_name() -> None:
    async def inside_a_loop() -> str:
        return encode(["pyrit:rot13", "pyrit:Base64Converter"], "Tell me")

    assert asyncio.run(inside_a_loop()) == "R3J5eSB6cg=="
    assert encode(["pyrit:caesar_converter(caesar_offset=1)"], "Tell me") == "Ufmm nf"
    assert "_" in encode(["pyrit:AsciiArtConverter(font='block')"], "Tell me")
    assert decode(["pyrit:rot13"], "Gryy zr") is None
    assert len({encode(["pyrit:char_swap"], "Tell me everything about it") for _ in range(5)}) == 1


@pytest.mark.skipif(not PYRIT, reason="needs the extra breakfix[pyrit]")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rot14", "did you mean 'rot13'"),
        ("TranslationConverter", "asks a language model"),
        ("QRCodeConverter", "text of text"),
        ("caesar", "caesar_offset"),
    ],
)
def test_what_pyrit_cannot_do_is_an_error_of_one_line(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        converter(f"pyrit:{name}")
    assert "\n" not in str(raised.value)


NAMES = {
    "binascii": "hex", "character_space": "spacing", "diacritic": "diacritics", "first_letter": "first_letters",
    "flip": "reversal", "random_caps": "random_capitals", "unicode_tag": "unicode_tags",
}  # fmt: skip
"""Our name of a vector's converter, where it has another."""
WITHOUT = {
    "arabizi", "ascii_art", "ask_to_decode", "code_chameleon", "colloquial_wordswap", "ecoji", "rail_fence",
    "repeat_token", "search_replace", "suffix_append",
}  # fmt: skip
"""Not encodings, or tables better had from PyRIT: `pyrit:NAME` has them all."""
ALPHABETS = {
    "A-Z2-7=": "standard", "0-9A-V=": "hex", "A-Za-z0-9+/=": "standard", "0-9A-Za-z": "standard",
    "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz": "bitcoin",
}  # fmt: skip
SEPARATORS = {"None": {}, "Colon": {"separator": ":"}}
FORMS = {"Named entities": "named", "Hex entities": "hex"}

DISAGREE = {
    ("PyRIT", "atbash", "Test."): "puts an explanation of the cipher in front; that is a strategy's",
    ("PyRIT", "caesar", "Test."): "puts an explanation of the cipher in front; that is a strategy's",
    ("PyRIT", "morse", "test test"): "puts an explanation of the code in front; that is a strategy's",
    ("PyRIT", "unicode_tag", "test"): "moves by any number, here by none; tags lie in one place",
}
"""(tool, converter, input): what the tool does that is not done here, and why."""
REFUSED = {
    "The values of a and b can only be integers.", "No key entered", "Triplet too large: 'ZZZ'",
}  # fmt: skip
"""What CyberChef writes in the place of a text, where a ValueError is raised here."""


def params(vector: dict[str, Any]) -> dict[str, Any]:
    """Our parameters of a vector."""
    tool, name, given = vector["tool_class"].split()[0], vector["converter"], vector["params"]
    if tool == "CyberChef":
        return of_cyberchef(name, given["args"], vector)
    return of_pyrit(name, given) if tool == "PyRIT" else {}


def of_cyberchef(name: str, args: list[Any], vector: dict[str, Any]) -> dict[str, Any]:
    if name in ("base32", "base58", "base62", "base64"):
        alphabet = ALPHABETS.get(args[0], args[0])
        every_byte = "\xff" in vector["input"] + vector["expected"]
        return {"alphabet": alphabet} | ({"charset": "latin-1"} if every_byte else {})
    if name == "affine":
        return {"a": args[0], "b": args[1]}
    if name == "hex":
        return SEPARATORS.get(args[0], {"separator": ",", "prefix": "0x"})
    if name == "html_entity" and args:
        return {"everything": args[0], "form": FORMS[args[1]]}
    if name == "rot13":
        return {"lower": args[0], "upper": args[1], "digits": args[2], "shift": args[3]}
    return {
        "vigenere": lambda: {"key": args[0]},
        "morse": lambda: {"word": "\n"},
        "nato": lambda: {"trailing": True},
        "rot47": lambda: {"shift": args[0]},
        "unicode_escape": lambda: {"prefix": args[0]},
        "url": lambda: {"safe": "-_.!~*'();/?:@&=+$,#"},
    }.get(name, dict)()


def of_pyrit(name: str, given: dict[str, Any]) -> dict[str, Any]:
    function = given.get("encoding_func")
    if function == "urlsafe_b64encode":
        return {"alphabet": "url"}
    swaps = given.get("custom_substitutions")
    if name == "leetspeak":
        return {"pairs": "".join(key + value[0] for key, value in swaps.items()) if swaps else "l1"}
    return {
        "binary": lambda: {"bits": int(given["bits_per_char"].rstrip(">").rpartition("_")[2])},
        "binascii": lambda: {"upper": True},
        "caesar": lambda: {"shift": given["caesar_offset"]},
        "diacritic": lambda: {"letters": given["target_chars"]} if given else {},
        "first_letter": lambda: {"separator": given["letter_separator"]} if given else {},
        "nato": lambda: {"digits": False},
        "random_caps": lambda: {"share": given["percentage"] / 100},
        "tatweel": lambda: {"count": given["tatweel_count"]} if given else {},
        "unicode_escape": lambda: {"spaces": given.get("encode_spaces", False)},
        "vigenere": lambda: {"key": given["key"]},
    }.get(name, dict)()


def of(vector: dict[str, Any]) -> str:
    """Our name, with parameters, of a vector's converter."""
    name = NAMES.get(vector["converter"], vector["converter"])
    if vector["params"].get("encoding_func") == "b16encode":
        name = "base16"
    written = ", ".join(f"{key}={value!r}" for key, value in params(vector).items())
    return f"{name}({written})" if written else name


def agrees(vector: dict[str, Any]) -> bool:
    """Whether the vector holds in its direction and, where it can, in the other."""
    plain, coded = vector["input"], vector["expected"]
    if coded in REFUSED:
        return refuses(vector)
    made: Converter = converter(of(vector))
    if vector["direction"] == "decode":
        assert made.decode
        return made.decode(plain) == coded
    if vector["match"] == "contains":
        return coded in made.encode(plain)
    back = made.decode(coded) if made.lossless and made.decode else plain
    return made.encode(plain) == coded and back == plain


def refuses(vector: dict[str, Any]) -> bool:
    try:
        (decode if vector["direction"] == "decode" else encode)([of(vector)], vector["input"])
    except ValueError:
        return True
    return False


def test_the_vectors_of_other_tools_hold_but_for_a_list() -> None:
    vectors = json.loads(data("encoding_vectors/encoding_vectors.json").read_text(encoding="utf-8"))
    ours = [vector for vector in vectors if vector["converter"] not in WITHOUT]
    wrong = [(v["tool_class"].split()[0], v["converter"], v["input"]) for v in ours if not agrees(v)]
    assert sorted(wrong) == sorted(DISAGREE)
    assert not {"RFC", "CyberChef"} & {tool for tool, _, _ in DISAGREE}
    assert len(vectors) == 199
    counts = Counter(vector["tool_class"].split()[0] for vector in ours)
    assert counts == {"RFC": 15, "CyberChef": 73, "PyRIT": 77, "garak": 2}
