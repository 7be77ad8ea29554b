"""The graph: every edge, and nothing else."""

from typing import TYPE_CHECKING, Any

from langgraph.graph import END, START, StateGraph

from graph import nodes
from graph.history import noted
from graph.state import Context, State
from graph.timing import timed

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

ORDER = ("baseline", "curate", "attack", "judge", "diagnose", "decide", "stop_gate", "write", "data_gate", "plan",
         "train_gate", "train", "measure", "promote_gate", "promote", "report")  # fmt: skip
"""The nodes, in the order in which a cycle passes them."""


def build(checkpointer: "BaseCheckpointSaver[Any] | None" = None) -> "CompiledStateGraph[State, Context, State, State]":
    """The compiled graph, on the command line's checkpoints."""
    return edges().compile(checkpointer=checkpointer)


def edges() -> StateGraph[State, Context, State, State]:
    """The graph as LangGraph's own server takes it (`langgraph.json`), which brings checkpoints of its own."""
    graph = StateGraph(State, context_schema=Context)
    for name in ORDER:
        graph.add_node(name, noted(timed(name, nodes.NODES[name])))
    graph.add_edge(START, "baseline")
    graph.add_edge("baseline", "curate")
    graph.add_conditional_edges("curate", nodes.curated, {"attack": "attack", "train": "data_gate"})
    graph.add_edge("attack", "judge")
    graph.add_edge("judge", "diagnose")
    graph.add_edge("diagnose", "decide")
    graph.add_conditional_edges("decide", nodes.go_on, {"stop": "stop_gate", "go on": "write"})
    graph.add_conditional_edges("stop_gate", nodes.go_on, {"stop": "report", "go on": "write"})
    graph.add_edge("write", "data_gate")
    graph.add_conditional_edges(
        "data_gate", nodes.reviewed, {"write": "write", "curate": "curate", "yes": "plan", "stop": "report"}
    )
    graph.add_edge("plan", "train_gate")
    graph.add_conditional_edges("train_gate", nodes.approved, {"no": "plan", "yes": "train", "stop": "report"})
    graph.add_edge("train", "measure")
    graph.add_edge("measure", "promote_gate")
    graph.add_edge("promote_gate", "promote")
    graph.add_conditional_edges("promote", nodes.go_on, {"stop": "report", "go on": "attack"})
    graph.add_edge("report", END)
    return graph
