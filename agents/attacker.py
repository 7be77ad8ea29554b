"""The attacker: plans where to spend a cycle's attempts, and holds the conversations."""

import random
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from agents.bandit import Cell, Tally, beliefs, drawn, freshness, thompson
from agents.duel import Declined, Duel, Memo, answered
from agents.judge import Judge
from agents.personas import PERSONAS
from agents.strategies import STRATEGIES
from tools.converters import converter
from tools.endpoints import Unanswered
from tools.records import Attempt, Goal, Turn
from tools.statistics import wilson

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.language_models import BaseChatModel

    from agents.bandit import Array


class Attack(BaseModel):
    """What the attacker may use and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=300, gt=0)
    """Conversations in a cycle."""
    waves: int = Field(default=6, gt=0)
    """How often in a cycle it looks at what came of them, and plans the next ones by it."""
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Trained against; the first is the main one, where the climb begins."""
    strategies: tuple[str, ...] = ()
    """The ways of asking to use, of those that the personas know; none named is all."""
    held_out_languages: tuple[str, ...] = ()
    held_out_strategies: tuple[str, ...] = ()
    held_out_converters: tuple[str, ...] = ()
    """Measured and never trained on, as the held-out languages and strategies."""
    converters: tuple[str, ...] = ()
    """Encodings to attack with, the held-out ones too. Which of them a target understands depends on the target."""
    enough: float = Field(default=0.3, gt=0, lt=1)
    """A level has stopped working when the upper bound of its success is below this."""
    plain: float = Field(default=0.05, ge=0, le=1)
    """Share of the attempts that ask plainly, so that every technique's lift is measured."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """Share that goes to all open cells alike: what went quiet is still sampled a little."""
    probe: float = Field(default=0.2, ge=0, le=1)
    """Share for the level above the open ones: what is coming is known before it is needed."""
    remembers: bool = True
    """Whether a cycle's attacks go by what those of the cycles before came to, and so by what was mended since; else
    the attacker begins each cycle anew."""
    sensitivity: float = Field(default=1.0, gt=0.5, le=1)
    """Of the labels, where it has been measured: the share of harm that they see. The success of a cell is corrected
    by it (Rogan and Gladen, 1978)."""
    specificity: float = Field(default=1.0, gt=0.5, le=1)
    """The share of what is harmless that they let pass."""
    fresh: int = Field(default=0, ge=0)
    """Goals that the attacker's model invents in each cycle, each with a harmless twin."""


class Steer(NamedTuple):
    """A person's word on some cells: `pin` has attacks go there, `ban` has none. What is empty is any."""

    how: Literal["pin", "ban"]
    area: str = ""
    strategy: str = ""
    language: str = ""

    def fits(self, cell: Cell) -> bool:
        wanted = (self.area, cell.area), (self.strategy, cell.strategy), (self.language, cell.language)
        return all(not want or want == has for want, has in wanted)


PINNED = 0.3
"""The share of a wave that goes to the cells that people pin."""
LADDER = (*PERSONAS, "languages")
"""The levels: each persona in the main language, then everybody in the other languages."""


def level_of(cell: Cell, settings: Attack) -> str:
    return cell.persona if cell.language == settings.languages[0] else "languages"


def ways(persona: str, settings: Attack, held_out: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    """The (strategy, converters) of a persona that a run may train on, or those that it holds out."""
    chosen = settings.strategies or tuple(STRATEGIES)
    coded = [
        (strategy, (name,))
        for name in (settings.converters if PERSONAS[persona].encodes else ())
        for strategy in ("direct", "in_kind")
        if strategy == "direct" or (converter(name).decode and strategy in chosen)
    ]
    held = {*settings.held_out_strategies, *settings.held_out_converters}
    plain: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in PERSONAS[persona].strategies if name in chosen]
    return [(name, stack) for name, stack in [*plain, *coded] if bool(held & {name, *stack}) == held_out]


def cells(level: str, areas: Sequence[str], settings: Attack) -> list[Cell]:
    """Every cell of a level."""
    personas, languages = ([level], settings.languages[:1]) if level in PERSONAS else (PERSONAS, settings.languages[1:])
    return [
        Cell(area, persona, strategy, stack, language)
        for persona in personas
        for strategy, stack in ways(persona, settings)
        for language in languages
        for area in areas
    ]


def allowed(cell: Cell, steers: Sequence[Steer]) -> bool:
    return not any(steer.how == "ban" and steer.fits(cell) for steer in steers)


def levels(
    history: Sequence[Tally], settings: Attack, target: str, ladder: Sequence[str] = LADDER
) -> tuple[list[str], str]:
    """The levels that are open, and the one above them, which is probed; empty where there is none.

    The climb: a level opens once the one below has stopped working (the upper bound of its success is below
    `enough`), or was tried on a target that has been mended since. What is open stays open. `ladder` has the levels
    that have any cell.
    """
    found: list[str] = []
    for level, above in zip(ladder, [*ladder[1:], ""], strict=True):
        found.append(level)
        mine = [tally for tally in history if level_of(tally.cell, settings) == level and tally.judged]
        broke, judged = round(sum(tally.broke for tally in mine)), sum(tally.judged for tally in mine)
        mended = any(tally.target != target for tally in mine)
        if not mended and wilson(broke, judged)[1] >= settings.enough:
            return found, above
    return found, ""


def plan(
    goals: Sequence[Goal], history: Sequence[Tally], settings: Attack, target: str, cycle: int, seed: int,
    start: int = 0, size: int | None = None, steers: Sequence[Steer] = (),
) -> list[Attempt]:  # fmt: skip
    """A wave's attempts, planned and not yet made; the same for the same history, seed and word of people.

    `start` is how many of the cycle's attempts there are already. Each attempt says how likely its cell was to be
    drawn (`propensity`).
    """
    import numpy as np

    size = settings.attempts if size is None else size
    dice = np.random.default_rng(random.Random(f"{seed}/{cycle}/{start}").getrandbits(63))
    known = [corrected(tally, settings) for tally in history]
    areas = sorted({goal.area for goal in goals})
    found, chances = shares(known, areas, settings, target, cycle, size, dice, steers)
    return spent(goals, found, chances, target, cycle, seed + start, size, dice)


def spent(
    goals: Sequence[Goal], found: Sequence[Cell], chances: "Array", target: str, cycle: int, seed: int, size: int,
    dice: "np.random.Generator",
) -> list[Attempt]:  # fmt: skip
    """`size` attempts shared out over cells by their chances, each with a goal of its cell's area."""
    by_area: dict[str, list[Goal]] = {}
    for goal in goals:
        by_area.setdefault(goal.area, []).append(goal)
    drawn_cells = [(found[index], float(chances[index])) for index in drawn(chances, size, dice)]
    return [
        Attempt(
            goal=by_area[cell.area][dice.integers(len(by_area[cell.area]))].id, persona=cell.persona,
            strategy=cell.strategy, converters=cell.converters, language=cell.language, target=target, cycle=cycle,
            seed=seed + number, purpose="attack", propensity=chance,
        )
        for number, (cell, chance) in enumerate(drawn_cells)
    ]  # fmt: skip


def corrected(tally: Tally, settings: Attack) -> Tally:
    """A cell's successes less what the judges get wrong."""
    right = settings.sensitivity + settings.specificity - 1
    broke = (tally.broke - (1 - settings.specificity) * tally.judged) / right
    return Tally(tally.cycle, tally.target, tally.cell, tally.judged, min(max(broke, 0.0), tally.judged))


def shares(
    history: Sequence[Tally], areas: Sequence[str], settings: Attack, target: str, cycle: int, size: int,
    dice: "np.random.Generator", steers: Sequence[Steer] = (),
) -> tuple[list[Cell], "Array"]:  # fmt: skip
    """The cells that are open or probed, and the share of the wave that each is to have."""
    import numpy as np

    of = {level: [cell for cell in cells(level, areas, settings) if allowed(cell, steers)] for level in LADDER}
    opened, above = levels(history, settings, target, [level for level, some in of.items() if some])
    now = [cell for level in opened for cell in of[level]]
    probed = of[above] if above and settings.probe else []
    plain = np.array([cell.strategy == "direct" and not cell.converters for cell in now], dtype=float)
    probe, asked = settings.probe * bool(probed), settings.plain * bool(plain.any())
    best = thompson(
        *beliefs(now, history, target), freshness(now, history, cycle), max(1, min(size, len(now) // 4)), dice
    )
    rest = max(0.0, 1 - probe - asked - settings.floor)
    chances = rest * best + settings.floor / len(now) + asked * plain / max(plain.sum(), 1)
    whole = np.concatenate([chances, np.full(len(probed), probe / max(len(probed), 1))])
    return pinned([*now, *probed], whole / whole.sum(), list(chain(*of.values())), steers)


def pinned(
    found: list[Cell], chances: "Array", every: Sequence[Cell], steers: Sequence[Steer]
) -> tuple[list[Cell], "Array"]:
    """The shares of cells, of which those that people pin get `PINNED` in equal parts, open or not."""
    import numpy as np

    wanted = [cell for cell in every if any(steer.how == "pin" and steer.fits(cell) for steer in steers)]
    if not wanted:
        return found, chances
    places = {cell: place for place, cell in enumerate(dict.fromkeys([*found, *wanted]))}
    shared = (1 - PINNED) * np.pad(chances, (0, len(places) - len(found)))
    shared[[places[cell] for cell in wanted]] += PINNED / len(wanted)
    return list(places), shared


async def converse(
    planned: Attempt, goal: Goal, attacker: "BaseChatModel", target: "BaseChatModel", system: str = "",
    judge: Judge | None = None, converters: Sequence[str] = (), elites: Sequence[Memo] = (),
    recall: Callable[[str], list[Memo]] = lambda words: [],
) -> Attempt:  # fmt: skip
    """Holds a planned conversation. Where the attacker's model gives no message, the attempt says so."""
    started, strategy = time.monotonic(), STRATEGIES[planned.strategy]
    duel = Duel(planned, goal, strategy.brief, attacker, target, judge, system, PERSONAS[planned.persona].calls,
                converters, elites, recall)  # fmt: skip
    error = ""
    try:
        await strategy.play(duel)
    except (Declined, Unanswered) as failed:
        error = str(failed)
    if not duel.kept:
        error = error or "no message was fit to be sent"
    parents = tuple(memo.attempt for memo in elites)
    return planned.model_copy(update={
        "turns": tuple(duel.turns), "error": error, "note": duel.note, "parents": parents,
        "seconds": time.monotonic() - started,
    })  # fmt: skip


async def replay(
    planned: Attempt, recorded: Sequence[Turn], target: "BaseChatModel", system: str = "", **asked: Any
) -> Attempt:
    """Says again, to another target, what the user said in the end in a recorded conversation.

    `asked` is how it is to answer, such as a temperature.
    """
    started, turns = time.monotonic(), tuple[Turn, ...]()
    said = [turn for turn in recorded if not turn.dropped]
    for turn, answer in zip(said, [*said[1:], None], strict=True):
        if turn.role == "user":
            prefill = answer.prefill if answer else ""
            try:
                said_now = await answered(planned, (*turns, turn), target, system, prefill, **asked)
            except Unanswered as failed:
                return planned.model_copy(update={"turns": turns, "error": str(failed)})
            turns = (*turns, turn, said_now)
    return planned.model_copy(update={"turns": turns, "seconds": time.monotonic() - started})
