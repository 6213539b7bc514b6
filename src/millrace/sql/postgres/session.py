"""A connection that is opened when it is needed, and again after it was lost; one thread uses it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg

from millrace.sql.postgres.connection import Connection, connect
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import Transaction

T = TypeVar("T")

READ_ONLY = "set transaction isolation level repeatable read, read only"


class Session:
    """One connection and its transactions."""

    def __init__(self, url: str, packages: tuple[str, ...], cursors: Cursors) -> None:
        self._url, self._packages, self._cursors = url, packages, cursors
        self._connection: Connection | None = None
        self._tx: PostgresTransaction | None = None
        self._begin = ""

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[PostgresTransaction]:
        """Open a transaction that is committed at the end, or rolled back when something is raised.

        Raises:
            StoreUnavailable: there is no database now.
            psycopg.Error: a statement, or the commit, was refused; after a lost connection nobody knows of the commit.
        """
        tx = self._opened()
        try:
            tx.begin(self._begin)
            if reads:
                tx.run(READ_ONLY)
            yield tx
            tx.run("commit")
        except BaseException:
            self._undo()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._tx = None

    def _opened(self) -> PostgresTransaction:
        if self._tx is None or self._connection is None or self._connection.closed:
            self.close()
            self._connection, self._begin = connect(self._url)
            self._tx = PostgresTransaction(self._connection, self._packages, self._cursors)
        return self._tx

    def _undo(self) -> None:
        """Roll back; a connection that cannot, or that leads to a server which has become a standby, is given up."""
        connection = self._connection
        if connection is None:
            return
        with suppress(psycopg.Error):
            connection.execute("rollback", prepare=False)
            return
        self.close()

    def give_up(self) -> None:
        """Close the connection, so that the next transaction looks for a server that takes writes."""
        self.close()


def run_in(session: Session, fn: Callable[[Transaction], T]) -> T:
    """Run `fn(tx)` on one snapshot that nobody can change."""
    with session.transaction(reads=True) as tx:
        return fn(tx)
