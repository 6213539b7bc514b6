"""A transaction on a connection of the caller, begun and ended by him.

The functions of a transaction are synchronous and know no driver. Here each statement of theirs goes through one
function, `Run`, so that the one implementation of the rules serves every driver.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Self, TypeVar, cast

import msgspec

from millrace.errors import InvalidInput, StoreUnavailable
from millrace.sql.postgres.connection import SETTINGS, Connection
from millrace.sql.postgres.cursors import Cursors
from millrace.sql.postgres.hearing import GONE_MS
from millrace.sql.postgres.transaction import PostgresTransaction
from millrace.sql.sending import LIMIT
from millrace.sql.transaction import Bindings, Row, RunAgain, Transaction

T = TypeVar("T")
Run = Callable[[str, Sequence[Any]], list[Row]]  # runs a statement with its values and gives its rows

TRIES = 3
NAMES_AT_ONCE = 100  # of 32 characters; a notification holds 8,000 bytes
PLANNING = [name for name in SETTINGS if name.startswith("enable_") or name in ("jit", "plan_cache_mode")]


class Home(msgspec.Struct, frozen=True):
    """Which store a program sends to, and the schemas that its tables are found in."""

    store_id: str
    search_path: str


class BorrowedTransaction(PostgresTransaction):
    """What sending needs of a transaction, on somebody else's connection; values are plain lists, which all drivers take."""

    def __init__(self, run: Run, cursors: Cursors) -> None:
        super().__init__(cast("Connection", _Hand(run)), (), cursors)
        self._run = run

    def fetch(self, name: str, bindings: Bindings = ()) -> list[Row]:
        """Run a statement and give its rows, but leave it to the servers to fold backlogs.

        The lane's row would stay locked until the caller commits.
        """
        return [] if name == "hold_fold" else super().fetch(name, bindings)

    def fetch_each(self, name: str, bindings: Sequence[Bindings]) -> list[list[Row]]:
        """Run a statement for one set of bindings after the other."""
        return [self.fetch(name, one) for one in bindings]

    def insert_many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """Insert a column a value."""
        text = self._statements[name].text
        written = self._run(text, [[*column] for column in zip(*rows, strict=True)])
        return len(written) if "returning" in text else len(rows)

    def apply_many(self, name: str, bindings: Iterable[Bindings]) -> list[Row]:
        """Run a statement for one set of bindings after the other."""
        return [row for one in bindings for row in self.fetch(name, one)]

    def array(self, values: Iterable[int | str]) -> Any:
        """Give the list itself."""
        return [*values]

    def hold(self, name: str) -> None:
        """Wait for a name in whatever order: what the caller has done before cannot be run again from here.

        That of a backlog's limit is not held: nobody else could send there until he commits.
        """
        if name not in self._held and not name.startswith(LIMIT):
            self._held.add(name)
            self.apply("hold", (name,))

    def forget(self) -> None:
        """Forget what was undone: locks go with the savepoint in which they were taken."""
        self._held.clear()
        self._shared.clear()
        self.woken.clear()


@contextmanager
def at_home(tx: BorrowedTransaction, home: Home) -> Iterator[int]:
    """Let our statements find our tables, by the plans they were written for; give the time there, in epoch milliseconds.

    In the end the caller has his settings back; they are local to his transaction. With his, our statements would get
    plans for the statistics of a moment, which his driver keeps, and perhaps tables of his that have the same names.

    Raises:
        InvalidInput: the connection leads to another store, or its transaction sees less than was committed.
    """
    names = ["search_path", *PLANNING]
    rows = tx.fetch("exchange_settings", (names, [home.search_path, *(SETTINGS[name] for name in PLANNING)]))
    before = [row[0] for row in rows]
    try:
        yield _checked_now_ms(tx, home, is_store=rows[-1][2])
    except BaseException:
        with suppress(Exception):  # in a transaction that has failed they are void anyway
            tx.fetch("exchange_settings", (names, before))
        raise
    tx.fetch("exchange_settings", (names, before))


def run_part(tx: BorrowedTransaction, fn: Callable[[Transaction], T], *, has_keys: bool) -> T:
    """Run a function that may have to run again without the rest of the transaction.

    Only keys make it run again; without them it has no savepoint, of which PostgreSQL keeps 64 a transaction at hand.
    """
    if not has_keys:
        return fn(tx)
    for tried in range(1, TRIES + 1):
        tx.apply("begin_part")
        try:
            result = fn(tx)
        except RunAgain:
            if tried == TRIES:
                raise StoreUnavailable(
                    "others send with the same keys at this moment; roll back and try again"
                ) from None
            tx.apply("undo_part")
            tx.forget()
        else:
            tx.apply("end_part")
            return result
    raise AssertionError


def wake_watchers(tx: PostgresTransaction) -> None:
    """Let those who watch what was changed hear of it, once it is committed."""
    woken = sorted(tx.woken)
    for first in range(0, len(woken), NAMES_AT_ONCE):
        names = woken[first : first + NAMES_AT_ONCE]
        payload = f"- {msgspec.json.encode(names).decode()}"
        tx.fetch("wake_watchers", (payload, tx.array(names), GONE_MS))


def home_of(tx: Transaction) -> Home:
    """Read which store this is, and where its tables are."""
    store_id, search_path = tx.fetch("home")[0]
    return Home(store_id, search_path)


def _checked_now_ms(tx: Transaction, home: Home, *, is_store: bool) -> int:
    store_id, isolation, now_ms = tx.fetch("borrowed_store")[0] if is_store else (None, "", 0)
    if store_id != home.store_id:
        raise InvalidInput(
            "the connection leads to another database than the queue's; pass one to the database that was opened"
        )
    if isolation != "read committed":
        raise InvalidInput(
            f"the connection's transaction is {isolation}; expected read committed, since a send must see what others "
            "have committed meanwhile; begin it as that, or send in a transaction of its own"
        )
    return int(now_ms)


class _Hand:
    """A cursor and its connection in one, as PostgresTransaction wants them, that hands every statement on."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows: list[Row] = []

    def cursor(self, *, binary: bool) -> Self:
        return type(self)(self._run)

    def pipeline(self) -> nullcontext[None]:
        return nullcontext()

    def execute(self, text: str, values: Sequence[Any] = ()) -> Self:
        self._rows = self._run(text, values)
        return self

    def fetchall(self) -> list[Row]:
        return self._rows

    def fetchone(self) -> Row | None:
        return self._rows[0] if self._rows else None
