"""What is measured once, when a run ends: the final goals, and all that takes too long to ask of every candidate."""

from graph import capability, evaluating, final, lasting, measuring, robustness
from graph.team import Team
from tools.records import BASE


def measure(crew: Team, champion: str, node: str, cycle: int) -> None:
    """Measures the base, the champion and the models that the recipe compares them with on all that is left.

    The target comes first: another model takes its place in memory. Of another everything is measured but what needs
    its weights or how it answers by itself.
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
        measuring.measure(crew, other, node, cycle)
        measuring.measure(crew, other, node, cycle, "final")
        evaluating.measure_suites(crew, other, node, cycle)
    lasting.measure_lasting(crew, champion, node, cycle)
