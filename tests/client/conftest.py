"""Clients of both kinds, for servers of both kinds."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from millrace import AsyncClient, Client
from tests.client.recorded import Recorded
from tests.support import Server


class Blocking:
    """An AsyncClient whose methods are waited for, so that a test is the same for both."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return partial(self._wait, getattr(self._client, name))

    def _wait(self, method: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        found = method(*arguments, **more)
        if inspect.isasyncgen(found):
            return self._loop.run_until_complete(_all(found))
        return self._loop.run_until_complete(found)

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


async def _all(found: Any) -> list[Any]:
    return [item async for item in found]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """A server that answers as Cloudflare does."""
    with Recorded() as running:
        yield running


@pytest.fixture(params=[Client, Blocking], ids=["Client", "AsyncClient"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make clients of one of the two kinds; they are closed in the end. With `slept`, pauses only go into that list."""
    made = []

    def make(url: str, token: str | None = "a-token", *, slept: list[float] | None = None, **more: Any) -> Any:
        if slept is not None:
            more |= {"chance": lambda: 1, "sleep": _noting(slept, is_plain=request.param is Client)}
        made.append(request.param(url, token, **more))
        return made[-1]

    yield make
    for client in made:
        client.close()


def _noting(slept: list[float], *, is_plain: bool) -> Callable[[float], Any]:
    """Note pauses in place of sleeping: as a function, or as a coroutine."""

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return slept.append if is_plain else sleep


@pytest.fixture(params=["Millrace", "Cloudflare"])
def place(request: pytest.FixtureRequest) -> Any:
    """Where a story is played: our own server, or one that answers with the shapes of Cloudflare's pages."""
    running: Server | Recorded = request.getfixturevalue("server" if request.param == "Millrace" else "recorded")
    return running
