"""A connection that is opened when it is needed, and again after it was lost; one thread uses it."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from random import random
from time import sleep
from typing import Any, TypeVar

import psycopg

from millrace.errors import StoreUnavailable
from millrace.sql.postgres.connection import Connection, Entrance, is_gone, is_worth_another_try
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import RunAgain, Transaction

T = TypeVar("T")

TRIES = 8
TRIES_WHEN_GONE = 2  # a second connection that is lost at once says that the database is
PAUSE_SECONDS = 0.002  # before a second try, by chance and at most; twice as long before each further one

# At the end of a pipeline that has failed the driver warns of what it has raised already, with the values in it.
logging.getLogger("psycopg").setLevel(logging.ERROR)

READ_ONLY = "set transaction isolation level repeatable read, read only"
WARNING = "01000"

IN_DOUBT = (
    "the connection to the database was lost during a commit, so nobody knows whether this was done; "
    "do it again, a send with the same idempotency key"
)
NOT_REPLICATED = (
    "the database was told not to wait for its standby any longer, so this is stored on one machine only; "
    "do it again, a send with the same idempotency key"
)


class Session:
    """One connection and its transactions."""

    def __init__(self, url: str, packages: tuple[str, ...], cursors: Cursors, entrance: Entrance | None = None) -> None:
        self._entrance = entrance or Entrance(url)
        self._packages, self._cursors = packages, cursors
        self._connection: Connection | None = None
        self._tx: PostgresTransaction | None = None
        self._begin = ""
        self._warned = False

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[PostgresTransaction]:
        """Open a transaction that is committed at the end, or rolled back when something is raised.

        Raises:
            StoreUnavailable: there is no database now, or nobody knows whether the commit was done.
            psycopg.Error: a statement, or the commit, was refused; nothing was changed.
        """
        tx = self._opened()
        in_doubt = self._warned = False
        try:
            with self._pipeline():
                tx.begin(self._begin)
                if reads:
                    tx.run(READ_ONLY)
                yield tx
                in_doubt = not reads
                tx.run("commit")
        except BaseException as error:
            self._undo(error)
            if in_doubt and is_gone(error):
                raise StoreUnavailable(IN_DOUBT) from error
            raise
        if in_doubt and self._warned:
            raise StoreUnavailable(NOT_REPLICATED)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._tx = None

    def cut(self) -> None:
        """End whatever the connection waits for, from another thread: it is lost then."""
        connection = self._connection
        with suppress(OSError, psycopg.Error):
            if connection is not None:
                with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)

    def _opened(self) -> PostgresTransaction:
        if self._tx is None or self._connection is None or self._connection.closed:
            self.close()
            self._connection, self._begin = self._entrance.open()
            self._connection.add_notice_handler(self._note)
            self._tx = PostgresTransaction(self._connection, self._packages, self._cursors)
        return self._tx

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        """Take note of a warning: at a commit there is one, that it was not waited for the standby."""
        self._warned = self._warned or notice.sqlstate == WARNING

    def _pipeline(self) -> AbstractContextManager[Any]:
        """Let statements whose answer nobody waits for go out with the next one; the last of them with the commit.

        An error of theirs comes with a later answer, or with the commit, which is not run then.
        """
        connection = self._connection
        is_direct = connection is not None and connection.prepare_threshold is not None
        return connection.pipeline() if connection is not None and is_direct else nullcontext()

    def _undo(self, error: BaseException) -> None:
        """Roll back; a connection that cannot, or that leads to a server which has become a standby, is given up."""
        connection = self._connection
        if connection is not None and not is_gone(error):
            with suppress(psycopg.Error):
                connection.execute("rollback", prepare=False)
                return
        self.close()

    def give_up(self) -> None:
        """Close the connection, so that the next transaction looks for a server that takes writes."""
        self.close()


def write_in(session: Session, fn: Callable[[PostgresTransaction], T], tries: int = TRIES) -> tuple[T, set[str]]:
    """Run `fn(tx)` in a transaction, again when another server was in its way; give its result and whom to wake.

    A connection that was lost before the commit, as all are by a restart of the database, is replaced once.

    Raises:
        RunAgain, psycopg.Error: it was in vain each time, or need not be tried again; nothing was changed.
        StoreUnavailable: there is no database now, or nobody knows whether the commit was done.
    """
    for tried in range(1, tries + TRIES_WHEN_GONE):
        try:
            with session.transaction() as tx:
                result = fn(tx)
            return result, set(tx.woken)
        except (RunAgain, psycopg.Error) as error:
            if not _may_try_again(error, tried, tries):
                raise
        sleep(random() * PAUSE_SECONDS * 2**tried)  # noqa: S311 - else those who were in each other's way would be so again
    raise AssertionError


def run_in(session: Session, fn: Callable[[Transaction], T]) -> T:
    """Run `fn(tx)` on one snapshot that nobody can change."""
    try:
        return _read(session, fn)
    except psycopg.Error as error:
        if not is_gone(error):
            raise
    return _read(session, fn)  # on a new connection


def _read(session: Session, fn: Callable[[Transaction], T]) -> T:
    with session.transaction(reads=True) as tx:
        return fn(tx)


def _may_try_again(error: Exception, tried: int, tries: int) -> bool:
    if is_gone(error):
        return tried < TRIES_WHEN_GONE
    return tried < tries and (isinstance(error, RunAgain) or is_worth_another_try(error))
