"""What a cycle is trained on: the rows that may be, mixed by share, and the pairs among them."""

from graph import edits, kept, screening
from graph.team import Team
from tools import tokens
from tools.records import Example
from training import dataset


def usable(crew: Team, cycle: int, round: int, until: int | None = None) -> list[Example]:
    """The rows that may be trained on: this cycle's and the approved ones of the cycles before.

    None holds anything that is measured, none answers in another language than it was asked in, and none is what people
    took away, or answers what they call no harm, by the verdicts as far as the one of the number `until`.
    """
    last = {event["cycle"]: event["round"] for event in crew.memory.events("rows")} | {cycle: round}
    dropped, changed, harmless = screening.dropped(crew), edits.rows(crew), edits.harmless(crew, until)
    return [
        row for row in kept.rows(crew)
        if row.cycle <= cycle and (row.round == last.get(row.cycle) or row.id in changed.own) and changed.stands(row)
        and row.id not in dropped and row.attempt not in harmless
    ]  # fmt: skip


def mixed(crew: Team, cycle: int, some: list[Example]) -> list[Example]:
    """The pool: the rows that may be trained on, without what is too much alike, mixed by share.

    The earlier cycles' are the replay: all there are where training begins with the base, else a share.
    """
    settings, data, seed = crew.recipe.training, crew.recipe.data, crew.recipe.seed
    filters, share, taught = data.filters, settings.shares.replay, cycle - 1
    if crew.recipe.goals.source == screening.SANDBOX and not crew.recipe.recorded.conversations:
        filters = filters.model_copy(update={"alike": 1.0})
    if share is None and settings.start == "champion":
        share, taught = dataset.REPLAYED, learnt(crew, cycle)
    rows = [row for row in some if not dataset.preference(row)]
    rows = dataset.replayed(dataset.varied(rows, filters, seed), share, taught, seed)
    weigh = dataset.tokens(tokens.counter(crew.base)) if settings.shares.by == "tokens" else dataset.one
    return dataset.framed(dataset.mix(rows, settings.shares, seed, settings.most_rows, weigh), data.systems, seed)


def learnt(crew: Team, cycle: int) -> int:
    """The last cycle before this one whose rows made a champion; -1 where the base still is it."""
    choices = crew.memory.by_cycle("choice").items()
    return max((when for when, made in choices if when < cycle and made["chosen"] != made["before"]), default=-1)


def staged(crew: Team, cycle: int, round: int, until: int | None = None) -> dict[str, list[Example]]:
    """What each stage would be trained on: SFT on the pool, DPO on its pairs and on general ones."""
    data, seed, most = crew.recipe.data, crew.recipe.seed, crew.recipe.training.dpo.most_pairs
    some = usable(crew, cycle, round, until)
    rows = mixed(crew, cycle, some)
    general = dataset.framed(list(filter(dataset.preference, some)), data.systems, seed)
    return {"sft": rows, "dpo": dataset.preferred(rows, general, data.preferred, most, data.filters.lengths, seed)}


def approved(crew: Team, cycle: int, round: int) -> dict[str, list[Example]]:
    """What each stage is trained on: what passed the data gate, whatever people have said of its attempts since.

    A process keeps it, as to make it is to look through the rows of all cycles.
    """
    if crew.approved[0] != (cycle, round):
        passed = [event for event in crew.memory.events("rows", cycle) if event["round"] == round]
        until = passed[-1].get("verdicts") if passed else None
        crew.approved = (cycle, round), staged(crew, cycle, round, until)
    return crew.approved[1]
