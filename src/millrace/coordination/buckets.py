"""Token buckets of callers, as rows: whoever asks too often is told how long to wait, after a restart, too."""

from millrace.bucket import Bucket, Rate, fill, next_at_ms
from millrace.coordination.keys import check_key
from millrace.errors import InvalidInput
from millrace.sql.transaction import Transaction


def reserve(tx: Transaction, account_id: str, name: str, rate: Rate, now_ms: int, longest_seconds: float) -> float:
    """Take a token, one of those to come if need be, and give the seconds until it is there, 0 for now.

    So everybody has a turn of their own and asks once. One that were later than `longest_seconds` is not taken.

    Raises:
        InvalidInput: the name is not 1 to 512 bytes long.
    """
    check_key("the name of a bucket", name)
    tx.hold(f"bucket {account_id} {name}")
    bucket = _bucket(tx, account_id, name, rate, now_ms)
    wait_seconds = max(0, next_at_ms(bucket, rate) - now_ms) / 1000
    if wait_seconds <= longest_seconds:
        _put(tx, account_id, name, Bucket(bucket.tokens - 1, now_ms), rate)
    return wait_seconds


def take(tx: Transaction, account_id: str, name: str, count: int, rate: Rate, now_ms: int) -> float:
    """Take `count` tokens from the bucket and give 0, or take none and give the seconds until there are as many.

    A bucket is full when it is first asked. A refusal writes nothing, so it costs no commit.

    Raises:
        InvalidInput: the name is not 1 to 512 bytes long, or `count` not 1 to what the bucket holds.
    """
    check_key("the name of a bucket", name)
    if not 1 <= count <= rate.amount:
        raise InvalidInput(f"count is {count}; expected 1 to {rate.amount:g}, which is what the bucket holds")
    tx.hold(f"bucket {account_id} {name}")
    bucket = _bucket(tx, account_id, name, rate, now_ms)
    ready_at_ms = next_at_ms(bucket, rate, count)
    if ready_at_ms > now_ms:
        return (ready_at_ms - now_ms) / 1000
    _put(tx, account_id, name, Bucket(max(0.0, bucket.tokens - count), now_ms), rate)
    return 0.0


def _bucket(tx: Transaction, account_id: str, name: str, rate: Rate, now_ms: int) -> Bucket:
    row = tx.fetch_one("caller_bucket", (account_id, name))
    return fill(None if row is None else Bucket(row[0], row[1]), rate, now_ms)


def _put(tx: Transaction, account_id: str, name: str, bucket: Bucket, rate: Rate) -> None:
    full_at_ms = next_at_ms(bucket, rate, rate.amount)
    tx.apply("put_caller_bucket", (account_id, name, bucket.tokens, bucket.at_ms, full_at_ms))
