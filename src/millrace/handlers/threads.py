"""Plain functions run in threads, where nothing can be awaited."""

import asyncio
from typing import Any


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
        method = getattr(self._binding, name)

        def waited(*arguments: Any, **named: Any) -> Any:
            coroutine = method(*arguments, **named)
            running = _running_loop()
            if running is self._loop:  # a decorator hid that the function is async after all
                return coroutine
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            return future.result() if running is None else asyncio.wrap_future(future)

        return waited


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
