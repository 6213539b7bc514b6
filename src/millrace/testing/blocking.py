"""The verbs of a broker for tests that are not async."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar

from millrace.errors import ConfigurationError

if TYPE_CHECKING:
    from millrace.testing.broker import MemoryBroker

T = TypeVar("T")


class BlockingBroker:
    """Every attribute of a MemoryBroker; a verb that is async there returns here when it is done.

    Its loop stands still between the verbs.
    """

    def __init__(self, broker: "MemoryBroker") -> None:
        self._broker = broker
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # it then leaves the thread's loop alone

    def __enter__(self) -> Self:
        _check_no_loop()
        try:
            self._runner.run(self._broker.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        with self._runner:
            self._runner.run(self._broker.__aexit__(*raised))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run async code of the test, such as `env.INVOICES.send(…)`, and give its result."""
        __tracebackhide__ = True
        return self._runner.run(coroutine)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._broker, name)
        return self._blocking(found) if inspect.iscoroutinefunction(found) else found

    def _blocking(self, verb: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        @wraps(verb)
        def call(*arguments: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            _check_no_loop()
            return self.run(verb(*arguments, **options))

        return call


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError("this test is async; use `async with MemoryBroker(…) as broker`, and await the verbs")
