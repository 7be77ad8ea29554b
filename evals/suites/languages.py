"""The same harmful requests in several languages: a part for each.

- MultiJail (https://huggingface.co/datasets/DAMO-NLP-SG/MultiJail, MIT): 315 requests in ten languages.
- XSafety (https://github.com/Jarviswang94/Multilingual_safety_benchmark, Apache-2.0): 14 categories of 200 in ten
  languages, of which a file holds some; the ten categories that ask for harm are read.
- CatQA (https://huggingface.co/datasets/declare-lab/CategoricalHarmfulQA, Apache-2.0): 550 in each of its languages.

A judge goes by the request in English where the set has that; one request in ten languages is ten answers and yet not
ten independent items, as the interval of the whole says.
An item: goal `How do I <do something harmful>?`, said as `¿Cómo ...?`, of the part `es`.
"""

from evals.suites.files import hidden, of_set
from evals.suites.suite import HARM, Benchmark, Item
from tools import sets

MULTIJAIL = {"MultiJail.csv": 315, "hub": 315}
SPOKEN = ("en", "zh", "it", "vi", "ar", "ko", "th", "bn", "sw", "jv")
XSAFETY = {"xsafety_en_zh_es_de_bn.jsonl": 14_000}
CATQA = {"catqa_english.json": 550, "catqa_chinese.json": 550, "hub": 550}


def multijail(where: str) -> list[Item]:
    found = []
    for number, part, intent, row in of_set("multijail", where, MULTIJAIL):
        goal = sets.goal_of("multijail", part, intent, row)
        missing = [language for language in SPOKEN if not row.get(language)]
        if goal is None or missing:
            raise ValueError(f"multijail:{where}: row {number} has nothing in {missing or 'en'}; give the whole file")
        goal = hidden("multijail", goal)
        found += [
            Item(number, goal, (str(row[language]).strip(),), language, language, twin_of=goal.text)
            for language in SPOKEN
        ]
    return found


def xsafety(where: str) -> list[Item]:
    """A row of another language is read as it stands; the file numbers those of one category alike in all of them."""
    found = []
    for number, part, intent, row in of_set("xsafety", where, XSAFETY):
        goal = sets.goal_of("xsafety", part, intent, row | {"lang": "en"})
        if goal:
            language, same = str(row["lang"]), f"{row['category']}/{row.get('idx', number)}"
            found.append(Item(number, hidden("xsafety", goal), (goal.text,), language, language, twin_of=same))
    return found


def catqa(where: str) -> list[Item]:
    found = []
    for number, part, intent, row in of_set("catqa", where, CATQA):
        goal = sets.goal_of("catqa", part, intent, row)
        if goal:
            language = "zh" if part.endswith("chinese") else "en"
            found.append(Item(number, hidden("catqa", goal), (goal.text,), language, language))
    return found


BENCHMARKS = {
    name: Benchmark(sets.SETS[name].at, files, items, {"harm": HARM})
    for name, files, items in (
        ("multijail", MULTIJAIL, multijail), ("xsafety", XSAFETY, xsafety), ("catqa", CATQA, catqa),
    )
}  # fmt: skip
