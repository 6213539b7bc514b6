"""Queues for the tests of the contract."""

import pytest

from tests.http.wire import PULL, a_name
from tests.support import Server


@pytest.fixture
def queue(server: Server) -> str:
    """A new queue without a consumer; its id."""
    return server.create_queue(a_name())


@pytest.fixture
def pulled(server: Server) -> str:
    """A new queue with an http_pull consumer; its id."""
    return server.create_queue(a_name(), consumer=PULL)
