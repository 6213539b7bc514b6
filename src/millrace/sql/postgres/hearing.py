"""Hearing of the commits of other servers, and telling them of ours.

One connection listens. Each server writes once a second what is watched there; whoever commits a change of something that
is watched elsewhere says so in the same transaction, once. What gets lost on the way is found a moment later by the slow
look that every receiver has behind it.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import msgspec
import psycopg

from millrace.errors import StoreUnavailable
from millrace.ids import new_id
from millrace.sql.postgres.connection import Connection, connect, is_pooled
from millrace.sql.postgres.packing import TEXT, pack
from millrace.sql.postgres.transaction import PostgresTransaction

CHANNEL = "millrace"
TURN_SECONDS = 1.0
GONE_MS = 10_000  # a server that has not written for so long is gone
PAYLOAD_CHARACTERS = 7_000  # PostgreSQL takes 8,000 bytes
NOW = "(extract(epoch from clock_timestamp()) * 1000)::bigint"

LEADER = (7811, 2)  # the advisory lock of whoever leads; it goes with the connection
KEEP_TIME = "update store set now_ms = $1 where now_ms < $1 - 1000"
WRITE = f"""
    insert into servers (id, seen_at_ms, watched, about) values ($1, {NOW}, $2, $3)
    on conflict (id) do update
    set seen_at_ms = excluded.seen_at_ms, watched = excluded.watched, about = excluded.about
"""  # noqa: S608
READ = f"select distinct unnest(watched) from servers where id <> $1 and seen_at_ms > {NOW} - $2"  # noqa: S608
FORGET = f"delete from servers where seen_at_ms <= {NOW} - $1"  # noqa: S608


class Ear:
    """The listening connection of a process, on a thread of its own. Made inside the event loop that is told."""

    def __init__(self, url: str, on_heard: Callable[[set[str]], None], on_time: Callable[[int], None]) -> None:
        self.id = new_id()
        self.chosen: bool | None = False
        self._url, self._on_heard, self._on_time = url, on_heard, on_time
        self._about = f"{socket.gethostname()} {os.getpid()}"
        self._loop = asyncio.get_running_loop()
        self._watched: set[str] = set()
        self._elsewhere: set[str] = set()
        self._told: set[str] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millrace-ear", daemon=True)
        self._thread.start()

    def listen_for(self, names: set[str]) -> None:
        """Be told of these names, from the next turn on."""
        self._watched = names

    def notify(self, tx: PostgresTransaction) -> None:
        """Let the other servers hear, once this is committed, of what they watch and this has changed."""
        names = tx.woken & self._elsewhere
        if names:
            for payload in _payloads(self.id, sorted(names)):
                tx.apply("notify", (payload,))

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = connect(self._url)
            except StoreUnavailable:
                self._stopping.wait(TURN_SECONDS)
                continue
            with suppress(psycopg.Error), connection:
                self._listen(connection)
            self._told, self.chosen = None, False  # whoever is next has the lock as soon as the connection is gone

    def _listen(self, connection: Connection) -> None:
        hears = not is_pooled(connection)
        if hears:
            connection.execute(f"listen {CHANNEL}", prepare=False)
            connection.execute("set synchronous_commit = off", prepare=False)  # nothing here is anybody's message
        else:
            self.chosen = None
        turn_at = 0.0
        while not self._stopping.is_set():
            if monotonic() >= turn_at or (self._told is not None and self._told != self._watched):
                self._take_turn(connection)
                turn_at = monotonic() + TURN_SECONDS
            if not hears:
                self._stopping.wait(TURN_SECONDS)
                continue
            for heard in connection.notifies(timeout=0.05, stop_after=1):
                self._hear(heard.payload)
        connection.execute("delete from servers where id = $1", (self.id,), prepare=False)

    def _take_turn(self, connection: Connection) -> None:
        """Write what is watched here, read what is watched elsewhere."""
        if self.chosen is False:
            row = connection.execute("select pg_try_advisory_lock($1::int, $2::int)", LEADER).fetchone()
            self.chosen = bool(row and row[0])
        row = connection.execute(f"select {NOW}").fetchone()
        if row is not None:
            self._on_time(row[0])
            connection.execute(KEEP_TIME, (row[0],))
        watched = set(self._watched)
        connection.execute(WRITE, (self.id, pack(sorted(watched), TEXT), self._about))
        self._elsewhere = {row[0] for row in connection.execute(READ, (self.id, GONE_MS))}
        connection.execute(FORGET, (10 * GONE_MS,))
        if self._told != watched:
            connection.execute("select pg_notify($1, $2)", (CHANNEL, f"{self.id} +"))
            self._told = watched

    def _hear(self, payload: str) -> None:
        sender, _, text = payload.partition(" ")
        if sender == self.id:
            return
        if text == "+":
            self._told = set()  # somebody watches something new: look at once
            return
        with suppress(msgspec.DecodeError, RuntimeError):
            names = msgspec.json.decode(text, type=set[str])
            self._loop.call_soon_threadsafe(self._on_heard, names)


def _payloads(sender: str, names: list[str]) -> list[str]:
    """Write names into as few payloads as hold them."""
    payloads: list[str] = []
    present: list[str] = []
    for name in names:
        if present and sum(map(len, present)) + len(name) + 4 * len(present) > PAYLOAD_CHARACTERS:
            payloads.append(f"{sender} {msgspec.json.encode(present).decode()}")
            present = []
        present.append(name)
    return [*payloads, f"{sender} {msgspec.json.encode(present).decode()}"]
