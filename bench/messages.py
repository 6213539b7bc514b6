"""Figures of messages: taken in beside plain pushes, and handed to a mail server beside bare SMTP transactions."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from aiosmtplib import SMTP

from bench.door import KEY, ROUNDS, cpu_seconds, start_server
from bench.jobs import CLIENTS, QUEUES, Line
from bench.table import Table

ROUTE = "/api/enqueue-job"
ONE_BY_ONE, LISTS, LIST = 1_000, 40, 100
MAILS = 2_000
CONNECTIONS = 10  # as many as the application opens
CONTENT = "x" * 200
LATER = "2999-01-01T00:00:00Z"
WIRE = f"From: a@bench.example\r\nTo: b@bench.example\r\nSubject: Hello\r\n\r\n{CONTENT}\r\n".encode()


class Sink:
    """The mail server of a run; `taken` says how many mails it has."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port = int(self._answer().split()[0])

    def taken(self) -> int:
        """Ask it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._answer().split()[0])

    def until(self, mails: int) -> None:
        """Wait for so many mails; nothing else goes on here meanwhile."""
        while self.taken() < mails:
            sleep(0.005)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


async def measure(folder: Path, table: Table) -> None:
    """Measure with a server and a mail server of its own."""
    with _sink() as sink:
        environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "SMTP_TLS": "off", "MESSAGE_KEY_RATE": "0"}
        with start_server(folder / "messages", environ) as (address, server):
            lines = [Line(address) for _ in range(CLIENTS)]
            await asyncio.gather(*(line.connect() for line in lines))
            await _accepted(table, lines)
            await _handed_over(table, lines, address, sink, server.pid)
            for line in lines:
                line.close()


async def _accepted(table: Table, lines: list[Line]) -> None:
    """Queue mails one by one and in lists, beside pushes of the same size."""
    plain = (await lines[0].ask(QUEUES, {"queue_name": "plain"}))["result"]["queue_id"]
    push = f"{QUEUES}/{plain}/messages"
    singles, lists = [], []
    for _ in range(ROUNDS):
        floor = await _rate(lines, ONE_BY_ONE, push, lambda: {"body": _mail(LATER)})
        singles.append((await _rate(lines, ONE_BY_ONE, ROUTE, lambda: _mail(LATER)), floor))
        batch = [{"body": _mail(LATER)} for _ in range(LIST)]
        floor = LIST * await _rate(lines, LISTS, f"{push}/batch", lambda batch=batch: {"messages": batch})  # type: ignore[misc]
        lists.append((LIST * await _rate(lines, LISTS, ROUTE, lambda: [_mail(LATER) for _ in range(LIST)]), floor))
    table.ratio(f"messages queued, {CLIENTS} clients (floor: push)", singles, 0.3)
    table.ratio(f"messages queued in lists of {LIST}, {CLIENTS} clients (floor: batch)", lists, 0.08)


async def _handed_over(table: Table, lines: list[Line], address: str, sink: Sink, pid: int) -> None:
    """Let a backlog go, beside the same number of transactions with the same library and nothing else."""
    rates, cpu_ms = [], []
    for _ in range(ROUNDS):
        floor = await _bare_transactions(sink)
        _pause(address, on=True)
        await _rate(lines, MAILS // LIST, ROUTE, lambda: [_mail() for _ in range(LIST)])
        wanted, before, began = sink.taken() + MAILS, cpu_seconds(pid), perf_counter()
        _pause(address, on=False)
        sink.until(wanted)
        rates.append((MAILS / (perf_counter() - began), floor))
        cpu_ms.append(1000 * (cpu_seconds(pid) - before) / MAILS)
    table.ratio(f"mails handed over, of {MAILS:,} (floor: bare SMTP)", rates, 0.1)
    table.line(f"{'CPU of the server for a mail':<58} {median(cpu_ms):.2f} ms")


async def _bare_transactions(sink: Sink) -> float:
    async def send(mails: int) -> None:
        async with SMTP(hostname="127.0.0.1", port=sink.port, start_tls=False) as connection:
            for _ in range(mails):
                await connection.sendmail("a@bench.example", ["b@bench.example"], WIRE)

    began = perf_counter()
    await asyncio.gather(*(send(MAILS // CONNECTIONS) for _ in range(CONNECTIONS)))
    return MAILS / (perf_counter() - began)


async def _rate(lines: list[Line], calls: int, path: str, body: Any) -> float:
    """Let each line call until there were so many calls; give calls a second."""
    left = calls

    async def keep_calling(line: Line) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await line.ask(path, body())

    began = perf_counter()
    await asyncio.gather(*(keep_calling(line) for line in lines))
    return calls / (perf_counter() - began)


def _mail(send_at: str | None = None) -> dict[str, str | None]:
    Line.number += 1
    return {
        "type": "email_send",
        "messageId": f"bench-{Line.number}",
        "recipient": f"user{Line.number}@bench.example",
        "subject": "Hello",
        "content": CONTENT,
        "priority": "high",
        "sendAt": send_at,
    }


def _pause(address: str, *, on: bool) -> None:
    """Stop the deliveries of messages, or let them go on."""
    headers = {"Authorization": f"Bearer {KEY}"}
    found = urllib.request.urlopen(urllib.request.Request(f"{address}{QUEUES}?name=message-delivery", headers=headers))  # noqa: S310
    queue_id = json.load(found)["result"][0]["queue_id"]
    body = json.dumps({"queue_name": "message-delivery", "settings": {"delivery_paused": on}}).encode()
    change = urllib.request.Request(f"{address}{QUEUES}/{queue_id}", body, headers, method="PATCH")  # noqa: S310
    urllib.request.urlopen(change).close()  # noqa: S310


@contextmanager
def _sink() -> Iterator[Sink]:
    command = [sys.executable, "-m", "bench.sinks"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield Sink(process)
    finally:
        process.kill()
        process.communicate()
