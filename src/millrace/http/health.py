"""Is the server alive, is it ready? The only answers that need no key."""

from time import monotonic

import msgspec

from millrace.errors import StoreUnavailable
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Route

CHECKED_FOR_SECONDS = 1.0  # anybody may ask, so the disk is not asked each time


class Health(msgspec.Struct, frozen=True):
    """That all is well."""

    status: str


OK = Answer(msgspec.json.encode(Health("ok")))


class Readiness:
    """Asks the store, at most once a second, whether it can write."""

    def __init__(self) -> None:
        self._asked_at = -CHECKED_FOR_SECONDS
        self._error: StoreUnavailable | None = None

    async def __call__(self, desk: Desk, request: Request) -> Answer:
        """Answer once the store has written something."""
        if monotonic() - self._asked_at >= CHECKED_FOR_SECONDS:
            try:
                await desk.store.check()
                self._error = None
            except StoreUnavailable as error:
                self._error = error
            self._asked_at = monotonic()
        if self._error is not None:
            raise StoreUnavailable(str(self._error))
        return OK


async def is_alive(desk: Desk, request: Request) -> Answer:
    """Answer as long as the process runs."""
    return OK


def routes() -> list[Route]:
    """Give the open routes."""
    ready = Readiness()
    return [
        Route(method="GET", path="/livez", handle=is_alive, scope=None, is_open=True, gives=Health),
        Route(
            method="GET",
            path="/readyz",
            handle=ready,
            scope=None,
            is_open=True,
            gives=Health,
            refuses=(StoreUnavailable,),
        ),
        Route(
            method="GET",
            path="/health",
            handle=ready,
            scope=None,
            is_open=True,
            gives=Health,
            refuses=(StoreUnavailable,),
        ),
    ]
