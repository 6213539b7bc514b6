"""Plain functions run in threads, where nothing can be awaited."""

import asyncio
import inspect
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any

from millrace.handlers.asking import Binding


def for_thread(env: Any) -> Any:
    """Give an `env` whose bindings wait by themselves, where it has bindings."""
    change = getattr(env, "_with", None)
    loop = asyncio.get_running_loop()
    return env if change is None else change(lambda binding: _Waited(binding, loop))


class _Waited:
    """A binding whose methods wait for what others await."""

    def __init__(self, binding: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._binding, self._loop = binding, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._binding, name)
        if not callable(found):
            return found

        def waited(*arguments: Any, **named: Any) -> Any:
            given = found(*map(_plain, arguments), **named)
            if not inspect.isawaitable(given):
                return self._shown(given)
            running = _running_loop()
            if running is self._loop:  # a decorator hid that the function is async after all
                return given
            future: Future[Any] = asyncio.run_coroutine_threadsafe(_awaited(given), self._loop)
            return self._shown(future.result()) if running is None else asyncio.wrap_future(future)

        return waited

    def _shown(self, value: Any) -> Any:
        """Have what a binding gives wait, too, where it has something to wait for."""
        if isinstance(value, list):
            return [self._shown(one) for one in value]
        return _Waited(value, self._loop) if isinstance(value, Binding) else value


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value._binding if isinstance(value, _Waited) else value  # noqa: SLF001 - our own


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
