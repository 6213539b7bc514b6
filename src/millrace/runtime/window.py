"""When is a batch ready?"""

from millrace.clock import Clock
from millrace.consumer import Consumer
from millrace.store import IsReady


def is_ready(count: int, ready_since_ms: int, *, batch_size: int, max_wait_time_ms: int, now_ms: int) -> bool:
    """Say whether to dispatch: the batch is full, or its first message has waited long enough."""
    return count >= batch_size or now_ms - ready_since_ms >= max_wait_time_ms


def of(consumer: Consumer | None, clock: Clock) -> IsReady | None:
    """Give the window of a consumer; None, which is always open, where there is no consumer."""
    if consumer is None:
        return None
    settings = consumer.settings

    def is_open(count: int, ready_since_ms: int, is_urgent: bool) -> bool:  # noqa: FBT001 - as the store calls it
        if is_urgent and settings.flush_on == "high":
            return True
        return is_ready(
            count,
            ready_since_ms,
            batch_size=settings.batch_size,
            max_wait_time_ms=settings.max_wait_time_ms,
            now_ms=clock(),
        )

    return is_open


def look_again_ms(ready_since_ms: int | None, next_due_at_ms: int | None, max_wait_time_ms: int) -> int | None:
    """Say when a batch can be ready although nobody sends anything; None means never."""
    times = [next_due_at_ms] if next_due_at_ms is not None else []
    if ready_since_ms is not None:
        times.append(ready_since_ms + max_wait_time_ms)
    return min(times, default=None)


def seconds_until(at_ms: int | None, now_ms: int, at_most: float) -> float:
    """Give the seconds to wait for a time: at least a millisecond, at most `at_most`, which also stands for never."""
    return at_most if at_ms is None else min(at_most, max(0.001, (at_ms - now_ms) / 1000))
