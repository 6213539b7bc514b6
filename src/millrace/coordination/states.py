"""States: records that change by compare-and-set only, each version of which is kept for a while.

Versions count from 1 without a gap, so a follower sees what it has missed.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace import limits
from millrace.clock import Clock
from millrace.coordination.keys import check_key
from millrace.errors import InvalidInput, StateChanged, TooLarge
from millrace.sql.transaction import Row, Transaction
from millrace.store import Store


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a state. The version that a removal writes has `is_removed` and an empty value."""

    kind: str
    key: str
    version: int
    value: dict[str, Any]
    at_ms: int
    is_removed: bool = False


def watch_name(account_id: str, kind: str, key: str) -> str:
    """Name the state to `Store.watch`."""
    return f"state:{account_id}:{kind}:{key}"


def get(tx: Transaction, account_id: str, kind: str, key: str) -> State | None:
    """Give the state as it is."""
    row = tx.fetch_one("latest_state", (account_id, kind, key))
    return None if row is None or row[2] is None else _state_of(kind, key, row)


def history(
    tx: Transaction, account_id: str, kind: str, key: str, after_version: int = 0, limit: int = limits.STATE_VERSIONS
) -> list[State]:
    """Give up to `limit` versions after `after_version`, oldest first; the last 100 of a state are kept."""
    rows = tx.fetch("states_after", (account_id, kind, key, after_version, limit))
    return [_state_of(kind, key, row) for row in rows]


def put(
    tx: Transaction,
    account_id: str,
    kind: str,
    key: str,
    value: Mapping[str, Any],
    now_ms: int,
    expected_version: int | None = None,
) -> State:
    """Write the next version: whatever there is when `expected_version` is None, or only upon that one.

    Version 0 is that of a state that is not there.

    Raises:
        InvalidInput: kind or key is not 1 to 512 bytes long, or the value no JSON object.
        TooLarge: the value has more than 1,000,000 bytes.
        StateChanged: the state has another version than the expected one.
    """
    check_key("the kind of a state", kind)
    check_key("the key of a state", key)
    text = _encoded(value)
    version = 1 + _checked_version(tx, account_id, kind, key, expected_version)
    tx.apply("insert_state", (account_id, kind, key, version, now_ms, text))
    if version > limits.STATE_VERSIONS:
        tx.apply("trim_state", (account_id, kind, key, version - limits.STATE_VERSIONS))
    tx.wake(watch_name(account_id, kind, key))
    return State(kind=kind, key=key, version=version, value=dict(value), at_ms=now_ms)


def remove(
    tx: Transaction, account_id: str, kind: str, key: str, now_ms: int, expected_version: int | None = None
) -> bool:
    """Remove the state with its history, and say whether it was there.

    Followers are told by one more version. A state that is put anew within a day goes on counting from it.

    Raises:
        StateChanged: the state has another version than the expected one.
    """
    tx.hold(watch_name(account_id, kind, key))
    if get(tx, account_id, kind, key) is None and not expected_version:
        return False
    version = 1 + _checked_version(tx, account_id, kind, key, expected_version)
    tx.apply("trim_state", (account_id, kind, key, version))
    tx.apply("insert_state", (account_id, kind, key, version, now_ms, None))
    tx.wake(watch_name(account_id, kind, key))
    return True


class States:
    """The same in transactions of their own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def get(self, account_id: str, kind: str, key: str) -> State | None:
        """Give the state as it is."""
        return await self._store.read(lambda tx: get(tx, account_id, kind, key))

    async def history(
        self, account_id: str, kind: str, key: str, after_version: int = 0, limit: int = limits.STATE_VERSIONS
    ) -> list[State]:
        """Give up to `limit` versions after `after_version`, oldest first."""
        return await self._store.read(lambda tx: history(tx, account_id, kind, key, after_version, limit))

    async def put(
        self, account_id: str, kind: str, key: str, value: Mapping[str, Any], expected_version: int | None = None
    ) -> State:
        """Write the next version; see `put` above."""
        return await self._store.write(
            lambda tx: put(tx, account_id, kind, key, value, self._clock(), expected_version)
        )

    async def remove(self, account_id: str, kind: str, key: str, expected_version: int | None = None) -> bool:
        """Remove the state with its history, and say whether it was there."""
        return await self._store.write(lambda tx: remove(tx, account_id, kind, key, self._clock(), expected_version))


def _checked_version(tx: Transaction, account_id: str, kind: str, key: str, expected_version: int | None) -> int:
    """Give the last version that was written, a removal's too, after holding it against the expected one.

    Nobody else writes a version before this transaction has ended.
    """
    tx.hold(watch_name(account_id, kind, key))
    row = tx.fetch_one("latest_state", (account_id, kind, key))
    last = 0 if row is None else int(row[0])
    seen = 0 if row is None or row[2] is None else last
    if expected_version is not None and expected_version != seen:
        raise StateChanged(f"state {kind} {key!r} has version {seen}, expected was {expected_version}", seen)
    return last


def _encoded(value: Mapping[str, Any]) -> str:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"a state is {type(value).__name__}; expected a JSON object")
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"a state is no JSON object: {error}") from error
    if len(encoded) > limits.STATE_BYTES:
        raise TooLarge(f"a state has {len(encoded)} bytes; expected at most {limits.STATE_BYTES}")
    return encoded.decode()


def _state_of(kind: str, key: str, row: Row) -> State:
    version, at_ms, text = row
    value = {} if text is None else msgspec.json.decode(text)
    return State(kind=kind, key=key, version=version, value=value, at_ms=at_ms, is_removed=text is None)
