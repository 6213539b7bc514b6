"""A namespace as a handler sees it: `await env.AUTH_KV.get("key")`. How a call gets there is passed in."""

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace import limits
from millrace.coordination.kv import Entry, Kind, Kv, Listed
from millrace.handlers.asking import Ask, Binding, answering


class KvBinding(Binding):
    """The pairs of one namespace. See `millrace.coordination.kv.Kv` for what each verb promises and raises."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def get(self, key: str, type: Kind = "text") -> Any:
        """Give the value of a key as text, json or bytes; None when there is none."""
        return (await self.get_with_metadata(key, type)).value

    async def get_with_metadata(self, key: str, type: Kind = "text") -> Entry:
        """Give the value of a key with its metadata, both None when there is none."""
        value, metadata = await self._ask("get", {"key": key, "type": type})
        return Entry(value, metadata)

    async def put(
        self,
        key: str,
        value: str | bytes | Mapping[str, Any] | list[Any],
        *,
        expiration: int | None = None,
        expiration_ttl: int | None = None,
        metadata: Any = None,
    ) -> None:
        """Store a value; `expiration` is in seconds since 1970, `expiration_ttl` in seconds from now, 60 or more."""
        options = {"expiration": expiration, "expiration_ttl": expiration_ttl, "metadata": metadata}
        await self._ask("put", {"key": key, "value": value, **options})

    async def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""
        await self._ask("delete", {"key": key})

    async def list(self, prefix: str = "", limit: int = limits.KV_KEYS_PER_PAGE, cursor: str | None = None) -> Listed:
        """Give up to `limit` keys that begin with `prefix`."""
        answer = await self._ask("list", {"prefix": prefix, "limit": limit, "cursor": cursor})
        return msgspec.convert(answer, Listed)


def kv_ask(kv: Kv) -> Ask:
    """Make what answers for a namespace."""

    async def get(key: str, type: Kind) -> tuple[Any, Any]:
        return tuple(await kv.get_with_metadata(key, type))

    async def listed(**arguments: Any) -> Any:
        return msgspec.to_builtins(await kv.list(**arguments))

    return answering(get=get, put=kv.put, delete=kv.delete, list=listed)
