"""`millrace queue:demo|queue:status|queue:test`: is the queue at work?"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from millrace.cli.clients import client_of, report
from millrace.cli.printing import print_json, print_lines, print_table, shortened
from millrace.client.synchronous import Client
from millrace.client.wire import quoted
from millrace.errors import NotFound

FAILED = 1
LOOK_SECONDS = 0.25
GOOD = ("sent", "stored", "delivered", "done")
BAD = ("failed", "undelivered", "cancelled", "rejected")
HEADS = ("type", "id", "status", "attempts", "at")


def demo(arguments: argparse.Namespace) -> int:
    """Put one job into the queue and print its id."""
    with client_of(arguments) as client:
        made = _make(client, "/debug/enqueue")
    return report(arguments, made, made["jobId"])


def status(arguments: argparse.Namespace) -> int:
    """Show how the queue is doing."""
    with client_of(arguments) as client:
        found = client.ask("GET", "/api/messaging/status")
    if arguments.json:
        print_json(found)
        return 0
    counts = ("queued", "processing", "scheduled", "done", "failed", "deadLettered")
    print_table(("total", *counts, "failure rate"), [_counts(found, counts)])
    print_lines("", *(f"{name}: {shortened(value)}" for name, value in found["environment"].items()), "")
    if found["recentActivity"]:
        print_table(HEADS, [_activity(one) for one in found["recentActivity"]])
    else:
        print_lines("no jobs yet")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Put one job of each type into the queue and see how each ends; failed unless all end well in time."""
    with client_of(arguments) as client:
        jobs = _make(client, "/debug/enqueue-test")["jobs"]
        until = time.monotonic() + arguments.seconds
        ends = []
        for end in _ends(client, {job["jobId"]: job["type"] for job in jobs}, until):
            ends.append(end)
            if not arguments.json:
                print_lines(_sentence(end))
    if arguments.json:
        print_json(ends)
    return 0 if all(end["status"] in GOOD for end in ends) else FAILED


def _make(client: Client, path: str) -> Any:
    try:
        return client.ask("POST", path, once=True)
    except NotFound:
        raise NotFound("debug routes are switched off at this server; set DEBUG_ROUTES=1 and start it anew") from None


def _ends(client: Client, waiting: dict[str, str], until: float) -> Iterator[dict[str, Any]]:
    """Give each job when it has ended; in the end those that have not."""
    began = time.monotonic()
    while waiting:
        is_late = time.monotonic() >= until
        for job_id, kind in list(waiting.items()):
            found = client.ask("GET", f"/api/messages/{quoted(job_id)}")
            if is_late or found["status"] in (*GOOD, *BAD):
                del waiting[job_id]
                seconds = round(time.monotonic() - began, 1)
                end = {"type": kind, "jobId": job_id, "status": found["status"], "seconds": seconds}
                yield {**end, "attempts": found["attempts"], "reason": found["reason"]}
        if waiting:
            time.sleep(LOOK_SECONDS)


def _sentence(end: dict[str, Any]) -> str:
    is_over = end["status"] in (*GOOD, *BAD)
    when = f"after {end['seconds']} s" if is_over else f"still, after {end['seconds']} s"
    why = f": {shortened(end['reason'])}" if end["reason"] else ""
    return f"{end['type']:<17}  {end['status']} {when}{why}"


def _counts(found: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [str(found["total"]), *(str(found[name]) for name in names), f"{found['failureRate']:.1%}"]


def _activity(one: dict[str, Any]) -> tuple[str, ...]:
    return one["type"], shortened(one["messageId"]), one["status"], str(one["attempts"]), one["at"]
