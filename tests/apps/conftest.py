"""Fixtures for the tests of applications."""

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from tests.apps.subscribers import Subscribers


@pytest.fixture
def subscribers() -> Iterator[Subscribers]:
    """Receivers of events on a free port."""
    with HTTPServer(threaded=True) as server:
        made = Subscribers(server)
        yield made
        made.freed.set()
