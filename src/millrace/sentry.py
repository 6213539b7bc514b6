"""Reports of failures to Sentry, sent by a thread of its SDK, which is an extra and loaded when a DSN is set."""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from millrace.clock import Clock
from millrace.errors import ConfigurationError
from millrace.incidents import NOTED, REPORTED, TRAIL_MAX, Step, is_reported, report_of, step_of

if TYPE_CHECKING:
    from sentry_sdk import Client
    from sentry_sdk.transport import Transport

WAITING_REPORTS = 100
FLUSH_SECONDS = 2.0
SELDOM = "store.failed"  # every request and every step fails while a database is away
SELDOM_SECONDS = 1.0
TOLD_SECONDS = 60.0
HEARD = (*REPORTED, *NOTED)

# Nothing is hooked in or set for the whole process, and no environment variable of the SDK counts.
QUIETLY: dict[str, Any] = {
    "default_integrations": False,
    "auto_enabling_integrations": False,
    "auto_session_tracking": False,
    "include_local_variables": False,
    "include_source_context": False,
    "send_client_reports": False,
    "enable_backpressure_handling": False,
    "transport_queue_size": WAITING_REPORTS,
    "server_name": "",  # not the machine's own
    "keep_alive": False,
    "spotlight": False,
    "debug": False,
}

Tell = Callable[..., None]


class Drops:
    """Counts the reports that never arrive, and tells of them once a minute at most."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._count = tell, 0
        self._told_at = -TOLD_SECONDS

    def __call__(self, reason: str) -> None:
        """Count one."""
        self._count += 1
        if monotonic() - self._told_at >= TOLD_SECONDS:
            self._told_at, count, self._count = monotonic(), self._count, 0
            self._tell("report.dropped", count=count, reason=reason)


class Reporter:
    """A subscriber that reports failures, each with what went before it.

    Reports wait in a queue of a hundred for the thread that sends them; beyond that, and as long as Sentry asks for a
    pause, they are dropped. Of `store.failed` there is one a second.
    """

    def __init__(self, client: "Client", clock: Clock, dropped: Drops) -> None:
        self._client, self._clock, self._dropped = client, clock, dropped
        self._before: deque[Step] = deque(maxlen=TRAIL_MAX)
        self._seldom_at = -SELDOM_SECONDS

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        """Report a failure, and remember it as a step before the next one."""
        if name == SELDOM:
            if monotonic() - self._seldom_at < SELDOM_SECONDS:
                return
            self._seldom_at = monotonic()
        if is_reported(name, fields):
            self._report(name, fields)
        self._before.append(step_of(self._clock(), name, fields))

    def close(self) -> None:
        """Send what waits, as far as that takes no more than two seconds."""
        self._client.close(FLUSH_SECONDS)

    def _report(self, name: str, fields: dict[str, Any]) -> None:
        transport = self._client.transport
        if transport is None or not transport.is_healthy():  # to write a report takes longer than to ask
            self._dropped("too many wait, or Sentry asks for a pause")
            return
        self._client.capture_event(report_of(name, fields, list(self._before)))  # type: ignore[arg-type]


def make_reporter(dsn: str, environment: str | None, release: str, clock: Clock, tell: Tell) -> Reporter:
    """Make what reports failures to the project of the DSN; `tell` is told of reports that were dropped.

    Programs in the same process may use the SDK for a project of their own.

    Raises:
        ConfigurationError: the DSN is none, or the SDK is not installed.
    """
    try:
        from sentry_sdk import Client  # noqa: PLC0415 - an extra
        from sentry_sdk.utils import BadDsn  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "SENTRY_DSN is set, but sentry-sdk is not installed; install millrace[sentry]"
        ) from None
    dropped = Drops(tell)
    try:
        client = Client(
            dsn,
            **QUIETLY,
            environment=environment or "production",
            release=release,
            transport=_transport(dropped),
            before_send=_without_machine,
        )
    except (BadDsn, ValueError):  # whose text may hold the key
        raise ConfigurationError(
            "SENTRY_DSN is not of the form https://KEY@HOST/PROJECT; copy it from the settings of the project in Sentry"
        ) from None
    return Reporter(client, clock, dropped)


def _transport(dropped: Drops) -> "type[Transport]":
    from sentry_sdk.transport import HttpTransport  # noqa: PLC0415 - an extra

    class OneTry(HttpTransport):
        """Sends a report once, within five seconds, and says which ones do not arrive."""

        TIMEOUT = 5

        def _get_pool_options(self) -> dict[str, Any]:
            return {**super()._get_pool_options(), "retries": False}  # each of which urllib3 would warn of

        def on_dropped_event(self, reason: str) -> None:
            dropped(reason)

    return OneTry


def _without_machine(event: Any, hint: Any) -> Any:
    event.pop("server_name", None)
    return event
