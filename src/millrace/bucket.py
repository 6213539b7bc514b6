"""A token bucket as a value: how much may be taken now, and when more."""

from math import ceil

import msgspec

SPECK = 1e-6  # of a token: what sums of fractions may lack


class Rate(msgspec.Struct, frozen=True):
    """At most `amount` at once, and `amount` anew in each `per_seconds`; both above 0."""

    amount: float
    per_seconds: float = 1


class Bucket(msgspec.Struct, frozen=True):
    """How many tokens there were at a time."""

    tokens: float
    at_ms: int


def fill(bucket: Bucket | None, rate: Rate, now_ms: int) -> Bucket:
    """Give the bucket as it is now: full at first, and never more than full. Time that runs back adds nothing."""
    if bucket is None:
        return Bucket(rate.amount, now_ms)
    added = max(0, now_ms - bucket.at_ms) * rate.amount / (rate.per_seconds * 1000)
    return Bucket(min(rate.amount, bucket.tokens + added), max(now_ms, bucket.at_ms))


def whole(bucket: Bucket) -> int:
    """Give how many tokens may be taken."""
    return int(bucket.tokens + SPECK)


def next_at_ms(bucket: Bucket, rate: Rate, count: float = 1) -> int:
    """Say when the bucket will hold `count` tokens; a time that is not later than the bucket's if it does now."""
    missing = count - bucket.tokens - SPECK
    return bucket.at_ms + max(0, ceil(missing * rate.per_seconds * 1000 / rate.amount))
