"""What a simulated LLM reads: the sections of a prompt."""

import html
import random
import re
from dataclasses import dataclass

from tools.records import Turn
from tools.sandbox import oracle
from tools.sandbox.world import Request


@dataclass(frozen=True)
class Prompt:
    """A prompt's sections, and the dice that decide all that is left open."""

    text: str
    dice: random.Random

    def section(self, name: str) -> str:
        """What stands in a section. Raises ValueError when the prompt has none of that name."""
        found = re.search(rf"<{name}(?: [^>]*)?>\n(.*?)\n</{name}>", self.text, re.DOTALL)
        if found is None:
            raise ValueError(f"the prompt has no section {name!r}: {self.text[:80]!r}")
        return html.unescape(found[1])

    def attribute(self, name: str, key: str) -> str:
        found = re.search(rf'<{name}(?: [^>]*)? {key}="([^"]*)"', self.text)
        if found is None:
            raise ValueError(f"section {name!r} has no {key}: {self.text[:80]!r}")
        return html.unescape(found[1])

    def sections(self, name: str) -> list[str]:
        """What stands in each section of that name."""
        found = re.findall(rf"^<{name}(?: [^>]*)?>\n(.*?)\n</{name}>$", self.text, re.DOTALL | re.MULTILINE)
        return [html.unescape(one) for one in found]

    def count(self, name: str) -> int:
        return len(self.sections(name))

    def has(self, name: str) -> bool:
        return bool(self.sections(name))

    def number(self, name: str) -> int:
        """The number in a section; 0 where there is none."""
        return int(self.section(name)) if self.has(name) else 0

    @property
    def request(self) -> Request:
        return oracle.wanted(self.section("goal"))

    @property
    def turns(self) -> list[Turn]:
        """The conversation; a section of turns holds nothing but turns, whose text is escaped."""
        found = re.findall(r'<turn role="(user|assistant)" number="\d+">\n(.*?)\n</turn>', self.text, re.DOTALL)
        return [Turn(role=role, text=html.unescape(text)) for role, text in found]
