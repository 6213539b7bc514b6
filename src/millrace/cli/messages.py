"""`millrace queues …` for messages: send, look, take, settle, take back, over HTTP."""

import argparse
import sys
from collections.abc import Sequence

import msgspec

from millrace.bindings import SendOptions
from millrace.cli.clients import client_of, moment_of, report
from millrace.cli.printing import counted, print_json, print_lines, print_table, shortened
from millrace.cli.queues import metrics_of
from millrace.client.deliveries import Delivery, Peeked
from millrace.errors import InvalidMessage
from millrace.message import check_json, decode_base64

FAILED = 1
REASON = "Millrace-Reason"


def send(arguments: argparse.Namespace) -> int:
    """Send a message."""
    body, options = _read_body(arguments), _options(arguments)
    with client_of(arguments) as client:
        sent = client.send(arguments.queue, body, arguments.content_type, arguments.delay, **options)
    result: dict[str, object] = {"metadata": {"metrics": metrics_of(sent)}}
    sentence = f"sent to {arguments.queue}, which holds {counted(sent.count, 'message')}"
    if sent.ref is not None:
        result |= {"id": sent.id, "ref": sent.ref}
        sentence += f"; to take it back: millrace queues cancel {arguments.queue} {sent.ref}"
    return report(arguments, result, sentence)


def peek(arguments: argparse.Namespace) -> int:
    """Show messages without taking them."""
    with client_of(arguments) as client:
        messages = list(client.peek(arguments.queue, arguments.limit))
    _print_messages(arguments, messages, "id")
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Take messages under a lease."""
    with client_of(arguments) as client:
        messages = client.receive(arguments.queue, arguments.batch_size, arguments.visibility_timeout_ms)
    _print_messages(arguments, messages, "lease_id")
    return 0


def ack(arguments: argparse.Namespace) -> int:
    """Acknowledge or retry leases; failed when one of them no longer counts."""
    if arguments.delay is not None and not arguments.retry:
        arguments.refuse("--delay goes with --retry; an acknowledged message is not delivered again")
    leases = list(dict.fromkeys(arguments.leases))
    with client_of(arguments) as client:
        if arguments.retry:
            settled = client.settle(arguments.queue, retries=leases, delay_seconds=arguments.delay)
        else:
            settled = client.settle(arguments.queue, acks=leases)
    done, verb = (settled.retry_count, "retried") if arguments.retry else (settled.ack_count, "acknowledged")
    result = {"ackCount": settled.ack_count, "retryCount": settled.retry_count, "warnings": settled.warnings}
    report(arguments, result, f"{verb} {counted(done, 'message')}")
    _print_warnings(settled.warnings)
    return FAILED if settled.warnings else 0


def cancel(arguments: argparse.Namespace) -> int:
    """Take back messages whose time has not come; failed when it has for one of them."""
    refs = list(dict.fromkeys(arguments.refs))
    with client_of(arguments) as client:
        warnings = client.cancel(arguments.queue, refs)
    return _report_refs(arguments, "cancelled", refs, warnings)


def discard(arguments: argparse.Namespace) -> int:
    """Delete chosen messages for good; failed when one of them is not there."""
    refs = list(dict.fromkeys(arguments.refs))
    with client_of(arguments) as client:
        warnings = client.discard(arguments.queue, refs)
    return _report_refs(arguments, "discarded", refs, warnings)


def reschedule(arguments: argparse.Namespace) -> int:
    """Give a message another time."""
    moment = moment_of(arguments, "--at", arguments.at)
    assert moment is not None
    with client_of(arguments) as client:
        client.reschedule(arguments.queue, arguments.ref, moment)
    result = {"ref": arguments.ref, "send_at": moment}
    return report(arguments, result, f"{shortened(arguments.ref)} is sent at {moment.isoformat()}")


def _report_refs(arguments: argparse.Namespace, verb: str, refs: Sequence[str], warnings: dict[str, str]) -> int:
    done = len(refs) - len(warnings)
    report(arguments, {verb: done, "warnings": warnings}, f"{verb} {counted(done, 'message')}")
    _print_warnings(warnings)
    return FAILED if warnings else 0


def _print_warnings(warnings: dict[str, str]) -> None:
    for named, warning in warnings.items():
        print(f"millrace: {shortened(named)}: {warning}", file=sys.stderr)


def _options(arguments: argparse.Namespace) -> SendOptions:
    if arguments.at is not None and arguments.delay is not None:
        arguments.refuse("--at and --delay both say when it is ready; give one of them")
    return {
        "send_at": moment_of(arguments, "--at", arguments.at),
        "priority": arguments.priority,
        "ordering_key": arguments.ordering_key,
        "dedupe_key": arguments.dedupe_key,
        "headers": dict(_header(arguments, text) for text in arguments.headers or ()) or None,
    }


def _header(arguments: argparse.Namespace, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        arguments.refuse(f"--header is {text!r}; expected NAME=VALUE")
    return name, value


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
        has_reasons = any(REASON in message.metadata for message in messages)
        heads = (naming, "attempts", "type", "reason", "body") if has_reasons else (naming, "attempts", "type", "body")
        print_table(heads, [_row(message, naming, has_reasons=has_reasons) for message in messages])


def _row(message: Delivery | Peeked, naming: str, *, has_reasons: bool) -> list[str]:
    """Give the cells of a message; with `has_reasons` why it is a dead letter."""
    reason = [shortened(str(message.metadata.get(REASON, "")))] if has_reasons else []
    return [getattr(message, naming), str(message.attempts), message.content_type, *reason, shortened(message.body)]
