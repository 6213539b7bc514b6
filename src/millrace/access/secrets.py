"""Secrets of the accounts: sealed with the master key, given to programs, never shown again."""

import re

import msgspec

from millrace import limits
from millrace.access.cipher import Cipher, MasterKey, Sealed
from millrace.audit import Entry, entry_of
from millrace.clock import Clock
from millrace.errors import ConfigurationError, InvalidInput, SecretNotFound
from millrace.sql import audit
from millrace.sql.transaction import Row, Transaction
from millrace.store import Store

ONE_KEY = "the master key of secrets"
NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{limits.SECRET_NAME_CHARACTERS - 1}}}")


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a secret: never its value."""

    name: str
    created_at_ms: int
    updated_at_ms: int


class Secrets:
    """The secrets in a store."""

    def __init__(self, store: Store, clock: Clock, master_key: MasterKey) -> None:
        self._store, self._clock, self._master_key = store, clock, master_key

    async def check(self) -> None:
        """Let the master key pass if it is that of all secrets in the store, or if there are none.

        Raises:
            ConfigurationError: it is another, or it is gone.
        """
        cipher = self._master_key.find()
        key_id = "" if cipher is None else cipher.key_id
        await self._store.read(lambda tx: self._check_key(tx, key_id))

    async def put(self, account_id: str, name: str, value: str) -> Secret:
        """Seal a value under a name, in place of the one before.

        Raises:
            InvalidInput: the name or the value cannot be.
            ConfigurationError: the master key is not the one that other secrets are sealed with.
        """
        _check(name, value)
        await self.check()
        sealed = self._master_key.find_or_make().seal(account_id, name, value)
        entry = entry_of(account_id, self._clock(), "secret.put", f"secret {name}")

        def put(tx: Transaction) -> Secret:
            tx.hold(ONE_KEY)
            self._check_key(
                tx, sealed.key_id
            )  # again: a server with another one may have put its first secret meanwhile
            return _put(tx, name, sealed, entry)

        return await self._store.write(put)

    async def of_account(self, account_id: str) -> list[Secret]:
        """Give the account's secrets by name."""
        rows = await self._store.read(lambda tx: tx.fetch("secrets", {"account_id": account_id}))
        return [_secret(row) for row in rows]

    async def delete(self, account_id: str, name: str) -> None:
        """Remove a secret; the master key is not needed for it.

        Raises:
            SecretNotFound: the account has none of that name.
        """
        entry = entry_of(account_id, self._clock(), "secret.deleted", f"secret {name}")
        await self._store.write(lambda tx: _delete(tx, name, entry))

    async def of(self, account_id: str) -> dict[str, str]:
        """Open all secrets of an account: values by name.

        Raises:
            ConfigurationError: the master key is another, or it is gone.
        """
        rows = await self._store.read(lambda tx: tx.fetch("sealed_secrets", {"account_id": account_id}))
        if not rows:
            return {}
        await self.check()
        return _opened(self._master_key.find_or_make(), account_id, rows)

    def _check_key(self, tx: Transaction, key_id: str) -> None:
        row = tx.fetch_one("foreign_secret", {"key_id": key_id})
        if row is not None:
            raise self._refusal(*row)

    def _refusal(self, account_id: str, name: str) -> ConfigurationError:
        return ConfigurationError(
            f"secret {name!r} of account {account_id!r} is sealed with another master key than {self._master_key.place}"
            " holds; set MASTER_KEY to that key or put its file back, or, if it is lost, remove the secret with "
            f"`millrace secret delete {name} --data …`, or --store …, and put it again"
        )


def _opened(cipher: Cipher, account_id: str, rows: list[Row]) -> dict[str, str]:
    return {name: cipher.open(account_id, name, Sealed(*sealed)) for name, *sealed in rows}


def _check(name: str, value: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"the secret's name is {name[:80]!r}; expected a letter or '_', then letters, digits and '_', "
            f"{limits.SECRET_NAME_CHARACTERS} in all"
        )
    try:
        is_valid = 1 <= len(value.encode()) <= limits.SECRET_BYTES and "\0" not in value
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise InvalidInput(f"the secret's value is not 1 to {limits.SECRET_BYTES} bytes of UTF-8 without a zero byte")


def _put(tx: Transaction, name: str, sealed: Sealed, entry: Entry) -> Secret:
    place = {"account_id": entry.account_id, "name": name}
    tx.apply("put_secret", {**place, **sealed._asdict(), "now_ms": entry.at_ms})
    audit.note(tx, entry)
    return _secret(tx.fetch("secret", place)[0])


def _delete(tx: Transaction, name: str, entry: Entry) -> None:
    if not tx.fetch("delete_secret", {"account_id": entry.account_id, "name": name}):
        raise SecretNotFound(f"secret {name[:80]!r} does not exist")
    audit.note(tx, entry)


def _secret(row: Row) -> Secret:
    name, created_at_ms, updated_at_ms = row
    return Secret(name=name, created_at_ms=created_at_ms, updated_at_ms=updated_at_ms)
