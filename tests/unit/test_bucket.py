import pytest

from millrace.bucket import Bucket, Rate, fill, next_at_ms, whole

RATE = Rate(amount=3, per_seconds=2)


def test_a_bucket_is_full_at_first():
    filled = fill(None, RATE, 1000)

    assert filled == Bucket(3, 1000)


@pytest.mark.parametrize(
    ("tokens", "passed_ms", "expected"),
    [(0, 0, 0), (0, 667, 1), (0, 666, 0), (0, 2000, 3), (1.5, 1000, 3), (0, 10**12, 3), (2, -5000, 2)],
)
def test_it_fills_by_the_rate_and_never_above_it(tokens, passed_ms, expected):
    filled = fill(Bucket(tokens, 10_000), RATE, 10_000 + passed_ms)

    assert whole(filled) == expected


def test_time_that_runs_back_adds_nothing_when_it_runs_on():
    back = fill(Bucket(0, 10_000), RATE, 4_000)

    assert whole(fill(back, RATE, 10_000)) == 0


@pytest.mark.parametrize(("tokens", "count", "at_ms"), [(0, 1, 1667), (0.5, 1, 1334), (1, 1, 1000), (0, 3, 3000)])
def test_the_next_tokens_are_there_when_it_says(tokens, count, at_ms):
    bucket = Bucket(tokens, 1000)

    assert next_at_ms(bucket, RATE, count) == at_ms
    assert whole(fill(bucket, RATE, at_ms)) >= count


def test_a_stricter_rate_takes_what_is_too_much():
    filled = fill(Bucket(3, 0), Rate(amount=1, per_seconds=60), 0)

    assert whole(filled) == 1


def test_taking_one_by_one_loses_nothing_to_rounding():
    rate, bucket, taken, now_ms = Rate(amount=7, per_seconds=1), Bucket(0, 0), 0, 0
    while now_ms < 100_000:
        now_ms = next_at_ms(bucket, rate)
        filled = fill(bucket, rate, now_ms)
        taken += 1
        bucket = Bucket(filled.tokens - 1, now_ms)

    assert taken in (700, 701)
