"""The same graph, run by LangGraph. Needs the extra `langgraph`."""

from typing import Annotated, Any, TypedDict

from millrace.agent.graph import Graph, State
from millrace.errors import ConfigurationError

NO_LIBRARY = (
    "PIPELINE is langgraph, which is not installed; install Millrace with its extra: pip install '.[langgraph]'"
)


def _joined(known: State, new: State) -> State:
    return {**known, **new}


class _Known(TypedDict):
    known: Annotated[State, _joined]


def langgraph_runner(graph: Graph) -> Any:
    """Compile a graph; give a function from what is known at the start to what is known at the end.

    Raises:
        ConfigurationError: LangGraph is not installed.
    """
    try:
        from langgraph.graph import END, START, StateGraph  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(NO_LIBRARY) from None

    building: Any = StateGraph(_Known)
    for name, step in graph.steps.items():
        building.add_node(name, lambda state, step=step: {"known": step(state["known"])})
    building.add_edge(START, graph.start)
    for name, edge in graph.edges.items():
        if isinstance(edge, str):
            building.add_edge(name, edge or END)
        else:
            building.add_conditional_edges(name, lambda state, edge=edge: edge(state["known"]) or END)
    compiled = building.compile()
    return lambda state: compiled.invoke({"known": state})["known"]
