"""Buckets of callers, on a database in memory."""

import apsw
import pytest

from millrace.bucket import Rate
from millrace.coordination import buckets
from millrace.errors import InvalidInput
from millrace.sql.sqlite.migrate import migrate
from millrace.sql.sqlite.transaction import SqliteTransaction

NOW_MS = 1_700_000_000_000
RATE = Rate(10, 2)


@pytest.fixture
def tx() -> SqliteTransaction:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    return SqliteTransaction(connection)


def take(tx: SqliteTransaction, count: int, seconds: float = 0, name: str = "caller") -> float:
    return buckets.take(tx, "acc", name, count, RATE, NOW_MS + round(seconds * 1000))


def test_a_bucket_is_full_at_first_and_then_fills_at_its_rate(tx):
    waits = [take(tx, 8), take(tx, 4), take(tx, 2), take(tx, 5, 0.5), take(tx, 5, 1)]

    assert waits == [0, 0.4, 0, 0.5, 0]


def test_callers_have_buckets_of_their_own(tx):
    take(tx, 10)

    assert take(tx, 10, name="another") == 0


def test_a_refusal_writes_nothing(tx):
    take(tx, 10)
    before = tx.connection.total_changes()

    assert take(tx, 1) > 0
    assert tx.connection.total_changes() == before


def test_a_full_bucket_is_swept_and_is_full_still(tx):
    take(tx, 10)

    swept = [len(tx.fetch("sweep_caller_buckets", (NOW_MS + after_ms, 10))) for after_ms in (1_999, 2_000)]

    assert swept == [0, 1]
    assert take(tx, 10, 2) == 0


@pytest.mark.parametrize("count", [0, 11])
def test_more_than_a_bucket_holds_is_refused(tx, count):
    with pytest.raises(InvalidInput, match="expected 1 to 10"):
        take(tx, count)
