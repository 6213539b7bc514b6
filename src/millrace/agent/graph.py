"""A pipeline as a graph of steps, and the runner that needs nothing installed."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

State = dict[str, Any]
Step = Callable[[State], State]  # takes what is known, gives what is new
Choose = Callable[[State], str]  # names the next step

END = ""
STEPS_MAX = 1_000


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Steps by name. `edges` says which comes after each: a name, a function that chooses one, or END."""

    start: str
    steps: Mapping[str, Step]
    edges: Mapping[str, str | Choose]


def run_graph(graph: Graph, state: State) -> State:
    """Go from step to step until the end; give all that is known then.

    Raises:
        RuntimeError: it is still not at the end after 1,000 steps.
    """
    name = graph.start
    for _ in range(STEPS_MAX):
        state = {**state, **graph.steps[name](state)}
        edge = graph.edges[name]
        name = edge if isinstance(edge, str) else edge(state)
        if name == END:
            return state
    raise RuntimeError(f"the pipeline goes in circles: {STEPS_MAX:,} steps, and still at {name!r}")
