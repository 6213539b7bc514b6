"""Token buckets of callers, as rows: whoever asks too often is told how long to wait, after a restart, too."""

from millrace.bucket import Bucket, Rate, fill, next_at_ms
from millrace.coordination.keys import check_key
from millrace.errors import InvalidInput
from millrace.sql.transaction import Transaction


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
    row = tx.fetch_one("caller_bucket", (account_id, name))
    bucket = fill(None if row is None else Bucket(row[0], row[1]), rate, now_ms)
    ready_at_ms = next_at_ms(bucket, rate, count)
    if ready_at_ms > now_ms:
        return (ready_at_ms - now_ms) / 1000
    left = Bucket(max(0.0, bucket.tokens - count), now_ms)
    full_at_ms = next_at_ms(left, rate, rate.amount)
    tx.apply("put_caller_bucket", (account_id, name, left.tokens, now_ms, full_at_ms))
    return 0.0
