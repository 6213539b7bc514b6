"""1,000,000 messages as CSV, JSON and Parquet: by a real server whose memory stays small, with progress to be seen."""

import csv
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

import apsw
import pyarrow.parquet
import pytest
from tests.support import Server

MESSAGES = 1_000_000
MEMORY_MB = 250
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
PAUSE_SECONDS = 0.5  # the longest that anybody else may wait for an answer meanwhile
CONTENT = "Dear customer, your order has left our house and will be with you soon. =1+1 \U0001f4e6\nYours"
FILL = """
insert into outbound_messages (
    account_id, id, type, status, priority, body, body_hash, attempts, changes, owner, correlation_id, created_at_ms,
    updated_at_ms, provider, provider_id
)
with recursive numbers(number) as (select 1 union all select number + 1 from numbers where number < ?1)
select
    'local', 'message-' || number, 'email_send', 'sent', 'normal',
    cast(json_object(
        'type', 'email_send', 'messageId', 'message-' || number, 'recipient', 'customer' || number || '@example.com',
        'subject', 'Order ' || number, 'content', ?2, 'priority', 'normal', 'sendAt', null
    ) as blob),
    x'00', 1, 3, 'key', '', 1700000000000 + number, 1700000060000 + number, 'smtp', '<' || number || '@example.com>'
from numbers
"""


class Pauses:
    """Asks for the server's health all the time; `worst` is the longest answer."""

    def __init__(self, server: Server) -> None:
        self._server, self._ended, self.worst = server, Event(), 0.0
        self._thread = Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            began = time.monotonic()
            self._server.call("GET", "/livez", key=None)
            self.worst = max(self.worst, time.monotonic() - began)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a million messages that were sent; each test starts it anew, so that its peak is its own."""
    with Server(tmp_path_factory.mktemp("big") / "data") as one:
        one.stop()
        file = apsw.Connection(str(next(one.data.glob("*.db"))))
        file.execute(FILL, (MESSAGES, CONTENT))
        file.close()
        yield one


def followed(server: Server, export_id: str) -> tuple[dict, list[int]]:
    """Wait for an export's end; give it, and the percentages that were seen until then."""
    seen: list[int] = []
    while True:
        found = server.call("GET", f"/api/exports/{export_id}").json
        if found["status"] not in ("queued", "processing"):
            return found, seen
        seen.append(found["progress"]["percentage"] or 0)
        time.sleep(0.2)


def peak_mb(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(PEAK.search(status)[1]) // 1024


def count_csv(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for row in csv.DictReader(file) if row["content"] == CONTENT)


def count_json(path: Path) -> int:
    with path.open(encoding="utf-8") as file:
        return sum(1 for line in file if line[0] == "{" and json.loads(line.rstrip(",\n"))["content"] == CONTENT)


def count_parquet(path: Path) -> int:
    file = pyarrow.parquet.ParquetFile(path)
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert max(groups) <= 20_000
    column = file.read(["content"]).column("content")
    return sum(1 for value in column.to_pylist() if value == CONTENT)


@pytest.mark.parametrize(("format", "count"), [("csv", count_csv), ("json", count_json), ("parquet", count_parquet)])
def test_a_million_messages_are_exported_in_little_memory(server: Server, tmp_path: Path, format: str, count) -> None:
    server.stop()
    server.start()
    job = {"type": "export_generation", "exportId": f"big-{format}", "filters": {}, "userId": "u", "format": format}
    path = tmp_path / f"file.{format}"

    began = time.monotonic()
    answered = server.call("POST", "/api/enqueue-job", {**job, "priority": "high"})
    answer_seconds = time.monotonic() - began
    with Pauses(server) as pauses:
        found, seen = followed(server, f"big-{format}")
    seconds = time.monotonic() - began
    with urllib.request.urlopen(server.url + found["downloadUrl"]) as answer, path.open("wb") as file:
        while piece := answer.read(1 << 20):
            file.write(piece)
    print(
        f"{format}: {seconds:.0f} s, {found['bytes']:,} bytes, peak {peak_mb(server)} MB, "
        f"longest answer of others {pauses.worst * 1000:.0f} ms, progress seen {len(set(seen))} times"
    )

    assert (answered.status, found["status"], found["rows"]) == (202, "done", MESSAGES), found
    assert answer_seconds < 1
    assert len(set(seen)) > 5
    assert seen == sorted(seen)
    assert path.stat().st_size == found["bytes"]
    assert count(path) == MESSAGES
    assert peak_mb(server) < MEMORY_MB
    assert pauses.worst < PAUSE_SECONDS
