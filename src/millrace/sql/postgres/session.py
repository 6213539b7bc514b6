"""A connection that is opened when it is needed, and again after it was lost; one thread uses it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import psycopg

from millrace.sql.postgres.connection import Connection, connect
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import Transaction

T = TypeVar("T")

# At the end of a pipeline that has failed the driver warns of what it has raised already, with the values in it.
logging.getLogger("psycopg").setLevel(logging.ERROR)

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
            with self._pipeline():
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

    def _pipeline(self) -> AbstractContextManager[Any]:
        """Let statements whose answer nobody waits for go out with the next one; the last of them with the commit.

        An error of theirs comes with a later answer, or with the commit, which is not run then.
        """
        connection = self._connection
        is_direct = connection is not None and connection.prepare_threshold is not None
        return connection.pipeline() if connection is not None and is_direct else nullcontext()

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
