"""`millrace queues …`: queues themselves, over HTTP."""

import argparse
import time

from millrace.cli.clients import client_of, moment_of, report
from millrace.cli.printing import counted, print_json, print_lines, print_table, shortened
from millrace.client.objects import ConsumerObject, ConsumerSettings, QueueObject, QueueSettings
from millrace.message import Backlog


def list_queues(arguments: argparse.Namespace) -> int:
    """List the queues of the account."""
    with client_of(arguments) as client:
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
    with client_of(arguments) as client:
        queue = client.queue(arguments.queue)
        metrics = client.metrics(queue["queue_id"])
    if arguments.json:
        print_json({**queue, "metrics": metrics_of(metrics)})
    else:
        print_table((queue["queue_name"], ""), _info_rows(queue, metrics))
    return 0


def create(arguments: argparse.Namespace) -> int:
    """Create a queue."""
    with client_of(arguments) as client:
        queue = client.create_queue(arguments.queue, **_settings(arguments))
    return report(arguments, queue, f"created queue {queue['queue_name']} ({queue['queue_id']})")


def change(arguments: argparse.Namespace) -> int:
    """Change settings of a queue."""
    settings = _settings(arguments) | _feature_settings(arguments)
    if not settings:
        arguments.refuse("no setting is given; --help names them")
    with client_of(arguments) as client:
        queue = client.change_queue(arguments.queue, **settings)
    return report(arguments, queue, f"changed {', '.join(settings)} of {queue['queue_name']}")


def delete(arguments: argparse.Namespace) -> int:
    """Delete a queue."""
    with client_of(arguments) as client:
        client.delete_queue(arguments.queue)
    return report(arguments, {"deleted": arguments.queue}, f"deleted queue {arguments.queue}")


def pause(arguments: argparse.Namespace) -> int:
    """Stop the delivery of a queue."""
    with client_of(arguments) as client:
        queue = client.pause(arguments.queue)
    return report(arguments, queue, f"paused delivery of {queue['queue_name']}")


def resume(arguments: argparse.Namespace) -> int:
    """Resume the delivery of a queue."""
    with client_of(arguments) as client:
        queue = client.resume(arguments.queue)
    return report(arguments, queue, f"resumed delivery of {queue['queue_name']}")


def purge(arguments: argparse.Namespace) -> int:
    """Delete all messages of a queue."""
    if not arguments.force:
        arguments.refuse(f"purge deletes all messages of {arguments.queue} for good; add --force when that is meant")
    with client_of(arguments) as client:
        queue = client.purge(arguments.queue)
    return report(arguments, queue, f"deleted all messages of {queue['queue_name']}")


def redrive(arguments: argparse.Namespace) -> int:
    """Move dead letters back."""
    sent_after = moment_of(arguments, "--sent-after", arguments.sent_after)
    sent_before = moment_of(arguments, "--sent-before", arguments.sent_before)
    with client_of(arguments) as client:
        moved = client.redrive(
            arguments.queue,
            reason=arguments.reason,
            origin=arguments.origin,
            sent_after=sent_after,
            sent_before=sent_before,
            ids=arguments.ids,
            limit=arguments.limit,
            per_second=arguments.per_second,
        )
    return report(arguments, {"redriven": moved}, f"moved {counted(moved, 'message')} back")


def _settings(arguments: argparse.Namespace) -> QueueSettings:
    settings: QueueSettings = {}
    if arguments.delay_seconds is not None:
        settings["delivery_delay"] = arguments.delay_seconds
    if arguments.retention_seconds is not None:
        settings["message_retention_period"] = arguments.retention_seconds
    return settings


def _feature_settings(arguments: argparse.Namespace) -> QueueSettings:
    settings: QueueSettings = {}
    if arguments.deduplication_seconds is not None:
        settings["deduplication_seconds"] = arguments.deduplication_seconds
    if arguments.deduplicate_content is not None:
        settings["deduplicate_content"] = arguments.deduplicate_content == "on"
    if arguments.forward_to is not None or arguments.no_forwards:
        settings["forwards"] = [{"queue": name} for name in arguments.forward_to or ()]
    if arguments.forward_only is not None:
        settings["forward_only"] = arguments.forward_only == "on"
    if arguments.auto_redrive_after is not None or arguments.no_auto_redrive:
        settings["auto_redrive"] = _auto_redrive(arguments)
    elif arguments.auto_redrive_times is not None:
        arguments.refuse("--auto-redrive-times goes with --auto-redrive-after")
    return settings


def _auto_redrive(arguments: argparse.Namespace) -> dict[str, int] | None:
    if arguments.auto_redrive_after is None:
        return None
    return {"after_seconds": arguments.auto_redrive_after, "max_times": arguments.auto_redrive_times or 1}


def metrics_of(backlog: Backlog) -> dict[str, int]:
    """Show a backlog as the API does."""
    return {
        "backlog_count": backlog.count,
        "backlog_bytes": backlog.bytes,
        "oldest_message_timestamp_ms": backlog.oldest_sent_at_ms,
    }


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
        (f"  {name.replace('_', ' ')}", _shown(value))
        for name, value in settings.items()
        if name not in ("delivery_delay", "delivery_paused", "message_retention_period")
    ]
    return [*rows, ("  consumer", _consumer(queue)), ("  backlog", _backlog(backlog))]


def _shown(value: object) -> str:
    """Write a setting of ours on one line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int) else shortened(value)


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
    size, retries, wait_ms = settings.get("batch_size"), settings.get("max_retries"), settings.get("max_wait_time_ms")
    told = [
        None if size is None else f"batches of {size}",
        f"or after {wait_ms / 1000:g} s" if wait_ms else None,
        None if retries is None else f"retried up to {counted(retries, 'time')}",
    ]
    return [part for part in told if part]


def _backlog(backlog: Backlog) -> str:
    held = f"{counted(backlog.count, 'message')}, {backlog.bytes} bytes"
    if not backlog.count:
        return held
    age = max(0, int(time.time()) - backlog.oldest_sent_at_ms // 1000)
    return f"{held}, the oldest {age} s old"
