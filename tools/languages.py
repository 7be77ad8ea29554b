"""Which language a text is in, as far as its script and its commonest words tell, and how it begins."""

import re
from collections import Counter
from functools import lru_cache

from tools.similarity import words

WORDS = {
    "en": "the of and to in is that it you for on with as are be this have or at from by not but what can your "
          "i will we an if they would there which about do so my me how when no",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más pero sus le ya o este "
          "sí porque esta entre cuando muy sin sobre ser tiene también me hasta hay puedo eso nos tu te esto",
    "nl": "de het een en van ik te dat is die in niet op met voor zijn er maar om hem dan zou of wat mijn dit "
          "zo door als heb je aan hij ook naar kan bij nog uit worden wel geen kunnen daar over u deze iets",
    "fr": "de la le et les des en un du une que est pour qui dans par sur pas plus ne se ce il sont au avec je "
          "vous son mais ou nous non ma mon cette être aux comme peut ces si leur elle cela votre à",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden "
          "aus er hat dass sie nach wird bei einer um am sind noch wie einem über ich wir kann aber oder dir "
          "das zum",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem "
          "à seu sua ou ser quando muito há nos já está eu também só pelo isso você são",
    "it": "di e il la che in un a per è una sono non con si da come le dei nel alla più del ma anche lo della "
          "questo gli al se ci ha i o ho mi ti può essere",
}  # fmt: skip
"""The commonest words of languages that share a script."""
COMMON = {language: frozenset(words.split()) for language, words in WORDS.items()}
SCRIPTS = {
    "ja": r"[\u3040-\u30ff]", "zh": r"[\u3400-\u9fff]", "ko": r"[\uac00-\ud7af]", "ru": r"[\u0400-\u04ff]",
    "ar": r"[\u0600-\u06ff]", "he": r"[\u0590-\u05ff]", "el": r"[\u0370-\u03ff]", "th": r"[\u0e00-\u0e7f]",
    "hi": r"[\u0900-\u097f]", "bn": r"[\u0980-\u09ff]",
}  # fmt: skip
"""Scripts that tell a language, or the greatest of those that are written in it; kana is looked for before Han."""
LETTERS = {language: re.compile(script) for language, script in SCRIPTS.items()}
WORD = re.compile(r"[^\W\d_]+")
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Scripts without spaces between words that `words` does not take apart: Thai, Lao, Burmese, Khmer."""
SURE = 0.12
"""The share of its words that are a language's commonest, from which a text is in it; prose has about four tenths."""


@lru_cache(20_000)
def language_of(text: str) -> str:
    """The language of a text without its code; empty where that is not certain. A run asks of the same rows again and
    again."""
    text = CODE.sub(" ", text)
    found = WORD.findall(text.casefold())
    letters = sum(map(len, found))
    for language, script in LETTERS.items():
        if len(script.findall(text)) > letters * (0.1 if language == "ja" else 0.3):
            return language
    said = Counter(found)
    hits = Counter({language: sum(said[word] for word in common) for language, common in COMMON.items()})
    (best, most), (_, second) = hits.most_common(2)
    return best if most >= max(3, SURE * len(found)) and most > 1.5 * second else ""


def fits(text: str, language: str, asked: str = "") -> bool:
    """Whether an answer is in a language, or else in that of what was asked; one that nobody can tell may be.

    A language that is not known here is never missed.
    """
    own, said = language.partition("-")[0].lower(), language_of(text)
    return not said or own not in {*COMMON, *LETTERS} or said == own or said == language_of(asked)


def opening(text: str) -> str:
    """The first five words of a text; characters where words have no spaces between them."""
    said = [*"".join(text.split())] if UNSPACED.match(text.strip()) else words(text)
    return " ".join(said[:5])
