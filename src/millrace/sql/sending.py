"""Sending, as a function of an open transaction.

Plain messages go a short way. Those of a send in which one has a priority, an ordering or a deduplication key, and
those of a queue that forwards, go a longer one beside them.
"""

from collections.abc import Iterator, Sequence

import msgspec

from millrace.errors import BacklogFull, MillraceError
from millrace.idempotency import Once, dedupe_hash
from millrace.message import PLAIN, Backlog, Stamped
from millrace.placing import Copied, Placed, Repeated, Stored
from millrace.queue import Forward
from millrace.sql import queue_state, queues
from millrace.sql.idempotency import Ledger
from millrace.sql.lanes import LANE_SHIFT
from millrace.sql.messages import backlogs_of
from millrace.sql.ordering import hold_keys_of, is_ordered
from millrace.sql.queue_state import NEVER_MS, QueueState
from millrace.sql.transaction import Row, Transaction

LIMIT = "limit "  # what begins the name of the lock of a backlog with a limit


class Sending(msgspec.Struct, frozen=True):
    """One caller's messages for one queue."""

    queue_id: str
    messages: Sequence[Stamped]
    once: Once | None = None


class _Spread(msgspec.Struct, frozen=True):
    """Where each message of a send went that could not simply follow the first, and the copies in other queues."""

    places: tuple[Placed, ...]
    copies: tuple[Copied, ...]


_Taken = int | _Spread | str | MillraceError  # the first key; all the places; the id that it repeats; a refusal


def send(tx: Transaction, sendings: Sequence[Sending]) -> list[Stored | MillraceError]:
    """Store what neighbours in the inbox send, as one statement; refuse those whose queue cannot take it."""
    plain = [_are_plain(sending.messages) for sending in sendings]
    bearers = [one for one, is_plain in zip(sendings, plain, strict=True) if one.once is not None or not is_plain]
    tx.reserve_sequences(sum([len(sending.messages) for sending in sendings]))
    group = _Group(tx, Ledger(tx, _borne(bearers)), _find_each(tx, [sending.queue_id for sending in sendings]))
    if tx.shares:
        hold_keys_of(tx, group.ordered(bearers))
    taken = [group.take(sending, is_plain=is_plain) for sending, is_plain in zip(sendings, plain, strict=True)]
    backlogs = group.save()
    return [
        found if isinstance(found, MillraceError) else _answer(backlogs[sending.queue_id], sending, found)
        for sending, found in zip(sendings, taken, strict=True)
    ]


class _Group:
    """The queues and keys of a group of sends as they change, and the rows that are written at the end."""

    def __init__(self, tx: Transaction, ledger: Ledger, states: dict[str, QueueState | None]) -> None:
        self._tx, self._ledger, self._states = tx, ledger, states
        self._ids: dict[tuple[str, str], str] = {}
        self._ordered: set[tuple[int, str]] = set()
        self._rows: list[Row] = []
        self._featured_rows: list[Row] = []

    def ordered(self, sendings: Sequence[Sending]) -> list[QueueState]:
        """Give the queues that get messages with an ordering key; what is forwarded is not counted."""
        found = {sending.queue_id for sending in sendings if _has_ordering_key(sending.messages)}
        return [state for queue_id in found if (state := self._states[queue_id]) is not None]

    def take(self, sending: Sending, *, is_plain: bool) -> _Taken:
        """Add the rows of one caller; or refuse it, or give the id that it repeats."""
        state = self._states[sending.queue_id]
        if state is None:
            return queue_state.unknown(sending.queue_id)
        if sending.once is not None:
            earlier = self._ledger.find(sending.queue_id, sending.once, sending.messages[0].sent_at_ms)
            if earlier is not None:
                return earlier
        if is_plain and not state.queue.settings.forwards:
            return self._take_together(state, sending)
        return self._take_singly(state, sending)

    def save(self) -> dict[str, Backlog]:
        """Write everything, and give the backlogs of the queues."""
        if self._rows:
            self._tx.insert_many("insert_message", self._rows)
        if self._featured_rows:
            self._tx.insert_many("insert_featured_message", self._featured_rows)
        self._ledger.save(self._tx)
        states = [state for state in self._states.values() if state is not None]
        queue_state.save_each(self._tx, states)
        for state in states:
            self._tx.wake(state.queue.id)
        found = backlogs_of(self._tx, states)
        return {state.queue.id: backlog for state, backlog in zip(states, found, strict=True)}

    def _take_together(self, state: QueueState, sending: Sending) -> int | BacklogFull:
        messages, lane = sending.messages, state.lane
        added_bytes = _size(messages)
        full = _overflow(state, len(messages), added_bytes)
        if full is not None:
            return full
        if sending.once is not None:
            self._ledger.note(sending.queue_id, sending.once, messages[0].id, messages[0].sent_at_ms)
        first_key = self._first_key(state, len(messages), added_bytes)
        self._rows += [_row(first_key + offset, lane, message) for offset, message in enumerate(messages)]
        return first_key

    def _take_singly(self, state: QueueState, sending: Sending) -> _Taken:
        """Take those that repeat no other, each into the queues that it goes to; or none."""
        window_ms = state.queue.settings.deduplication_seconds * 1000
        earlier = self._ledger.earlier(sending.queue_id, sending.messages, window_ms)
        fresh = [message for message, first_id in zip(sending.messages, earlier, strict=True) if first_id is None]
        lots = _lots(state, fresh)
        for name, lot in lots.items():
            target = self._named(state, name)
            full = _overflow(target, len(lot), _size(lot)) if target is not None else None
            if full is not None:
                return full
        if sending.once is not None:
            first_id = earlier[0] or sending.messages[0].id
            self._ledger.note(sending.queue_id, sending.once, first_id, sending.messages[0].sent_at_ms)
        for message in fresh:
            self._ledger.note_message(sending.queue_id, message)
        keys_by_queue = {name: self._place(state, name, lot) for name, lot in lots.items()}
        keys = keys_by_queue.get(state.queue.name, {})
        return _Spread(
            tuple(
                Placed(first_id or message.id, keys.get(message.id, 0))
                for message, first_id in zip(sending.messages, earlier, strict=True)
            ),
            tuple(Copied(name, len(lot), _size(lot)) for name, lot in lots.items() if name != state.queue.name),
        )

    def _place(self, source: QueueState, name: str, lot: Sequence[Stamped]) -> dict[str, int]:
        """Add the rows for one of the queues, which is made if it is missing; give their keys by id."""
        now_ms = lot[0].sent_at_ms
        state = self._named(source, name) or self._create(source, name, now_ms)
        delay_ms = None if state is source else state.queue.settings.delivery_delay * 1000
        keys: dict[str, int] = {}
        for key, message in enumerate(lot, self._first_key(state, len(lot), _size(lot))):
            features = message.features
            state.take_in(features.priority, features.ordering_key)
            is_parked = features.ordering_key is not None and self._is_ordered(state, features.ordering_key)
            timed = message if delay_ms is None or message.is_timed else _delayed(message, delay_ms)
            self._featured_rows.append(_featured_row(key, state.lane, timed, is_parked=is_parked))
            keys[message.id] = key
        return keys

    def _first_key(self, state: QueueState, count: int, size: int) -> int:
        """Count messages in, and give the key of the first; the others follow it."""
        state.add(count, size)
        first: int = self._tx.take_sequences(count) | (state.lane << LANE_SHIFT)
        return first

    def _is_ordered(self, state: QueueState, ordering_key: str) -> bool:
        """Say whether the lane has a message of this key, and note that now it has."""
        if (state.lane, ordering_key) in self._ordered:
            return True
        self._ordered.add((state.lane, ordering_key))
        return is_ordered(self._tx, state, ordering_key)

    def _state(self, queue_id: str) -> QueueState | None:
        if queue_id not in self._states:
            self._states |= _find_each(self._tx, [queue_id])
        return self._states[queue_id]

    def _named(self, source: QueueState, name: str) -> QueueState | None:
        """Give the queue of that name in the account of the source, once for the whole group."""
        account_id = source.queue.account_id
        if name == source.queue.name:
            return source
        if (account_id, name) not in self._ids:
            queue = queues.named(self._tx, account_id, name)
            if queue is None:
                return None
            self._ids[account_id, name] = queue.id
        return self._state(self._ids[account_id, name])

    def _create(self, source: QueueState, name: str, now_ms: int) -> QueueState:
        queue = source.queue
        state = queues.ensure(self._tx, queue.account_id, name, queue.jurisdiction, now_ms)
        self._ids[queue.account_id, name] = state.queue.id
        self._states[state.queue.id] = state
        return state


def _find_each(tx: Transaction, queue_ids: Sequence[str]) -> dict[str, QueueState | None]:
    """Load queues that are sent to; the backlog of those with a limit rises nowhere else meanwhile."""
    states = queue_state.find_each(tx, queue_ids)
    limited = [queue_id for queue_id, state in states.items() if state is not None and _is_limited(state)]
    if not tx.shares or not limited:
        return states
    for queue_id in sorted(limited):
        tx.hold(LIMIT + queue_id)
    return states | queue_state.find_each(tx, limited)


def _borne(sendings: Sequence[Sending]) -> Iterator[tuple[str, bytes]]:
    """Give the queue and the hash of each key that the sends and their messages bear."""
    for sending in sendings:
        if sending.once is not None:
            yield sending.queue_id, sending.once.key_hash
        for message in sending.messages:
            if message.features.dedupe_key is not None:
                yield sending.queue_id, dedupe_hash(message.features.dedupe_key)


def _are_plain(messages: Sequence[Stamped]) -> bool:
    # Written out, since every message there is comes by here.
    for message in messages:  # noqa: SIM110
        if message.features is not PLAIN:
            return False
    return True


def _has_ordering_key(messages: Sequence[Stamped]) -> bool:
    return any(message.features.ordering_key is not None for message in messages)


def _lots(state: QueueState, messages: Sequence[Stamped]) -> dict[str, list[Stamped]]:
    """Say which messages go into which queue, by name; the queue itself comes first."""
    settings, name = state.queue.settings, state.queue.name
    lots: dict[str, list[Stamped]] = {name: []}
    for message in messages:
        targets = {forward.queue for forward in settings.forwards if _takes(forward, message)} - {name}
        if not (settings.forward_only and targets):
            lots[name].append(message)
        for target in sorted(targets):
            lots.setdefault(target, []).append(message)
    return {target: lot for target, lot in lots.items() if lot}


def _takes(forward: Forward, message: Stamped) -> bool:
    """Say whether the message has all the headers that the forward asks for; names in upper or lower case."""
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    return all(headers.get(name.lower()) == value for name, value in forward.headers.items())


def _delayed(message: Stamped, delay_ms: int) -> Stamped:
    return msgspec.structs.replace(message, visible_at_ms=message.sent_at_ms + delay_ms)


def _answer(backlog: Backlog, sending: Sending, found: int | _Spread | str) -> Stored:
    count, size, oldest = backlog.count, backlog.bytes, backlog.oldest_sent_at_ms
    if isinstance(found, int):
        return Stored(count, size, oldest, sending.messages[0].id, found)
    if isinstance(found, str):
        return Repeated(count, size, oldest, found, 0)
    return Stored(count, size, oldest, *found.places[0], found.places, found.copies)


def _size(messages: Sequence[Stamped]) -> int:
    return sum([len(message.body) for message in messages])


def _is_limited(state: QueueState) -> bool:
    settings = state.queue.settings
    return settings.max_backlog_messages is not None or settings.max_backlog_bytes is not None


def _overflow(state: QueueState, count: int, added_bytes: int) -> BacklogFull | None:
    settings = state.queue.settings
    for limit, present, added, unit in (
        (settings.max_backlog_messages, state.backlog_count, count, "messages"),
        (settings.max_backlog_bytes, state.backlog_bytes, added_bytes, "bytes"),
    ):
        if limit is not None and present + added > limit:
            return BacklogFull(
                f"Queue '{state.queue.name}' is full: {present} + {added} {unit} exceed its limit of {limit}."
            )
    return None


def _row(key: int, lane: int, message: Stamped) -> Row:
    headers = msgspec.json.encode(message.headers).decode() if message.headers else None
    return (
        key,
        lane,
        message.visible_at_ms,
        message.sent_at_ms,
        message.sent_at_ms,
        message.id,
        message.content_type,
        message.source,
        headers,
        message.body,
    )


def _featured_row(key: int, lane: int, message: Stamped, *, is_parked: bool) -> Row:
    features, due_at_ms = message.features, message.visible_at_ms
    visible_at_ms, parked_until_ms = (NEVER_MS, due_at_ms) if is_parked else (due_at_ms, None)
    kept_since_ms = message.sent_at_ms if features.kept_since_ms is None else features.kept_since_ms
    told = _row(key, lane, message)[4:]
    return (
        key, lane, visible_at_ms, kept_since_ms, *told,
        features.priority, features.ordering_key, parked_until_ms,
    )  # fmt: skip
