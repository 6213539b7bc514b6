"""Log lines: JSON, one a line, written in batches, about the events that a reader of logs wants.

Written by hand because one line goes with every accepted event: a logging library costs more than the rest of
that request (docs/design/speed.md).
"""

import asyncio
import logging
import queue
import threading
import traceback
from time import monotonic
from typing import Any, BinaryIO

import msgspec

from millrace.clock import Clock, iso_milliseconds
from millrace.errors import StoreUnavailable
from millrace.telemetry import Telemetry

FLUSH_SECONDS = 0.05
FLUSH_LINES = 500
WAITING_BYTES = 8 * 1024 * 1024
CLOSE_SECONDS = 2.0
SELDOM = "store.failed"  # while a database is away, every request and every step would write its line
SELDOM_SECONDS = 1.0

LINES: dict[str, tuple[str, str]] = {
    "event.queued": ("info", "Event queued successfully"),
    "event.received": ("info", "Event received"),
    "event.refused": ("error", "Failed to queue event"),
    "event.debug_ignored": ("warning", "Debug flag ignored"),
    "server.started": ("info", "Server started"),
    "logs.dropped": ("warning", "Log lines dropped, because nobody read them"),
    "library.warned": ("warning", "A library warns"),
    "server.stopping": ("info", "Server stopping"),
    "server.forced": ("warning", "Stopped without waiting for handlers"),
    "server.stopped": ("info", "Server stopped"),
    "configuration.warning": ("warning", "Configuration warning"),
    "configuration.applied": ("info", "Configuration applied"),
    "store.checked": ("info", "Store integrity checked"),
    "store.corrupt": ("error", "Store is corrupt"),
    "store.failed": ("error", "Store cannot be used"),
    "request.failed": ("error", "Request failed unexpectedly"),
    "cron.missed": ("warning", "Runs of a cron were missed"),
    "cron.failed": ("error", "A run of a cron could not be sent; it is tried again"),
    "loop.failed": ("error", "Background work failed; it is tried again"),
    "consumer.started": ("info", "Consumer started"),
    "consumer.stopped": ("info", "Consumer stopped"),
    "agent.started": ("info", "Agent started"),
    "agent.stopped": ("info", "Agent stopped"),
    "job.queued": ("info", "Job queued"),
    "job.ended": ("info", "Job ended"),
    "job.done": ("info", "Job done"),
    "job.failed": ("error", "Job failed"),
    "job.postponed": ("info", "Job given back, to come again without an attempt"),
    "job.ack_refused": ("warning", "Job settled too late, or by another agent"),
    "job.lease_lost": ("warning", "Lease of a job could not be extended"),
    "bridge.forwarded": ("info", "Messages sent on from another server's queue"),
    "bridge.refused": ("warning", "Message of another server's queue cannot be sent on"),
    "server.unreachable": ("warning", "Server cannot be used; it is tried again"),
    "loop.blocked": ("error", "A handler blocks the server's event loop"),
    "message.failed": ("error", "Handler failed with one message"),
    "handler.failed": ("error", "Handler failed"),
    "handler.ignored": ("warning", "Calls of a handler were ignored, because another one came first"),
    "handler.lease_lost": ("warning", "Handler finished after its lease"),
    "target.opened": ("warning", "Another server is left alone for a while, because it fails"),
    "target.closed": ("info", "Another server is called again"),
    "report.dropped": ("warning", "Reports of failures did not reach Sentry"),
    "push.failed": ("warning", "Push failed"),
    "push.opened": ("warning", "Pushes stopped, because the URL fails or asks for a pause"),
    "push.closed": ("info", "Pushes go on"),
    "handler.died": ("error", "Handler's process ended unexpectedly"),
    "handler.memory": ("error", "Handler's process ended, because it held too much memory"),
    "handler.unloadable": ("error", "Handlers cannot be loaded; it is tried again"),
    "workflow.errored": ("error", "Workflow instance failed"),
    "alert.fired": ("warning", "Alert fired"),
    "alert.cleared": ("info", "Alert cleared"),
    "message.buried": ("warning", "Messages moved to the dead-letter queue"),
    "message.dropped": ("warning", "Messages dropped after their last delivery"),
    "message.expired": ("info", "Messages expired"),
    "message.redriven": ("info", "Messages redriven"),
    "queue.purged": ("info", "Queue purged"),
}

LEVELS = {"failed": "error", "retried": "warning"}  # of events that have one of these outcomes
UNWRITTEN = "trail"  # what a job went through: each step had its line


class ForeignLogs(logging.Handler):
    """Turns the warnings that libraries log into events."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        """Emit a record as an event."""
        self._telemetry.emit("library.warned", logger=record.name, warning=record.getMessage())


class LogLines:
    """A subscriber that writes the events of `LINES` to a byte stream, from a thread of its own.

    A reader that stalls must not stall the server: past 8 MiB lines are dropped and counted, and a stream that is
    gone is written to no more. Of `store.failed` there is one a second, with the number of those left out before it.
    """

    def __init__(self, stream: BinaryIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._lines: list[bytes] = []
        self._flush_at: asyncio.TimerHandle | None = None
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting_bytes = self._dropped = self._left_out = 0
        self._seldom_at = -SELDOM_SECONDS
        self._home = threading.get_ident()
        self._thread = threading.Thread(target=self._write, name="millrace-log", daemon=True)
        self._thread.start()

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        """Write the event's line, within 50 ms; from another thread, since the loop may be blocked, at once."""
        if name == SELDOM:
            if monotonic() - self._seldom_at < SELDOM_SECONDS:
                self._left_out += 1
                return
            fields = {**fields, "left_out": self._left_out} if self._left_out else fields
            self._seldom_at, self._left_out = monotonic(), 0
        line = line_of(name, fields, self._clock)
        if threading.get_ident() != self._home:
            self._chunks.put(line)
            return
        self._lines.append(line)
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over what has gathered."""
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        lines, self._lines = self._lines, []
        if self._waiting_bytes > WAITING_BYTES:
            self._dropped += len(lines)
            return
        if self._dropped:
            self._dropped, dropped = 0, self._dropped
            self("logs.dropped", {"count": dropped})
        chunk = b"".join(lines)
        self._waiting_bytes += len(chunk)
        self._chunks.put(chunk)

    def close(self) -> None:
        """Write what there is, as far as the stream takes it within two seconds."""
        self.flush()
        self._chunks.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _write(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            try:
                self._stream.write(chunk)
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads it any more
                return
            self._waiting_bytes -= len(chunk)


def line_of(name: str, fields: dict[str, Any], clock: Clock) -> bytes:
    """Write an event of `LINES` as a line of JSON, its end included."""
    level, message = LINES[name]
    at = fields.get("timestamp") or iso_milliseconds(clock())
    level = LEVELS.get(fields.get("outcome", ""), level)
    record: dict[str, Any] = {"timestamp": at, "level": level, "message": message, "event": name}
    for key, value in fields.items():
        if key == UNWRITTEN:
            continue
        record[key] = value if isinstance(value, int | float | bool) else _shown(value)
    return msgspec.json.encode(record) + b"\n"


def _shown(value: object) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, StoreUnavailable):  # what the store is made of says the rest, and no line of ours
        return f"{value}: {value.__cause__}" if value.__cause__ else str(value)
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)).encode("utf-8", "replace").decode()
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return str(value)
