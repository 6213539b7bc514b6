"""What is done with a job's object: its text is read, and something is found in it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from millrace.agent.enrichment import Provider
from millrace.agent.graph import END, Graph, State
from millrace.agent.text import text_of
from millrace.edge_jobs.job import Content, Job

Read = Callable[[], Content]
Process = Callable[[Job, Read], Mapping[str, Any] | None]  # gives `text` and `result`, either or both
Run = Callable[[Graph, State], State]


def make_graph(provider: Provider) -> Graph:
    """Make the graph fetch, extract, enrich; an object without words is not enriched."""

    def fetch(state: State) -> State:
        return {"content": state["read"]()}

    def extract(state: State) -> State:
        return {"text": text_of(state["content"], state["job"].r2_key)}

    def enrich(state: State) -> State:
        return {"enrichment": provider.enrich(state["text"])}

    def is_worth_it(state: State) -> str:
        return "enrich" if state["text"].strip() else END

    return Graph(
        start="fetch",
        steps={"fetch": fetch, "extract": extract, "enrich": enrich},
        edges={"fetch": "extract", "extract": is_worth_it, "enrich": END},
    )


def make_process(run: Callable[[State], State]) -> Process:
    """Make the process of a graph that is ready to run."""

    def process(job: Job, read: Read) -> Mapping[str, Any]:
        state = run({"job": job, "read": read})
        found = state.get("enrichment")
        return {"text": state["text"], "result": {} if found is None else msgspec.to_builtins(found)}

    return process
