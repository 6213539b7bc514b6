"""When is a batch ready?"""


def is_ready(count: int, ready_since_ms: int, *, batch_size: int, max_wait_time_ms: int, now_ms: int) -> bool:
    """Say whether to dispatch: the batch is full, or its first message has waited long enough."""
    return count >= batch_size or now_ms - ready_since_ms >= max_wait_time_ms


def look_again_ms(ready_since_ms: int | None, next_due_at_ms: int | None, max_wait_time_ms: int) -> int | None:
    """Say when a batch can be ready although nobody sends anything; None means never."""
    times = [next_due_at_ms] if next_due_at_ms is not None else []
    if ready_since_ms is not None:
        times.append(ready_since_ms + max_wait_time_ms)
    return min(times, default=None)
