"""What a wrangler file asks of the queues of an account, as changes to look at and to apply. Pure.

What the file no longer names is detached; queues and messages are never deleted. The queues of applications go by
what those need as far as the file says nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from millrace.consumer import Consumer, make_consumer
from millrace.jsonc import dumps
from millrace.platform import QueueNeed
from millrace.queue import Forward, Queue
from millrace.wrangler.file import ConsumerEntry, QueueLimits, WranglerFile

SCRIPT = "local"  # the script name of consumers whose file has no name


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do to the queue of that name, and the line that tells people of it."""

    queue: str
    line: str


class MakeQueue(Change, frozen=True, kw_only=True):
    """Make the queue, in the jurisdiction of the queue whose dead letters it is for."""

    jurisdiction: str | None = None


class SetConsumer(Change, frozen=True, kw_only=True):
    """Give the queue this consumer; `given` are arguments of `make_consumer`, without the secret."""

    given: Mapping[str, Any]
    secret_variable: str | None = None


class DetachConsumer(Change, frozen=True, kw_only=True):
    """Take the consumer from the queue."""

    consumer_id: str


class AddProducer(Change, frozen=True, kw_only=True):
    """Note the script as a producer."""

    script: str


class RemoveProducer(Change, frozen=True, kw_only=True):
    """Note the script as a producer no more."""

    script: str


class SetBacklogLimits(Change, frozen=True, kw_only=True):
    """Set both limits; None lifts one."""

    max_messages: int | None
    max_bytes: int | None


class SetSettings(Change, frozen=True, kw_only=True):
    """Change these settings of the queue, in the API's spelling."""

    settings: Mapping[str, Any]


def plan(
    file: WranglerFile, queues: Sequence[Queue], secrets: Mapping[str, str], needs: Sequence[QueueNeed] = ()
) -> tuple[Change, ...]:
    """Tell what is to be done so that the account's queues are as the checked file says.

    `needs` are those of the applications: what their consumers are like where the file leaves it out and has no
    handler for the queue.
    """
    present = {queue.name: queue for queue in queues}
    needed = {need.name: need.consumer for need in needs if need.consumer is not None}
    return (
        *_new_queues(file, present),
        *_left_consumers(file, queues, needed),
        *_set_consumers(file, present, secrets, needed),
        *_producers(file, present),
        *_limits(file, present),
        *_settings(file, present),
    )


def script_of(file: WranglerFile) -> str:
    """Give the name under which the file attaches consumers and producers."""
    return file.name or SCRIPT


def consumer_arguments(entry: ConsumerEntry, script: str) -> dict[str, Any]:
    """Give the arguments of `make_consumer` for an entry, without the secret."""
    pushed = {"url": entry.url} if entry.url is not None else {}
    return {
        "type": entry.type,
        "script_name": script,
        "dead_letter_queue": entry.dead_letter_queue or "",
        "settings": entry.settings,
        "applied_by": script,
        **pushed,
    }


def named_queues(file: WranglerFile) -> list[str]:
    """Give the queues that the file names, dead-letter queues aside."""
    entries = (*file.producers, *file.consumers, *file.limits, *file.forwards)
    return list(dict.fromkeys([*(entry.queue for entry in entries), *(entry.to for entry in file.forwards)]))


def forwards_of(file: WranglerFile) -> dict[str, list[dict[str, Any]]]:
    """Give the forwards that the file names by queue, as the API has them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in file.forwards:
        found.setdefault(entry.queue, []).append({"queue": entry.to, "headers": entry.headers})
    return found


def _new_queues(file: WranglerFile, present: Mapping[str, Queue]) -> Iterator[Change]:
    wanted: dict[str, str | None] = dict.fromkeys(named_queues(file))
    for entry in file.consumers:
        if entry.dead_letter_queue:
            wanted.setdefault(entry.dead_letter_queue, _queue(present, entry.queue).jurisdiction)
    for name, jurisdiction in wanted.items():
        if name not in present:
            yield MakeQueue(queue=name, line=f"+ queue {name}", jurisdiction=jurisdiction)


def _left_consumers(
    file: WranglerFile, queues: Sequence[Queue], needed: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    """Detach the consumers that the file names no more, or give them back to the applications that have them."""
    named = {entry.queue for entry in file.consumers}
    for queue in queues:
        consumer, given = queue.consumer, needed.get(queue.name)
        if consumer is None or queue.name in named or not _is_owned(consumer, script_of(file)):
            continue
        if given is None:
            line = f"- consumer of {queue.name}: {_kind(consumer)} (its messages stay)"
            yield DetachConsumer(queue=queue.name, line=line, consumer_id=consumer.id)
        else:
            differences = _differences(_facts(consumer), _facts(_made(queue, given)))
            yield SetConsumer(queue=queue.name, line=_change_line(queue, differences), given=given)


def _is_owned(consumer: Consumer, script: str) -> bool:
    """Tell whether the file attached it; consumers from elsewhere are known by the script that they name."""
    if consumer.applied_by is not None:
        return consumer.applied_by == script
    return consumer.type == "worker" and consumer.script_name == script


def _set_consumers(
    file: WranglerFile,
    present: Mapping[str, Queue],
    secrets: Mapping[str, str],
    needed: Mapping[str, Mapping[str, Any]],
) -> Iterator[Change]:
    for entry in file.consumers:
        given, queue = consumer_arguments(entry, script_of(file)), _queue(present, entry.queue)
        if not _has_handler(file, entry):
            given = _completed(given, needed.get(entry.queue))
        line = _consumer_line(queue, entry, _made(queue, given), secrets)
        if line:
            yield SetConsumer(queue=queue.name, line=line, given=given, secret_variable=entry.secret_variable)


def _has_handler(file: WranglerFile, entry: ConsumerEntry) -> bool:
    """Say whether a handler of the file is fed, so that the queue is the application's no more."""
    return entry.handler is not None or (entry.type == "worker" and (file.main or "").endswith(".py"))


def _completed(given: dict[str, Any], needed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fill in what the application's consumer of the queue has, as long as it is of the same type."""
    if needed is None or needed["type"] != given["type"]:
        return given
    dead_letter_queue = given["dead_letter_queue"] or needed.get("dead_letter_queue", "")
    return {**given, "dead_letter_queue": dead_letter_queue, "settings": {**needed["settings"], **given["settings"]}}


def _made(queue: Queue, given: Mapping[str, Any]) -> Consumer:
    return make_consumer(id="", queue_name=queue.name, now_ms=0, **given)


def _consumer_line(queue: Queue, entry: ConsumerEntry, wanted: Consumer, secrets: Mapping[str, str]) -> str | None:
    if queue.consumer is None:
        named = {**entry.settings, "dead_letter_queue": entry.dead_letter_queue}
        facts = [f"{key} {_shown(value)}" for key, value in named.items() if value is not None]
        return f"+ consumer of {queue.name}: {', '.join([_kind(wanted), *facts])}"
    differences = list(_differences(_facts(queue.consumer), _facts(wanted)))
    if entry.secret_variable is not None and queue.consumer.secret not in (None, secrets[entry.secret_variable]):
        differences.append("secret replaced")
    return _change_line(queue, differences) if differences else None


def _change_line(queue: Queue, differences: Iterable[str]) -> str:
    return f"~ consumer of {queue.name}: {', '.join(differences)}"


def _facts(consumer: Consumer) -> dict[str, Any]:
    """Give what a file says about a consumer; never its secret."""
    return {
        "type": consumer.type,
        "script_name": consumer.script_name or None,
        "url": consumer.url,
        **msgspec.structs.asdict(consumer.settings),
        "dead_letter_queue": consumer.dead_letter_queue,
        "applied_by": consumer.applied_by,
    }


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key, value in after.items():
        if before[key] != value:
            yield f"{key} {_shown(before[key])} -> {_shown(value)}"


def _kind(consumer: Consumer) -> str:
    return " ".join(filter(None, (consumer.type, consumer.script_name, consumer.url and _shown(consumer.url))))


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):  # the query of a URL may hold a password
        return value if "?" not in value else f"{urlsplit(value)._replace(query='').geturl()}?…"
    return dumps(msgspec.to_builtins(value))


def _producers(file: WranglerFile, present: Mapping[str, Queue]) -> Iterator[Change]:
    script, named = script_of(file), {producer.queue: None for producer in file.producers}
    for name in named:
        if script not in _queue(present, name).producers:
            yield AddProducer(queue=name, line=f"+ producer of {name}: {script}", script=script)
    for name, queue in present.items():
        if script in queue.producers and name not in named:
            yield RemoveProducer(queue=name, line=f"- producer of {name}: {script}", script=script)


def _limits(file: WranglerFile, present: Mapping[str, Queue]) -> Iterator[Change]:
    """Set the limits that the file names, and lift those of its other queues."""
    wanted = {limit.queue: (limit.max_backlog_messages, limit.max_backlog_bytes) for limit in file.limits}
    for name in named_queues(file):
        settings = _queue(present, name).settings
        before = {key: getattr(settings, key) for key in ("max_backlog_messages", "max_backlog_bytes")}
        max_messages, max_bytes = wanted.get(name, (None, None))
        after = {"max_backlog_messages": max_messages, "max_backlog_bytes": max_bytes}
        if differences := ", ".join(_differences(before, after)):
            line = f"~ queue {name}: {differences}"
            yield SetBacklogLimits(queue=name, line=line, max_messages=max_messages, max_bytes=max_bytes)


def _settings(file: WranglerFile, present: Mapping[str, Queue]) -> Iterator[Change]:
    """Set the settings that the file names; where it names none, the queue keeps its own."""
    wanted: dict[str, dict[str, Any]] = {limit.queue: _named_settings(limit) for limit in file.limits}
    for name, forwards in forwards_of(file).items():
        wanted.setdefault(name, {})["forwards"] = tuple(Forward(**forward) for forward in forwards)
    for name, after in wanted.items():
        before = msgspec.structs.asdict(_queue(present, name).settings)
        if differences := ", ".join(_differences(before, after)):
            yield SetSettings(queue=name, line=f"~ queue {name}: {differences}", settings=after)


def _named_settings(limit: QueueLimits) -> dict[str, Any]:
    settings = {
        "message_retention_period": limit.retention_seconds,
        "deduplication_seconds": limit.deduplication_seconds,
        "deduplicate_content": limit.deduplicate_content,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _queue(present: Mapping[str, Queue], name: str) -> Queue:
    """Give the queue, or as it will be when it has been made."""
    return present.get(name) or Queue(id="", account_id="", name=name, created_at_ms=0, modified_at_ms=0)
