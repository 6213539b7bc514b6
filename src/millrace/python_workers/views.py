"""Batch, messages, bindings and context as a Python Worker sees them: in JavaScript's spelling and in ours."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from millrace.batch import BatchMessage, MessageBatch
from millrace.handlers.asking import Binding
from millrace.message import Backlog
from millrace.python_workers.other_bindings import WorkerBinding
from millrace.python_workers.values import JsArray, JsDate, JsObject, options_of, shown, snake_case


class _View:
    """Shows an object of ours; what it does not define itself is asked of that object, also in camel case."""

    def __init__(self, seen: Any) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        ours = snake_case(name)
        return getattr(self._seen, name) if ours == name else getattr(self, ours)


class WorkerMessage(_View):
    """One message: `id`, `attempts`, `ack()` and `reject(reason)` are ours."""

    _seen: BatchMessage[Any]

    @cached_property
    def body(self) -> Any:
        """The JSON value, str or bytes; dicts and lists have `to_py()`."""
        return shown(self._seen.body)

    @property
    def timestamp(self) -> JsDate:
        """When the message was accepted."""
        date: JsDate = shown(self._seen.timestamp)
        return date

    def retry(self, options: Any = None, **named: Any) -> None:
        """Have this message delivered again, perhaps after `delaySeconds`."""
        self._seen.retry(**options_of(options, named, "delay_seconds"))


class WorkerBatch(_View):
    """One batch: `queue` and `ackAll()` are ours."""

    _seen: MessageBatch[Any]

    @cached_property
    def messages(self) -> JsArray:
        """The messages."""
        return JsArray(map(WorkerMessage, self._seen.messages))

    @property
    def metadata(self) -> JsObject:
        """`metrics`: what is in the queue."""
        return _metadata(self._seen.backlog)

    def retry_all(self, options: Any = None, **named: Any) -> None:
        """Have every message that has no call of its own delivered again, perhaps after `delaySeconds`."""
        self._seen.retry_all(**options_of(options, named, "delay_seconds"))


class WorkerController(_View):
    """One run of a cron: `cron`, `type` and `noRetry()` are ours."""

    @property
    def scheduled_time(self) -> int:
        """When the run was due, in epoch milliseconds."""
        due_ms: int = self._seen.scheduled_time_ms
        return due_ms


SENT_WITH = ("content_type", "delay_seconds", "send_at", "priority", "ordering_key", "dedupe_key", "headers")


class WorkerQueue(_View):
    """One producer binding."""

    async def send(self, body: Any, options: Any = None, **named: Any) -> JsObject:
        """Send one message, perhaps with `contentType`, `delaySeconds` and what is ours, such as `sendAt`."""
        taken = options_of(options, named, *SENT_WITH)
        return JsObject(metadata=_metadata(await self._seen.send(body, **taken)))

    async def send_batch(self, messages: Iterable[Mapping[str, Any]], options: Any = None, **named: Any) -> JsObject:
        """Send messages, each with `body` and perhaps the options of `send`; all or none."""
        taken = options_of(options, named, "delay_seconds")
        return JsObject(metadata=_metadata(await self._seen.send_batch(map(_outgoing, messages), **taken)))

    async def metrics(self) -> JsObject:
        """Count the queue's backlog."""
        return _metrics(await self._seen.metrics())


class WorkerContext(_View):
    """What `ctx` is: `waitUntil(awaitable)` is ours."""

    def pass_through_on_exception(self) -> None:
        """Do nothing: there is no origin behind a queue."""


class WorkerEnv:
    """Bindings by name; variables are shown as they are."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._env, name)
        if hasattr(found, "send_batch"):
            return WorkerQueue(found)
        return WorkerBinding(found) if isinstance(found, Binding) else shown(found)


CURRENT: ContextVar[tuple[WorkerEnv, WorkerContext]] = ContextVar("current")


def _outgoing(message: Mapping[str, Any]) -> dict[str, Any]:
    if "body" not in message:
        raise TypeError("a message of sendBatch has no body")
    return {"body": message["body"], **options_of(message, {}, *SENT_WITH)}


def _metadata(backlog: Backlog | None) -> JsObject:
    return JsObject(metrics=_metrics(backlog or Backlog(0, 0, 0)))


def _metrics(backlog: Backlog) -> JsObject:
    oldest_ms = backlog.oldest_sent_at_ms
    oldest = shown(datetime.fromtimestamp(oldest_ms / 1000, UTC)) if oldest_ms else None
    return JsObject(backlogCount=backlog.count, backlogBytes=backlog.bytes, oldestMessageTimestamp=oldest)
