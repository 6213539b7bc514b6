"""Key-value pairs in namespaces, in the manner of Cloudflare KV, but read as they are at once."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from millrace import limits
from millrace.clock import Clock
from millrace.coordination.keys import check_key
from millrace.errors import InvalidInput, TooLarge
from millrace.ranges import shown, whole_numbers
from millrace.sql.transaction import Row, Transaction
from millrace.store import Store

Kind = Literal["text", "json", "bytes"]

KINDS = ("text", "json", "bytes")
NO_KEYS = (".", "..")  # a path would lose them
SECONDS_MAX = 253_402_300_799  # the end of the year 9999
END = b"\xff"  # above every byte of UTF-8


class Entry(NamedTuple):
    """A value with what was stored beside it."""

    value: Any
    metadata: Any = None


class ListedKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as a list shows it; `expiration` in seconds since 1970."""

    name: str
    expiration: int | None = None
    metadata: Any = None


class Listed(msgspec.Struct, frozen=True):
    """A page of keys in the order of their bytes; `cursor` leads to the next one, None at the end."""

    keys: list[ListedKey]
    list_complete: bool
    cursor: str | None = None


class Kv:
    """The pairs of one namespace of an account."""

    def __init__(self, store: Store, clock: Clock, account_id: str, namespace: str) -> None:
        check_key("the namespace", namespace)
        self._store, self._clock, self._home = store, clock, (account_id, namespace)

    async def get(self, key: str, type: Kind = "text") -> Any:
        """Give the value of a key as str, as what its JSON says, or as bytes; None when there is none.

        Raises:
            InvalidInput: the key or the type is not one, or the value does not have that type.
        """
        return (await self.get_with_metadata(key, type)).value

    async def get_with_metadata(self, key: str, type: Kind = "text") -> Entry:
        """Give the value of a key with its metadata, both None when there is none; see `get`."""
        bound = _checked_key(key)
        if type not in KINDS:
            raise InvalidInput(f"type is {shown(type)}; expected one of {', '.join(KINDS)}")
        row = await self._store.read(lambda tx: tx.fetch_one("kv_value", (*self._home, bound, self._clock())))
        if row is None:
            return Entry(None)
        return Entry(_decoded(key, row[0], type), None if row[1] is None else msgspec.json.decode(row[1]))

    async def put(
        self,
        key: str,
        value: str | bytes | Mapping[str, Any] | list[Any],
        *,
        expiration: int | None = None,
        expiration_ttl: int | None = None,
        metadata: Any = None,
    ) -> None:
        """Store a value, in place of the one there was; an object or array is stored as JSON.

        Args:
            key: 1 to 512 bytes in UTF-8, neither "." nor "..".
            value: At most 1,000,000 bytes.
            expiration: When it is gone, in seconds since 1970, at least 60 from now.
            expiration_ttl: After how many seconds it is gone, 60 or more.
            metadata: JSON of at most 1,024 bytes.

        Raises:
            InvalidInput: one of them is otherwise.
            TooLarge: the value is.
        """
        now_ms, bound, encoded = self._clock(), _checked_key(key), _encoded(value)
        expires_at_ms = _expiry(now_ms, expiration, expiration_ttl)
        row = (*self._home, bound, encoded, _metadata(metadata), expires_at_ms)
        await self._store.write(lambda tx: tx.apply("put_kv", row))

    async def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error.

        Raises:
            InvalidInput: it is no key.
        """
        bound = _checked_key(key)
        await self._store.write(lambda tx: tx.apply("delete_kv", (*self._home, bound)))

    async def list(self, prefix: str = "", limit: int = limits.KV_KEYS_PER_PAGE, cursor: str | None = None) -> Listed:
        """Give up to `limit` keys that begin with `prefix`.

        Raises:
            InvalidInput: `limit` is not 1 to 1,000, or `cursor` none that a list gave.
        """
        limit = whole_numbers({"limit": limit}, {"limit": (1, limits.KV_KEYS_PER_PAGE)}, InvalidInput)["limit"]
        if prefix:
            check_key("the prefix", prefix)
        first, after = prefix.encode(), _key_of(cursor) if cursor else b""
        rows = await self._store.read(lambda tx: _page(tx, self._home, first, after, self._clock(), limit + 1))
        keys = [_listed(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Listed(keys, list_complete=True)
        return Listed(keys, list_complete=False, cursor=urlsafe_b64encode(rows[limit - 1][0]).decode())


def _page(tx: Transaction, home: tuple[str, str], first: bytes, after: bytes, now_ms: int, limit: int) -> list[Row]:
    return tx.fetch("kv_keys", (*home, first, after, first + END, now_ms, limit))


def _checked_key(key: str) -> bytes:
    check_key("the key", key)
    if key in NO_KEYS:
        raise InvalidInput(f"the key is {key!r}, which is none; choose another")
    return key.encode()


def _encoded(value: object) -> bytes:
    match value:
        case str():
            encoded = _text(value)
        case bytes() | bytearray() | memoryview():
            encoded = bytes(value)
        case Mapping() | list():
            encoded = _json(value, "the value")
        case _:
            raise InvalidInput(f"the value is {type(value).__name__}; expected str, bytes, or a JSON object or array")
    if len(encoded) > limits.KV_VALUE_BYTES:
        raise TooLarge(f"the value has {len(encoded)} bytes; expected at most {limits.KV_VALUE_BYTES}")
    return encoded


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the value is no text: {error.reason} at character {error.start}") from error


def _metadata(metadata: object) -> str | None:
    if metadata is None:
        return None
    encoded = _json(metadata, "the metadata")
    if len(encoded) > limits.KV_METADATA_BYTES:
        raise InvalidInput(f"the metadata has {len(encoded)} bytes; expected at most {limits.KV_METADATA_BYTES}")
    return encoded.decode()


def _json(value: object, what: str) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is no JSON: {error}") from error


def _decoded(key: str, value: bytes, kind: Kind) -> Any:
    try:
        match kind:
            case "bytes":
                return value
            case "text":
                return value.decode()
            case "json":
                return msgspec.json.decode(value)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InvalidInput(f"the value of {key!r} is not of type {kind}: {error}") from error


def _expiry(now_ms: int, expiration: int | None, expiration_ttl: int | None) -> int | None:
    """Decide when a pair expires; of both ways to say it, the time to live counts."""
    if expiration_ttl is not None:
        return now_ms + _seconds("expiration_ttl", expiration_ttl, limits.KV_TTL_SECONDS_MIN) * 1000
    if expiration is not None:
        return _seconds("expiration", expiration, now_ms // 1000 + limits.KV_TTL_SECONDS_MIN) * 1000
    return None


def _seconds(name: str, given: object, least: int) -> int:
    seconds: int = whole_numbers({name: given}, {name: (least, SECONDS_MAX)}, InvalidInput)[name]
    return seconds


def _key_of(cursor: str) -> bytes:
    try:
        key = urlsafe_b64decode(cursor.encode("ascii"))
        key.decode()
    except ValueError:
        raise InvalidInput(f"cursor is {shown(cursor)}; expected one that a list gave") from None
    return key


def _listed(row: Row) -> ListedKey:
    key, metadata, expires_at_ms = row
    expiration = None if expires_at_ms is None else expires_at_ms // 1000
    return ListedKey(key.decode(), expiration, None if metadata is None else msgspec.json.decode(metadata))
