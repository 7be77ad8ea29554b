"""How alike texts are: near-duplicates, novelty and self-BLEU, by n-grams and without a model."""

import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

SAME = 0.55
"""The similarity from which two requests are near-duplicates. Measured on ten thousand goals of the public sets: it
finds 16 behaviours that JailbreakBench and HarmBench share (9 of them word for word), and at 0.6 only 13; what joins
below it is mostly a common opening."""
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]")
"""A word, a punctuation mark, or one character of a script that puts no spaces between words."""


def words(text: str) -> list[str]:
    """The words of a text, whatever its case, spacing and punctuation."""
    return [word for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold()) if word[0].isalnum()]


def grams(text: str, n: int = 5) -> frozenset[str]:
    """The character n-grams of a text, whatever its case, spacing and punctuation."""
    plain = re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    padded = f" {plain} "
    return frozenset(padded[start : start + n] for start in range(max(1, len(padded) - n + 1)))


def similarity(a: str, b: str) -> float:
    """The share of n-grams that two texts have in common (Jaccard), from 0 to 1."""
    return jaccard(grams(a), grams(b))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def novelty(text: str, others: Iterable[str]) -> float:
    """1 less the similarity to the nearest of the others; 1 where there are none."""
    own = grams(text)
    return 1 - max((jaccard(own, grams(other)) for other in others), default=0.0)


def clusters(texts: Sequence[str], threshold: float = SAME) -> list[int]:
    """For each text, the place of the first text of its cluster: those that a chain of near-duplicates joins."""
    return joined(len(texts), near(texts, threshold))


def joined(n: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `n` things, the least that a chain of pairs joins it to (union-find)."""
    parent = list(range(n))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for a, b in pairs:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return [root(one) for one in range(n)]


def near(texts: Sequence[str], threshold: float = SAME) -> Iterator[tuple[int, int]]:
    """Every pair of texts that is at least so similar.

    Exact, and not quadratic: two sets so alike share one of their rarest n-grams, so only those are looked up (the
    prefix filter of Bayardo et al. 2007, https://doi.org/10.1145/1242572.1242591).
    """
    found = [grams(text) for text in texts]
    common = Counter(gram for each in found for gram in each)
    with_gram: dict[str, list[int]] = defaultdict(list)
    for one in sorted(range(len(found)), key=lambda place: len(found[place])):
        least = math.ceil(threshold * len(found[one]) - 1e-9)
        rare = rarest(found[one], common)[: len(found[one]) - least + 1]
        for other in {place for gram in rare for place in with_gram[gram] if len(found[place]) >= least}:
            if jaccard(found[one], found[other]) >= threshold:
                yield other, one
        for gram in rare:
            with_gram[gram].append(one)


def across(texts: Sequence[str], others: Iterable[str], threshold: float = SAME) -> Iterator[tuple[int, int]]:
    """Every pair of one of the texts and one of the others that is at least so similar.

    As in `near`, but the texts alone are indexed, and a pair is looked at only if it has so many of the text's rarest
    n-grams in common that all the rest would make it alike.
    """
    found = [grams(text) for text in texts]
    common = Counter(gram for each in found for gram in each)
    share, needed = threshold / (1 + threshold), list[float]()
    with_gram: dict[str, list[int]] = defaultdict(list)
    for one, own in enumerate(found):
        rest = math.ceil(threshold * len(own) - 1e-9) - 1
        needed.append(share * len(own) - rest - 1e-9)
        for gram in rarest(own, common)[: len(own) - rest]:
            with_gram[gram].append(one)
    for other, text in enumerate(others):
        own = grams(text)
        least = share * len(own)
        shared = Counter(chain.from_iterable(with_gram.get(gram, ()) for gram in own))
        for one in [one for one, n in shared.items() if n >= needed[one] + least]:
            if jaccard(found[one], own) >= threshold:
                yield one, other


def rarest(found: Iterable[str], common: Mapping[str, int]) -> list[str]:
    """N-grams from the rarest on, and those that are alike in that by the alphabet."""
    return sorted(found, key=lambda gram: (common[gram], gram))


def self_bleu(texts: Sequence[str], sample: int = 500, seed: int = 0) -> float:
    """How much texts repeat each other, from 0 to 1: the mean BLEU-4 of each against the rest of a sample.

    As in Texygen (Zhu et al. 2018, https://arxiv.org/abs/1802.01886), with a count of nought taken as 0.1. Raises
    ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"self-BLEU of {len(texts)} texts says nothing; give two or more")
    drawn = list(texts) if len(texts) <= sample else random.Random(seed).sample(list(texts), sample)
    said = [WORD.findall(text.casefold()) for text in drawn]
    lengths = [len(words) for words in said]
    matched = [[0.0, 0.0, 0.0, 0.0] for _ in said]
    for order in range(1, 5):
        counted = [Counter(zip(*(words[start:] for start in range(order)), strict=False)) for words in said]
        most: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        for counts in counted:
            for gram, count in counts.items():
                most[gram] = sorted((*most[gram], count))[-2:]
        for place, counts in enumerate(counted):
            hits = sum(min(count, elsewhere(most[gram], count)) for gram, count in counts.items())
            matched[place][order - 1] = (hits or 0.1) / max(1, lengths[place] - order + 1) if hits or order > 1 else 0.0
    scores = [
        bleu(shares, lengths[place], lengths[:place] + lengths[place + 1 :]) for place, shares in enumerate(matched)
    ]
    return sum(scores) / len(scores)


def elsewhere(most: Sequence[int], own: int) -> int:
    """The highest count of an n-gram in the other texts, from the two highest of all."""
    return most[0] if own == most[1] else most[1]


def bleu(shares: Sequence[float], length: int, others: Sequence[int]) -> float:
    """The geometric mean of the shares, less what being shorter than the nearest other costs."""
    if not all(shares):
        return 0.0
    nearest = min(others, key=lambda other: (abs(other - length), other))
    penalty = 1.0 if length > nearest else math.exp(1 - nearest / length)
    return penalty * math.exp(sum(map(math.log, shares)) / len(shares))
