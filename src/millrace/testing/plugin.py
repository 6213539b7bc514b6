"""The pytest plugin: a clock, a broker and a server as fixtures. It imports what a test asks for, and then only."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from millrace.testing import BlockingBroker, ManualClock, MemoryBroker, ServerOnFreePort

BROKER_MARK = (
    "millrace(handlers=…, app=…, config=…, environment=…, queues=…, consumers=…, bindings=…, variables=…): "
    "what the millrace_broker of a test has; what a test says goes before what its class or module says."
)
SERVER_MARK = (
    "millrace_server(app=…, config=…, environment=…, environ=…, flags=…): how the millrace_server of a test is started."
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    for mark in (BROKER_MARK, SERVER_MARK):
        config.addinivalue_line("markers", mark)


@pytest.fixture
def millrace_clock() -> "ManualClock":
    """The clock of the test's broker, which stands still until `advance(seconds)`."""
    from millrace.testing import ManualClock

    return ManualClock()


@pytest.fixture
def millrace_broker(
    request: pytest.FixtureRequest, millrace_clock: "ManualClock"
) -> "Iterator[BlockingBroker | MemoryBroker]":
    """A broker with what the mark `millrace` says: open in a plain test; in an async one open it with `async with`."""
    broker = _broker(request, millrace_clock)
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield broker
    else:
        with broker as blocking:
            yield blocking


@pytest.fixture
def millrace_server(request: pytest.FixtureRequest) -> "Iterator[ServerOnFreePort]":
    """A real server of the test's own, as the mark `millrace_server` says; without a mark it has no handlers."""
    from millrace.testing import ServerOnFreePort

    with ServerOnFreePort(**_marked(request, "millrace_server")) as server:
        yield server


@pytest.fixture(scope="session")
def millrace_servers() -> "Iterator[Callable[..., ServerOnFreePort]]":
    """A function that starts servers, with the arguments of ServerOnFreePort; all of them end with the session."""
    from millrace.testing import ServerOnFreePort

    with ExitStack() as ending:
        yield lambda *arguments, **options: ending.enter_context(ServerOnFreePort(*arguments, **options))


def _broker(request: pytest.FixtureRequest, clock: "ManualClock") -> "MemoryBroker":
    from millrace.testing import MemoryBroker

    options = {"clock": clock, **_marked(request, "millrace")}
    app, config = options.pop("app", None), options.pop("config", None)
    if config is not None:
        handlers = {**(app.handlers if app is not None else {}), **options.pop("handlers", {})}
        return MemoryBroker.from_wrangler(request.config.rootpath / config, handlers=handlers, **options)
    return MemoryBroker(**options) if app is None else MemoryBroker.of(app, **options)


def _marked(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """Merge the marks of a test, the nearest last."""
    marks = reversed(list(request.node.iter_markers(name)))
    return {key: value for mark in marks for key, value in mark.kwargs.items()}
