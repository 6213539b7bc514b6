"""How many batches of a queue to handle side by side."""

AUTOMATIC_MAXIMUM = 20  # batches in one process; the messages of each are in memory


def next_concurrency(present: int, *, waiting: int, batch_size: int, failed: bool, maximum: int | None) -> int:
    """Step up while a full batch is waiting, down when there is none or the last call failed.

    Args:
        present: The number allowed until now.
        waiting: Messages in the backlog that nobody holds.
        batch_size: Messages of a full batch.
        failed: Whether the last handler call raised; an explicit retry is no failure.
        maximum: The consumer's `max_concurrency`; None leaves it to us.
    """
    step = 1 if waiting >= batch_size and not failed else -1
    return max(1, min(present + step, maximum or AUTOMATIC_MAXIMUM))
