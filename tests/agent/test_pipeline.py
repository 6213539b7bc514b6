from collections.abc import Callable
from functools import partial
from math import isclose

import pytest

from millrace.agent.enrichment import Enrichment, Offline
from millrace.agent.graph import END, Graph, State, run_graph
from millrace.agent.pipeline import make_graph, make_process
from millrace.agent.with_langgraph import langgraph_runner
from millrace.edge_jobs import Content, Job

JOB = Job(id="job-1", run_id="run-1", tenant_id="acme", r2_key="uploads/acme/run-1/a.txt")
RUNNERS = {"builtin": lambda graph: partial(run_graph, graph), "langgraph": langgraph_runner}


@pytest.fixture(params=RUNNERS)
def make_runner(request: pytest.FixtureRequest) -> Callable[[Graph], Callable[[State], State]]:
    return RUNNERS[request.param]


def _step(name: str) -> Callable[[State], State]:
    return lambda state: {"way": [*state.get("way", []), name]}


def test_a_graph_is_run_along_its_edges(make_runner: Callable[[Graph], Callable[[State], State]]) -> None:
    graph = Graph(
        start="a",
        steps={name: _step(name) for name in "abc"},
        edges={"a": lambda state: "c" if state["short"] else "b", "b": "c", "c": END},
    )
    run = make_runner(graph)

    assert run({"short": False})["way"] == ["a", "b", "c"]
    assert run({"short": True})["way"] == ["a", "c"]


def test_what_a_step_raises_comes_out(make_runner: Callable[[Graph], Callable[[State], State]]) -> None:
    def fail(state: State) -> State:
        raise ValueError("no such page")

    run = make_runner(Graph(start="a", steps={"a": fail}, edges={"a": END}))

    with pytest.raises(ValueError, match="no such page"):
        run({})


def test_a_graph_that_goes_in_circles_ends_all_the_same() -> None:
    graph = Graph(start="a", steps={"a": lambda state: {}}, edges={"a": "a"})

    with pytest.raises(RuntimeError, match="in circles"):
        run_graph(graph, {})


def test_the_pipeline_finds_the_same_with_either_runner(make_runner: Callable[..., Callable[[State], State]]) -> None:
    """S2-30."""
    process = make_process(make_runner(make_graph(Offline())))

    found = process(JOB, lambda: Content(body=b"Mills turn. Water runs.", content_type="text/plain"))

    assert found["text"] == "Mills turn. Water runs."
    assert found["result"]["summary"] == "Mills turn. Water runs."
    assert found["result"]["provider"] == "offline"


def test_an_object_without_words_is_not_enriched() -> None:
    process = make_process(partial(run_graph, make_graph(Offline())))

    found = process(JOB, lambda: Content(body=b" \n ", content_type="text/plain"))

    assert found == {"text": " \n ", "result": {}}


def test_the_offline_summary_is_the_first_sentences() -> None:
    text = "A first\nsentence. " * 100

    found = Offline().enrich(text)

    assert found.summary == " ".join(["A first sentence."] * 33)
    assert len(Offline().enrich("x" * 5_000).summary) == 600


def test_offline_embeddings_are_nearer_for_texts_about_the_same() -> None:
    def near(a: Enrichment, b: Enrichment) -> float:
        return sum(x * y for x, y in zip(a.embedding, b.embedding, strict=True))

    mill, mills, bread = (
        Offline().enrich(text)
        for text in ("the mill at the river", "mills along rivers", "a loaf of sourdough bread for breakfast")
    )

    assert len(mill.embedding) == 384
    assert isclose(near(mill, mill), 1, abs_tol=1e-4)
    assert near(mill, mills) > near(mill, bread)
