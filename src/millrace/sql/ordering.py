"""Ordering keys, as functions of an open transaction.

Of the messages of one key in a lane the first, the head, is like any other; those behind it are parked: they never
become visible by themselves, and `due_at_ms` says when they would have. Whatever takes the head away for good frees
the next. So receiving knows nothing of keys.
"""

from collections.abc import Iterable
from typing import NamedTuple

from millrace.sql.queue_state import NEVER_MS, ORDERED, QueueState
from millrace.sql.transaction import Transaction


class Order(NamedTuple):
    """How a message stands among the others of its lane; parked if it has `due_at_ms`."""

    priority: int
    ordering_key: str | None
    due_at_ms: int | None


def order_of(tx: Transaction, state: QueueState, key: int) -> Order | None:
    """Give how a message stands; None where nothing in the lane has more than its time."""
    if not state.features and not tx.shares:  # else the first with more may have come since the state was read
        return None
    row = tx.fetch_one("order_of", (key,))
    return Order(*row) if row else None


def place(tx: Transaction, target: QueueState, order: Order | None, visible_at_ms: int) -> tuple[int, int | None]:
    """Let a message into a lane and give its `visible_at_ms` and `due_at_ms` there."""
    if order is None:
        return visible_at_ms, None
    target.take_in(order.priority, order.ordering_key)
    if order.ordering_key is None or not is_ordered(tx, target, order.ordering_key):
        return visible_at_ms, None
    return NEVER_MS, visible_at_ms


def is_ordered(tx: Transaction, state: QueueState, ordering_key: str) -> bool:
    """Say whether the lane has a message of this key; nobody sends to the lane's keys or frees them meanwhile."""
    _hold(tx, state)
    return tx.fetch_one("is_ordered", (state.lane, ordering_key)) is not None


def hold_keys(tx: Transaction, state: QueueState) -> None:
    """Let nobody else send to the lane's keys or free them: before rows are locked, so that nobody waits crosswise."""
    if state.features & ORDERED:
        _hold(tx, state)


def hold_keys_of(tx: Transaction, states: Iterable[QueueState]) -> None:
    """Let nobody else send to the keys of these lanes or free them, in the one order in which names may be waited for."""
    for state in sorted(states, key=_name):
        _hold(tx, state)


def free_next(tx: Transaction, state: QueueState, gone: Order | None, now_ms: int) -> None:
    """Free the message behind one that has gone, if that was the head of its key."""
    if gone is not None and gone.ordering_key is not None and gone.due_at_ms is None:
        free(tx, state, gone.ordering_key, now_ms)


def free(tx: Transaction, state: QueueState, ordering_key: str, now_ms: int) -> None:
    """Free the first of those that wait for the head of their key, which has gone."""
    _hold(tx, state)
    tx.apply("free_next", (now_ms, state.lane, ordering_key))
    tx.wake(state.queue.id)


def _hold(tx: Transaction, state: QueueState) -> None:
    tx.hold(_name(state))


def _name(state: QueueState) -> str:
    return f"order {state.lane}"
