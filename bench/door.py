"""Figures of the door, beside the same server's empty route."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.table import Table

KEY = "sk_live_bench"
CONNECTIONS, SECONDS, ROUNDS = 32, 3.0, 3
ADDRESS = re.compile(r'"address":"(http://[^"]+)"')
EVENT = b'{"payload": {"test": "data", "padding": "' + b"x" * 150 + b'"}}'
MESSAGE = b'{"body": {"test": "data", "padding": "' + b"x" * 150 + b'"}}'


class Load(NamedTuple):
    """What a load saw."""

    per_second: float
    p50_ms: float
    p99_ms: float
    bad: int


def measure(folder: Path, table: Table) -> None:
    """Start a server and load its routes."""
    with start_server(folder / "http") as (address, server):
        queue_id = _create_queue(address)
        push = f"/client/v4/accounts/local/queues/{queue_id}/messages"
        for name, path, body in (("POST /events", "/events", EVENT), ("POST …/messages", push, MESSAGE)):
            pairs = [(load(address, path, body), load(address, "/bench/empty", body)) for _ in range(ROUNDS)]
            table.ratio(
                f"{name}, {CONNECTIONS} connections (floor: empty route)",
                [(a.per_second, b.per_second) for a, b in pairs],
                0.5,
            )
            worst = max(pair[0].p99_ms for pair in pairs)
            bad = sum(pair[0].bad + pair[1].bad for pair in pairs)
            table.line(f"{'':<58} p99 {worst:.1f} ms (wanted 50); {bad} answers other than 200")
        table.line(f"{'resident memory of that server':<58} {_resident_mb(server.pid):.0f} MB")
        table.line(f"{'idle server':<58} {_idle_percent(server.pid):.2f} % of a core (wanted 0.5)")


@contextmanager
def start_server(
    data: Path, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a server with an empty route beside its own; give its address and its process."""
    command = [sys.executable, "-m", "millrace.cli.main", "serve", "--port", "0", "--data", str(data), "--config", ""]
    log = data.with_suffix(".log")
    with log.open("wb") as out:
        server = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--app", "bench.empty:app"],
            stdout=out,
            stderr=out,
            env={**os.environ, "ADMIN_TOKEN": KEY, **(environ or {})},
        )
    try:
        yield _wait_for(log), server
    finally:
        server.terminate()
        server.wait()


def load(address: str, path: str, body: bytes) -> Load:
    """Load one route from a process of its own."""
    parts = urlsplit(address)
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    command = [sys.executable, "-m", "bench.load", parts.hostname, parts.port, CONNECTIONS, SECONDS]
    printed = subprocess.run(  # noqa: S603 - our own command
        [str(word) for word in command], input=head.encode() + body, capture_output=True, check=True
    ).stdout
    per_second, p50_ms, p99_ms, bad = printed.split()
    return Load(float(per_second), float(p50_ms), float(p99_ms), int(bad))


def _create_queue(address: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{address}/client/v4/accounts/local/queues",
        b'{"queue_name": "bench"}',
        {"Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(json.load(answer)["result"]["queue_id"])


def _wait_for(log: Path) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = ADDRESS.search(log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise SystemExit(f"the server did not start: {log.read_text()}")


def _idle_percent(pid: int) -> float:
    """Give the share of a core that the server takes while nobody asks for anything."""
    time.sleep(2)
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(8)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
