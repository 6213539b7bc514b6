"""Queues for the tests of the contract."""

from collections.abc import Iterator

import pytest

from tests.http.wire import PULL, a_name
from tests.support import ON_POSTGRES, Server


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server on each database, shared by the tests of a module; give queues names of your own."""
    data = tmp_path_factory.mktemp("data")
    if request.param == "postgres":
        ON_POSTGRES.add(data)
    with Server(data) as running:
        yield running


@pytest.fixture
def queue(server: Server) -> str:
    """A new queue without a consumer; its id."""
    return server.create_queue(a_name())


@pytest.fixture
def pulled(server: Server) -> str:
    """A new queue with an http_pull consumer; its id."""
    return server.create_queue(a_name(), consumer=PULL)
