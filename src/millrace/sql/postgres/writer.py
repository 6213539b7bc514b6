"""A group commit on a connection of its own: what comes while one commit is under way goes in the next one together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from millrace.errors import StoreUnavailable
from millrace.sql.groups import Answer, Inbox, Operation, run_group
from millrace.sql.postgres.connection import is_gone, told
from millrace.sql.postgres.session import TRIES, Session, write_in
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.transaction import RunAgain, Transaction

GROUP_LOCK_MS = 250  # then one operation of a group waits alone; two groups that wait crosswise are soon apart
BUSY = "the store is too busy with the same things; try again"
TROUBLES = 4  # operations of a group that wait for locks in vain, the first one for long: then the others are refused
TROUBLE = ("53", "55P03", "57014", "58")  # of the whole database, and no fault of one statement


class Writer:
    """One session, its inbox and its thread. Made inside the event loop whose callers it answers.

    `notify` adds to each transaction what other servers are to hear of it; `on_trouble` is told of a database that could
    not write.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        notify: Callable[[PostgresTransaction], None],
        on_commit: Callable[[set[str]], None],
        on_trouble: Callable[[], None],
    ) -> None:
        self._session, self._notify, self._on_trouble = session, notify, on_trouble
        self._tx: PostgresTransaction | None = None
        self._troubles = 0
        inbox = Inbox(self._commit_all, on_commit, name)
        self.put, self.close = inbox.put, inbox.close

    @property
    def tx(self) -> Transaction:
        """The transaction of the group."""
        assert self._tx is not None
        return self._tx

    def changed(self) -> int:
        """Give how many changing statements the group has run."""
        return self._tx.changed if self._tx is not None else 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run what follows in a savepoint; nothing here does, since writes of their own have a connection."""
        yield

    def told(self, error: Exception) -> Exception:
        """Give what a caller is told of an error of his function."""
        return told_of(error)

    def _commit_all(self, group: list[Operation]) -> tuple[list[Answer], set[str]]:
        woken: set[str] = set()
        self._troubles = 0
        return self._commit(group, woken), woken

    def _commit(self, group: list[Operation], woken: set[str]) -> list[Answer]:
        """Commit a group; when it fails for what one of them did, each half by itself. A caller must not wait for ever."""
        try:
            answers, changed = write_in(self._session, lambda tx: self._run(tx, group), TRIES if len(group) == 1 else 1)
        except Exception as error:  # noqa: BLE001 - it is told to the caller whose work it was
            if len(group) > 1 and _speaks_of_one(error):
                return self._commit_halves(group, woken)
            if is_trouble(error):
                self._troubles += 1 if isinstance(error, psycopg.errors.LockNotAvailable) else TROUBLES
                self._on_trouble()
            reason = told_of(error)
            return [(operation.future, None, reason) for operation in group]
        woken |= changed
        return answers

    def _commit_halves(self, group: list[Operation], woken: set[str]) -> list[Answer]:
        """Commit the first half, and the second unless the database itself seems to be in trouble."""
        middle = len(group) // 2
        answers = self._commit(group[:middle], woken)
        if self._troubles < TROUBLES:
            return [*answers, *self._commit(group[middle:], woken)]
        return [*answers, *[(operation.future, None, answers[-1][2]) for operation in group[middle:]]]

    def _run(self, tx: PostgresTransaction, group: list[Operation]) -> list[Answer]:
        self._tx = tx
        if len(group) > 1 or self._troubles:
            tx.run(f"set local lock_timeout = {GROUP_LOCK_MS}")
        answers = run_group(self, group)
        self._notify(tx)
        return answers


def told_of(error: Exception) -> Exception:
    """Give what the caller of a function is told of its error: no text of a statement, no value."""
    if isinstance(error, RunAgain):
        return StoreUnavailable(str(error) or BUSY)
    return told(error) if isinstance(error, psycopg.Error) else error


def is_trouble(error: BaseException | None) -> bool:
    """Say whether the database itself is in trouble, so that nobody else would be served either."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(TROUBLE)


def _speaks_of_one(error: Exception) -> bool:
    """Say whether the others of a group may well be served."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return True
    return not isinstance(error, StoreUnavailable) and not is_gone(error) and not is_trouble(error)
