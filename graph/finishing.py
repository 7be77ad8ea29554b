"""What is measured once, when a run ends: the final goals, and all that takes too long to ask of every candidate."""

from graph import capability, evaluating, final, lasting, measuring, robustness
from graph.team import Team
from tools.endpoints import LATER, EndpointGone, EndpointRefused, Unanswered
from tools.records import BASE

FAILURES = (EndpointGone, EndpointRefused, Unanswered, ValueError, OSError)
"""What costs a run one of the models that it is compared with, and not its end."""


def measure(crew: Team, champion: str, node: str, cycle: int) -> None:
    """Measures the base, the champion and the models that the recipe compares them with on all that is left.

    The target comes first: another model takes its place in memory. Of another everything is measured but what needs
    its weights or how it answers by itself, and one that cannot be had is noted: the run is not about it.
    """
    best = list(dict.fromkeys((BASE, champion)))
    others = [other.model for other in crew.recipe.compare]
    final.opened(crew, [*best, *others], node, cycle)
    measuring.replayed(crew, best, node, cycle)
    for adapter in best:
        measuring.measure(crew, adapter, node, cycle, "final")
        capability.measure_full(crew, adapter, node, cycle)
        evaluating.measure_suites(crew, adapter, node, cycle)
        robustness.measure_robustness(crew, adapter, node, cycle)
    for other in others:
        try:
            measuring.measure(crew, other, node, cycle)
            measuring.measure(crew, other, node, cycle, "final")
            evaluating.measure_suites(crew, other, node, cycle)
        except FAILURES as error:
            why = " ".join(str(error).removesuffix(f"; {LATER}").split())[:300] or type(error).__name__
            crew.memory.event(cycle, node, "not_measured", model=other, why=why)
    lasting.measure_lasting(crew, champion, node, cycle)
