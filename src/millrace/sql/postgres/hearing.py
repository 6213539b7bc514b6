"""Hearing of the commits of other servers, and telling them of ours.

One connection listens. Each server writes what is watched there, and says so to the others at once; whoever commits a
change of something that is watched elsewhere says so in the same transaction, once. Between the moment in which somebody
begins to watch and that in which the others know it, a change may go untold: so who begins looks a second time. What gets
lost all the same is found by the slow look that everybody has behind it.
"""

import asyncio
import os
import select
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
SECOND_LOOKS_SECONDS = (0.1, 1.2 * TURN_SECONDS)  # who listens knows of a new name by then; and who only takes turns
PAUSE_SECONDS = 0.1
CLOSE_SECONDS = 2.0
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
TOUCH = f"update servers set seen_at_ms = {NOW} where id = $1 returning 1"  # noqa: S608
READ = f"select distinct unnest(watched) from servers where id <> $1 and seen_at_ms > {NOW} - $2"  # noqa: S608
FORGET = f"delete from servers where seen_at_ms <= {NOW} - $1"  # noqa: S608


class Ear:
    """The listening connection of a process, on a thread of its own. Made inside the event loop that is told.

    `chosen` says whether this process is to lead, None where a pooler lets nobody be chosen; `hears`, whether what is
    told arrives here now.
    """

    def __init__(self, url: str, on_heard: Callable[[set[str]], None], on_time: Callable[[int], None]) -> None:
        self.id = new_id()
        self.chosen: bool | None = False
        self.hears = False
        self._url, self._on_heard, self._on_time = url, on_heard, on_time
        self._about = f"{socket.gethostname()} {os.getpid()}"
        self._loop = asyncio.get_running_loop()
        self._watched: set[str] = set()
        self._told: set[str] = set()
        self._elsewhere: set[str] | None = None  # not known yet
        self._second_looks: list[tuple[float, set[str]]] = []
        self._stopping = threading.Event()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="millrace-ear", daemon=True)
        self._thread.start()

    def listen_for(self, names: set[str]) -> None:
        """Be told of these names, and of no others."""
        self._watched = names
        if not names <= self._told:
            self._ring()

    def notify(self, tx: PostgresTransaction) -> None:
        """Let the other servers hear, once this is committed, of what they watch and this has changed."""
        elsewhere = self._elsewhere
        names = tx.woken if elsewhere is None else tx.woken & elsewhere
        if names:
            for payload in _payloads(f"{self.id} ", sorted(names)):
                tx.apply("notify", (payload,))

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._ring()
        self._thread.join(CLOSE_SECONDS)  # longer only when the database does not answer; it ends with the process
        self._bell.close()
        self._rung.close()

    def _ring(self) -> None:
        """End the thread's wait."""
        with suppress(OSError):  # it has been rung so often that one more makes no difference
            self._bell.send(b".")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = connect(self._url)
            except StoreUnavailable:
                self._stopping.wait(TURN_SECONDS)
                continue
            with suppress(psycopg.Error), connection:
                self._listen(connection)
            # Whoever is next has the lock as soon as the connection is gone.
            self.chosen, self.hears, self._elsewhere, self._told = False, False, None, set()
            self._stopping.wait(PAUSE_SECONDS)

    def _listen(self, connection: Connection) -> None:
        if is_pooled(connection):
            self.chosen = None
        else:
            connection.execute(f"listen {CHANNEL}", prepare=False)
            connection.execute("set synchronous_commit = off", prepare=False)  # nothing here is anybody's message
            self.hears = True
        self._take_turn(connection)
        self._tell(self._watched)  # of what was missed before
        turn_at = monotonic() + TURN_SECONDS
        while not self._stopping.is_set():
            self._wait(connection, turn_at)
            if monotonic() >= turn_at:
                self._take_turn(connection)
                turn_at = monotonic() + TURN_SECONDS
            elif not self._watched <= self._told:
                self._write(connection, self._told | self._watched)
            if self.hears:
                for heard in connection.notifies(timeout=0):
                    self._hear(heard.payload)
            self._look_twice()
        connection.execute("delete from servers where id = $1", (self.id,), prepare=False)

    def _wait(self, connection: Connection, until: float) -> None:
        """Wait for a notification, a ring, or the time of the next turn or second look."""
        until = min([until, *(at for at, _ in self._second_looks)])
        sources = select.poll()
        for source in (self._rung, connection) if self.hears else (self._rung,):
            sources.register(source.fileno(), select.POLLIN)
        sources.poll(max(0.0, 1000 * (until - monotonic())))
        with suppress(BlockingIOError):
            self._rung.recv(4096)

    def _take_turn(self, connection: Connection) -> None:
        """Try to become the one who leads, write what is watched here, read what is watched elsewhere."""
        if self.chosen is False:
            row = connection.execute("select pg_try_advisory_lock($1::int, $2::int)", LEADER).fetchone()
            self.chosen = bool(row and row[0])
        row = connection.execute(f"select {NOW}").fetchone()
        if row is not None:
            self._on_time(row[0])
            connection.execute(KEEP_TIME, (row[0],))
        watched = self._watched
        if watched != self._told or connection.execute(TOUCH, (self.id,)).fetchone() is None:
            self._write(connection, watched)
        self._elsewhere = {row[0] for row in connection.execute(READ, (self.id, GONE_MS))}
        connection.execute(FORGET, (10 * GONE_MS,))

    def _write(self, connection: Connection, watched: set[str]) -> None:
        """Write what is watched here, and tell the others what is new in it.

        What is no longer watched stays until the next turn: who pulls again and again would else be told of each time.
        """
        connection.execute(WRITE, (self.id, pack(sorted(watched), TEXT), self._about))
        added, self._told = watched - self._told, watched
        if added:
            for payload in _payloads(f"{self.id} +", sorted(added)):
                connection.execute("select pg_notify($1, $2)", (CHANNEL, payload))
            self._second_looks += [(monotonic() + seconds, added) for seconds in SECOND_LOOKS_SECONDS]

    def _look_twice(self) -> None:
        now = monotonic()
        for _, names in (look for look in self._second_looks if look[0] <= now):
            self._tell(names)
        self._second_looks = [look for look in self._second_looks if look[0] > now]

    def _hear(self, payload: str) -> None:
        sender, _, text = payload.partition(" ")
        if sender == self.id:
            return
        with suppress(msgspec.DecodeError):
            names = msgspec.json.decode(text.removeprefix("+"), type=set[str])
            if not text.startswith("+"):
                self._tell(names)
            elif self._elsewhere is not None:
                self._elsewhere = self._elsewhere | names  # a new one: writers look at it meanwhile

    def _tell(self, names: set[str]) -> None:
        if names:
            with suppress(RuntimeError):  # the loop was closed under us
                self._loop.call_soon_threadsafe(self._on_heard, names)


def _payloads(beginning: str, names: list[str]) -> list[str]:
    """Write names into as few payloads as hold them."""
    payloads: list[str] = []
    present: list[str] = []
    for name in names:
        if present and sum(map(len, present)) + len(name) + 4 * len(present) > PAYLOAD_CHARACTERS:
            payloads.append(beginning + msgspec.json.encode(present).decode())
            present = []
        present.append(name)
    return [*payloads, beginning + msgspec.json.encode(present).decode()]
