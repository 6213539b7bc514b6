"""`millrace queues …`: queues and their messages, over HTTP."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

import msgspec

from millrace.cli.printing import counted, print_json, print_lines, print_table, shortened
from millrace.client.deliveries import Delivery, Peeked
from millrace.client.objects import ConsumerObject, ConsumerSettings, QueueObject, QueueSettings
from millrace.client.synchronous import Client
from millrace.errors import InvalidMessage
from millrace.message import Backlog, check_json, decode_base64

FAILED = 1


def list_queues(arguments: argparse.Namespace) -> int:
    """List the queues of the account."""
    with _client(arguments) as client:
        queues = list(client.queues())
    if arguments.json:
        print_json(queues)
    elif not queues:
        print_lines("no queues")
    else:
        rows = [
            (
                queue["queue_name"],
                queue["queue_id"],
                _delivery(queue),
                _consumer_type(queue),
                queue.get("created_on", ""),
            )
            for queue in queues
        ]
        print_table(("name", "id", "delivery", "consumer", "created"), rows)
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Show a queue's settings, consumer and backlog."""
    with _client(arguments) as client:
        queue = client.queue(arguments.queue)
        metrics = client.metrics(queue["queue_id"])
    if arguments.json:
        print_json({**queue, "metrics": _metrics(metrics)})
    else:
        print_table((queue["queue_name"], ""), _info_rows(queue, metrics))
    return 0


def create(arguments: argparse.Namespace) -> int:
    """Create a queue."""
    with _client(arguments) as client:
        queue = client.create_queue(arguments.queue, **_settings(arguments))
    return _report(arguments, queue, f"created queue {queue['queue_name']} ({queue['queue_id']})")


def delete(arguments: argparse.Namespace) -> int:
    """Delete a queue."""
    with _client(arguments) as client:
        client.delete_queue(arguments.queue)
    return _report(arguments, {"deleted": arguments.queue}, f"deleted queue {arguments.queue}")


def send(arguments: argparse.Namespace) -> int:
    """Send a message."""
    body = _read_body(arguments)
    with _client(arguments) as client:
        backlog = client.send(arguments.queue, body, arguments.content_type, arguments.delay)
    result = {"metadata": {"metrics": _metrics(backlog)}}
    return _report(arguments, result, f"sent to {arguments.queue}, which holds {counted(backlog.count, 'message')}")


def peek(arguments: argparse.Namespace) -> int:
    """Show messages without taking them."""
    with _client(arguments) as client:
        messages = list(client.peek(arguments.queue, arguments.limit))
    _print_messages(arguments, messages, "id")
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Take messages under a lease."""
    with _client(arguments) as client:
        messages = client.receive(arguments.queue, arguments.batch_size, arguments.visibility_timeout_ms)
    _print_messages(arguments, messages, "lease_id")
    return 0


def ack(arguments: argparse.Namespace) -> int:
    """Acknowledge or retry leases; failed when one of them no longer counts."""
    if arguments.delay is not None and not arguments.retry:
        arguments.refuse("--delay goes with --retry; an acknowledged message is not delivered again")
    leases = list(dict.fromkeys(arguments.leases))
    with _client(arguments) as client:
        if arguments.retry:
            settled = client.settle(arguments.queue, retries=leases, delay_seconds=arguments.delay)
        else:
            settled = client.settle(arguments.queue, acks=leases)
    done, verb = (settled.retry_count, "retried") if arguments.retry else (settled.ack_count, "acknowledged")
    result = {"ackCount": settled.ack_count, "retryCount": settled.retry_count, "warnings": settled.warnings}
    _report(arguments, result, f"{verb} {counted(done, 'message')}")
    for lease, warning in settled.warnings.items():
        print(f"millrace: {shortened(lease)}: {warning}", file=sys.stderr)
    return FAILED if settled.warnings else 0


def pause(arguments: argparse.Namespace) -> int:
    """Stop the delivery of a queue."""
    with _client(arguments) as client:
        queue = client.pause(arguments.queue)
    return _report(arguments, queue, f"paused delivery of {queue['queue_name']}")


def resume(arguments: argparse.Namespace) -> int:
    """Resume the delivery of a queue."""
    with _client(arguments) as client:
        queue = client.resume(arguments.queue)
    return _report(arguments, queue, f"resumed delivery of {queue['queue_name']}")


def purge(arguments: argparse.Namespace) -> int:
    """Delete all messages of a queue."""
    if not arguments.force:
        arguments.refuse(f"purge deletes all messages of {arguments.queue} for good; add --force when that is meant")
    with _client(arguments) as client:
        queue = client.purge(arguments.queue)
    return _report(arguments, queue, f"deleted all messages of {queue['queue_name']}")


def redrive(arguments: argparse.Namespace) -> int:
    """Move dead letters back."""
    with _client(arguments) as client:
        moved = client.redrive(arguments.queue)
    return _report(arguments, {"redriven": moved}, f"moved {counted(moved, 'message')} back")


def _client(arguments: argparse.Namespace) -> Client:
    return Client.from_env(os.environ, url=arguments.url, token=arguments.token)


def _settings(arguments: argparse.Namespace) -> QueueSettings:
    settings: QueueSettings = {}
    if arguments.delay_seconds is not None:
        settings["delivery_delay"] = arguments.delay_seconds
    if arguments.retention_seconds is not None:
        settings["message_retention_period"] = arguments.retention_seconds
    return settings


def _report(arguments: argparse.Namespace, result: object, sentence: str) -> int:
    if arguments.json:
        print_json(result)
    else:
        print_lines(sentence)
    return 0


def _read_body(arguments: argparse.Namespace) -> object:
    """Give the body as the client takes it: JSON exactly as it was typed, a string, or bytes."""
    typed = arguments.body
    raw = sys.stdin.buffer.read() if typed == "-" else typed.encode("utf-8", "surrogateescape")
    try:
        return _body(raw, arguments.content_type)
    except InvalidMessage as error:
        arguments.refuse(str(error))
        raise


def _body(raw: bytes, content_type: str) -> object:
    if content_type == "bytes":
        return decode_base64(b"".join(raw.split()).decode("latin-1"))
    if content_type == "text":
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidMessage(f"body is not UTF-8: {error}") from None
    try:
        return msgspec.Raw(check_json(raw))
    except InvalidMessage as error:
        raise InvalidMessage(f"{error}; --text sends it as it is") from None


def _print_messages(arguments: argparse.Namespace, messages: Sequence[Delivery | Peeked], naming: str) -> None:
    if arguments.json:
        print_json(messages)
    elif not messages:
        print_lines("no messages")
    else:
        rows = [
            (getattr(message, naming), str(message.attempts), message.content_type, shortened(message.body))
            for message in messages
        ]
        print_table((naming, "attempts", "type", "body"), rows)


def _info_rows(queue: QueueObject, backlog: Backlog) -> list[tuple[str, str]]:
    settings = queue.get("settings", {})
    retention = settings.get("message_retention_period")
    rows = [
        ("  id", queue["queue_id"]),
        ("  created", queue.get("created_on", "")),
        ("  delivery", _delivery(queue)),
        ("  delay", f"{settings.get('delivery_delay', 0)} s"),
        ("  retention", "without end" if retention is None else f"{retention} s"),
    ]
    rows += [
        (f"  {name.replace('_', ' ')}", str(limit))
        for name, limit in settings.items()
        if name in ("max_backlog_messages", "max_backlog_bytes")
    ]
    return [*rows, ("  consumer", _consumer(queue)), ("  backlog", _backlog(backlog))]


def _delivery(queue: QueueObject) -> str:
    return "paused" if queue.get("settings", {}).get("delivery_paused") else "active"


def _consumer_type(queue: QueueObject) -> str:
    return queue["consumers"][0]["type"] if queue.get("consumers") else "none"


def _consumer(queue: QueueObject) -> str:
    if not queue.get("consumers"):
        return "none"
    consumer = queue["consumers"][0]
    dead_letters = consumer.get("dead_letter_queue")
    parts = [
        _named(consumer),
        *_numbers(consumer.get("settings", {})),
        f"dead letters to {dead_letters}" if dead_letters else "no dead-letter queue",
    ]
    return ", ".join(parts)


def _named(consumer: ConsumerObject) -> str:
    """Name what takes the messages: a script, a URL, or whoever pulls."""
    name = consumer.get("script") or consumer.get("script_name") or consumer.get("url")
    return f"{consumer['type']} {name}" if name else consumer["type"]


def _numbers(settings: ConsumerSettings) -> list[str]:
    """Say what a consumer's settings are, as far as a server tells them."""
    size, retries = settings.get("batch_size"), settings.get("max_retries")
    told = [None if size is None else f"batches of {size}"]
    told.append(None if retries is None else f"retried up to {counted(retries, 'time')}")
    return [part for part in told if part]


def _metrics(backlog: Backlog) -> dict[str, int]:
    """Show a backlog as the API does."""
    return {
        "backlog_count": backlog.count,
        "backlog_bytes": backlog.bytes,
        "oldest_message_timestamp_ms": backlog.oldest_sent_at_ms,
    }


def _backlog(backlog: Backlog) -> str:
    held = f"{counted(backlog.count, 'message')}, {backlog.bytes} bytes"
    if not backlog.count:
        return held
    age = max(0, int(time.time()) - backlog.oldest_sent_at_ms // 1000)
    return f"{held}, the oldest {age} s old"
