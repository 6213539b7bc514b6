"""`millrace messaging …`: messages written, reviewed, taken back and looked at."""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from millrace.cli.clients import client_of, moment_of, report
from millrace.cli.printing import counted, escaped, print_json, print_lines, print_table, shortened
from millrace.client.wire import given, quoted
from millrace.clock import epoch_ms, iso_milliseconds
from millrace.errors import ConfigurationError
from millrace.ids import new_id

DRAFT = "draft"
LIST_HEADS = ("id", "type", "status", "priority", "attempts", "updated", "reason")
HISTORY_HEADS = ("at", "status", "attempt", "by", "provider", "reason")
FAILURE_HEADS = ("type", "count", "last", "reason")


def send(arguments: argparse.Namespace) -> int:
    """Have a message sent."""
    return _write(arguments, is_direct=True)


def draft(arguments: argparse.Namespace) -> int:
    """Write a message for a reviewer."""
    return _write(arguments, is_direct=False)


def approve(arguments: argparse.Namespace) -> int:
    """Let a draft be sent."""
    return _act(arguments, "approve", given(sendAt=_time(arguments)), "approved")


def reject(arguments: argparse.Namespace) -> int:
    """Send a draft never."""
    return _act(arguments, "reject", given(reason=arguments.reason), "rejected")


def cancel(arguments: argparse.Namespace) -> int:
    """Take a message back."""
    return _act(arguments, "cancel", {}, "cancelled")


def reschedule(arguments: argparse.Namespace) -> int:
    """Give a message another time."""
    at = _time(arguments)
    return _act(arguments, "reschedule", given(sendAt=at), f"to be sent at {at}")


def redrive(arguments: argparse.Namespace) -> int:
    """Have a message that failed tried again."""
    return _act(arguments, "redrive", {}, "queued again")


def list_messages(arguments: argparse.Namespace) -> int:
    """List messages, the newest first."""
    wanted = {"status": arguments.status, "type": arguments.type, "q": arguments.search, "before": arguments.before}
    with client_of(arguments) as client:
        found = client.ask("GET", "/api/messages", params={"limit": arguments.limit, **given(**wanted)})
    if arguments.json:
        print_json(found)
    elif not found["messages"]:
        print_lines("no messages")
    else:
        print_table(LIST_HEADS, [_row(message) for message in found["messages"]])
        if found["next"]:
            print_lines(f"more with --before {found['next']}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show a message, with its content if the key may see that."""
    with client_of(arguments) as client:
        found = client.ask("GET", path_of(arguments.id))
    if arguments.json:
        print_json(found)
        return 0
    content = found.pop("content", None)
    print_lines(*facts(found))
    if content is not None:
        print_lines("", *map(escaped, content.splitlines()))
    return 0


def history(arguments: argparse.Namespace) -> int:
    """Show what became of a message so far, oldest first."""
    with client_of(arguments) as client:
        found = client.ask("GET", path_of(arguments.id, "/history"))
    if arguments.json:
        print_json(found)
    else:
        print_table(HISTORY_HEADS, [change_row(change) for change in found["history"]])
    return 0


def failures(arguments: argparse.Namespace) -> int:
    """Show failures by type and reason, the most frequent first."""
    with client_of(arguments) as client:
        found = client.ask("GET", "/api/messaging/failures", params={"hours": arguments.hours})
    if arguments.json:
        print_json(found)
        return 0
    ended, share = counted(found["ended"], "job"), f"{found['failureRate']:.1%}"
    print_lines(f"{found['failed']} of {ended} failed in {counted(found['hours'], 'hour')}: {share}")
    if found["groups"]:
        rows = [(one["type"], str(one["count"]), one["last"], shortened(one["reason"])) for one in found["groups"]]
        print_table(FAILURE_HEADS, rows)
    return 0


def path_of(message_id: str, below: str = "") -> str:
    """Give the path of a message."""
    return f"/api/messages/{quoted(message_id)}{below}"


def change_row(change: dict[str, Any]) -> tuple[str, ...]:
    """Show a line of history."""
    words = (change["actor"], change["provider"] or "-", change["reason"] or "")
    return change["at"], change["status"], str(change["attempt"]), *map(escaped, words)


def facts(found: dict[str, Any]) -> Iterator[str]:
    """Show what there is of something, a line for each; all of it, since a link that is cut leads nowhere."""
    for name, value in found.items():
        if value is not None:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield f"{name}: {escaped(text)}"


def _write(arguments: argparse.Namespace, *, is_direct: bool) -> int:
    kind = "sms_send" if arguments.recipient.startswith("+") else "email_send"
    body = {
        "type": arguments.type or kind,
        "messageId": arguments.id or f"message-{new_id()}",  # from here, so that a second try is the same message
        "recipient": arguments.recipient,
        "content": _content(arguments),
        "priority": arguments.priority,
        "direct": is_direct,
        **given(subject=arguments.subject, sendAt=_time(arguments)),
    }
    with client_of(arguments) as client:
        made = client.ask("POST", "/api/messages", body)
    stands = "waits for a reviewer" if made["status"] == DRAFT else f"is {made['status']}"
    return report(arguments, made, f"{shortened(made['messageId'])} {stands}")


def _act(arguments: argparse.Namespace, act: str, body: dict[str, Any], done: str) -> int:
    with client_of(arguments) as client:
        answer = client.ask("POST", path_of(arguments.id, f"/{act}"), body, once=True)
    return report(arguments, answer, f"{shortened(arguments.id)} is {done}")


def _content(arguments: argparse.Namespace) -> str:
    if arguments.content is not None:
        return str(arguments.content)
    file = arguments.content_file
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--content-file {file} cannot be read: {error}") from None


def _time(arguments: argparse.Namespace) -> str | None:
    moment: datetime | None = moment_of(arguments, "--at", arguments.at)
    return None if moment is None else iso_milliseconds(epoch_ms(moment))


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    words = (message["type"], message["status"], message["priority"], str(message["attempts"]), message["updatedAt"])
    return shortened(message["messageId"]), *words, shortened(message["reason"] or "")
