"""`millrace queues …`: queues and their messages, over HTTP."""

import argparse
import os
import sys
import time

import msgspec

from millrace.cli.printing import counted, print_json, print_lines, print_table, shortened
from millrace.client import Client, Object
from millrace.errors import InvalidMessage
from millrace.message import check_json, decode_base64

FAILED = 1


def list_queues(arguments: argparse.Namespace) -> int:
    """List the queues of the account."""
    with _client(arguments) as client:
        queues = client.queues()
    if arguments.json:
        print_json(queues)
    elif not queues:
        print_lines("no queues")
    else:
        rows = [
            (queue["queue_name"], queue["queue_id"], _delivery(queue), _consumer_type(queue), queue["created_on"])
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
        print_json({**queue, "metrics": metrics})
    else:
        print_table((queue["queue_name"], ""), _info_rows(queue, metrics))
    return 0


def create(arguments: argparse.Namespace) -> int:
    """Create a queue."""
    with _client(arguments) as client:
        queue = client.create_queue(
            arguments.queue, delay_seconds=arguments.delay_seconds, retention_seconds=arguments.retention_seconds
        )
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
        result = client.send(arguments.queue, body, arguments.content_type, delay_seconds=arguments.delay)
    waiting = counted(result["metadata"]["metrics"]["backlog_count"], "message")
    return _report(arguments, result, f"sent to {arguments.queue}, which holds {waiting}")


def peek(arguments: argparse.Namespace) -> int:
    """Show messages without taking them."""
    with _client(arguments) as client:
        messages = client.peek(arguments.queue, arguments.limit)
    _print_messages(arguments, messages, "id")
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Take messages under a lease."""
    with _client(arguments) as client:
        messages = client.pull(
            arguments.queue,
            batch_size=arguments.batch_size,
            visibility_timeout_ms=arguments.visibility_timeout_ms,
        )
    _print_messages(arguments, messages, "lease_id")
    return 0


def ack(arguments: argparse.Namespace) -> int:
    """Acknowledge or retry leases; failed when one of them no longer counts."""
    if arguments.delay is not None and not arguments.retry:
        arguments.refuse("--delay goes with --retry; an acknowledged message is not delivered again")
    leases = list(dict.fromkeys(arguments.leases))
    with _client(arguments) as client:
        if arguments.retry:
            result = client.ack(arguments.queue, retries=leases, delay_seconds=arguments.delay)
        else:
            result = client.ack(arguments.queue, acks=leases)
    done, verb = (result["retryCount"], "retried") if arguments.retry else (result["ackCount"], "acknowledged")
    _report(arguments, result, f"{verb} {counted(done, 'message')}")
    for lease, warning in result["warnings"].items():
        print(f"millrace: {shortened(lease)}: {warning}", file=sys.stderr)
    return FAILED if result["warnings"] else 0


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
    return Client.from_environment(os.environ, arguments.url, arguments.token)


def _report(arguments: argparse.Namespace, result: Object, sentence: str) -> int:
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


def _print_messages(arguments: argparse.Namespace, messages: list[Object], naming: str) -> None:
    if arguments.json:
        print_json(messages)
    elif not messages:
        print_lines("no messages")
    else:
        rows = [
            (message[naming], str(message["attempts"]), message["content_type"], shortened(message["body"]))
            for message in messages
        ]
        print_table((naming, "attempts", "type", "body"), rows)


def _info_rows(queue: Object, metrics: Object) -> list[tuple[str, str]]:
    settings = queue["settings"]
    retention = settings.get("message_retention_period")
    rows = [
        ("  id", queue["queue_id"]),
        ("  created", queue["created_on"]),
        ("  delivery", _delivery(queue)),
        ("  delay", f"{settings['delivery_delay']} s"),
        ("  retention", "without end" if retention is None else f"{retention} s"),
    ]
    rows += [
        (f"  {name.replace('_', ' ')}", str(settings[name]))
        for name in ("max_backlog_messages", "max_backlog_bytes")
        if name in settings
    ]
    return [*rows, ("  consumer", _consumer(queue)), ("  backlog", _backlog(metrics))]


def _delivery(queue: Object) -> str:
    return "paused" if queue["settings"]["delivery_paused"] else "active"


def _consumer_type(queue: Object) -> str:
    return queue["consumers"][0]["type"] if queue["consumers"] else "none"


def _consumer(queue: Object) -> str:
    if not queue["consumers"]:
        return "none"
    consumer = queue["consumers"][0]
    settings = consumer["settings"]
    parts = [
        f"worker {consumer['script']}" if consumer["type"] == "worker" else consumer["type"],
        f"batches of {settings['batch_size']}",
        f"retried up to {counted(settings['max_retries'], 'time')}",
        f"dead letters to {consumer['dead_letter_queue']}" if consumer["dead_letter_queue"] else "no dead-letter queue",
    ]
    return ", ".join(parts)


def _backlog(metrics: Object) -> str:
    held = f"{counted(metrics['backlog_count'], 'message')}, {metrics['backlog_bytes']} bytes"
    if not metrics["backlog_count"]:
        return held
    age = max(0, int(time.time()) - metrics["oldest_message_timestamp_ms"] // 1000)
    return f"{held}, the oldest {age} s old"
