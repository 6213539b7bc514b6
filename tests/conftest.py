"""Fixtures for every kind of test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from scripts.cluster import Cluster

from tests.clusters import fresh_database, shared_cluster
from tests.support import IS_SOAK, ON_POSTGRES, Server

# How fast examples are made says something about the machine only; the first ones are slow on a fresh clone.
settings.register_profile(
    "any machine", max_examples=300 if IS_SOAK else 40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


FIRST = ("tests/tools/test_schemathesis", "tests/tools/", "tests/acceptance/", "tests/agent/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take long come first: whoever begins with one last would keep the others waiting."""
    items.sort(key=lambda item: next((place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), 9))


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, shared by the tests of a module; give queues names of your own.

    Modules marked with `ON_BOTH_STORES` have it on SQLite and on PostgreSQL.
    """
    data = tmp_path_factory.mktemp("data")
    if getattr(request, "param", "sqlite") == "postgres":
        ON_POSTGRES.add(data)
    with Server(data) as running:
        yield running


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Server]:
    """A server that is not yet started, for tests that configure, stop or kill it."""
    server = Server(tmp_path / "data")
    yield server
    server.__exit__()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The PostgreSQL of the test run; give databases names of your own, and do not stop it."""
    return shared_cluster()


@pytest.fixture
def database_url() -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    with fresh_database() as url:
        yield url
