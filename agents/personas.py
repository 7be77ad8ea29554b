"""The adversaries of the paper's red team: who asks, and with what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Persona:
    """An adversary: the strategies of this skill, and the converters it knows (tried with direct asking)."""

    strategies: tuple[str, ...]
    converters: tuple[str, ...] = ()


PERSONAS: dict[str, Persona] = {
    "low_skilled": Persona(("direct", "plead", "insist")),
    "intermediate": Persona(
        ("roleplay", "prefix", "task", "fiction", "authority", "suppression", "follow_up"),
        ("word_flip", "leetspeak", "dots", "rot13", "base64"),
    ),
}
"""From the least skilled on: the order in which the attacker climbs (arXiv 2407.13833, section 4)."""
