"""Keys: made, stored as hashes, compared in constant time, shown once.

A key is 256 random bits, so a plain SHA-256 is enough; there is nothing to guess that a slow hash would slow.
"""

import hashlib
import hmac
import secrets
from typing import Any

import msgspec

from millrace.access.scopes import Role
from millrace.audit import entry_of
from millrace.clock import Clock
from millrace.errors import (
    ConfigurationError,
    Forbidden,
    InvalidInput,
    KeyExists,
    KeyFromEnvironment,
    KeyNotFound,
    Unauthenticated,
)
from millrace.ids import NewId, new_id
from millrace.names import check_account_id, check_queue_name
from millrace.sql import audit
from millrace.sql.transaction import Transaction
from millrace.store import Store

LIVE, TEST = "sk_live_", "sk_test_"
SHOWN_CHARACTERS = 12
NO_HASH = bytes(32)
FIRST = "the first key"
TENANT_ROLES = (Role.AGENT, Role.PRODUCER)
TENANT_CHARACTERS = 128


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key: never its secret.

    `queues` None means all queues of the account; `tenant` None all tenants of applications that know any.
    """

    id: str
    account_id: str
    role: Role
    created_at_ms: int
    hint: str
    queues: tuple[str, ...] | None = None
    tenant: str | None = None
    is_test: bool = False
    from_environment: bool = False

    def reaches(self, queue_name: str) -> bool:
        """Say whether the key may touch the queue of that name."""
        return self.queues is None or queue_name in self.queues

    def check_queue(self, queue_name: str) -> None:
        """Let it pass when the key may touch the queue of that name.

        Raises:
            Forbidden: it is limited to other queues.
        """
        if not self.reaches(queue_name):
            raise Forbidden("this key is limited to other queues")


class Keys:
    """All keys of the store, held in memory by hash."""

    def __init__(self, store: Store, clock: Clock, new_id: NewId = new_id) -> None:
        self._store, self._clock, self._new_id = store, clock, new_id
        self._by_hash: dict[bytes, Key] = {}

    async def load(self) -> None:
        """Read the keys anew, such as after another process changed them."""
        rows = await self._store.read(lambda tx: tx.fetch("keys"))
        self._by_hash = {row[0]: msgspec.json.decode(row[1], type=Key) for row in rows}

    def authenticate(self, secret: bytes) -> Key:
        """Give the key whose secret this is, byte for byte.

        Raises:
            Unauthenticated: there is none.
        """
        hashed = hash_secret(secret)
        key = self._by_hash.get(hashed)
        if not hmac.compare_digest(hashed, hashed if key else NO_HASH) or key is None:
            raise Unauthenticated("Authentication error")
        return key

    def holds(self, key: Key) -> bool:
        """Say whether a key that was let in is still good."""
        return any(known.id == key.id for known in self._by_hash.values())

    def accounts(self) -> list[str]:
        """Give the accounts that have a key."""
        return sorted({key.account_id for key in self._by_hash.values()})

    def of_account(self, account_id: str) -> list[Key]:
        """Give the account's keys, oldest first."""
        return [key for key in self._by_hash.values() if key.account_id == account_id]

    async def create(
        self,
        account_id: str,
        role: Role,
        *,
        queues: tuple[str, ...] | None = None,
        tenant: str | None = None,
        secret: str | None = None,
        is_test: bool = False,
        from_environment: bool = False,
        is_first: bool = False,
    ) -> tuple[Key, str]:
        """Add a key and give it with its secret, which is shown this once; `secret` brings one's own.

        Raises:
            InvalidInput: a bad account id, queue name, tenant or secret; a tenant with another role than agent or
                producer.
            KeyExists: another key has this secret; or `is_first`, and there is any.
        """
        if secret is None:
            secret = (TEST if is_test else LIVE) + secrets.token_urlsafe(32)
        _check_secret(secret)
        key = Key(
            id=self._new_id(),
            account_id=check_account_id(account_id),
            role=role,
            created_at_ms=self._clock(),
            hint=secret[:SHOWN_CHARACTERS] if len(secret) > 2 * SHOWN_CHARACTERS else "",
            queues=None if queues is None else _checked_names(queues),
            tenant=None if tenant is None else _checked_tenant(tenant, role),
            is_test=is_test or secret.startswith(TEST),
            from_environment=from_environment,
        )
        hashed = hash_secret(_raw(secret))
        entry = entry_of(account_id, key.created_at_ms, "key.created", f"key {key.id}", **_told(key))

        def insert(tx: Transaction) -> None:
            if is_first:
                _check_none(tx)
            _insert(tx, key, hashed)
            audit.note(tx, entry)

        await self._store.write(insert)
        self._by_hash[hashed] = key
        return key, secret

    async def create_first(self, account_id: str) -> str | None:
        """Make an admin key if there is no key at all, and give its secret; of servers that start together one does."""
        if self._by_hash:
            return None
        try:
            _, secret = await self.create(account_id, Role.ADMIN, is_first=True)
        except KeyExists:
            await self.load()
            return None
        return secret

    async def revoke(self, account_id: str, key_id: str) -> None:
        """Remove a key; it is refused from now on.

        Raises:
            KeyNotFound: the account has no key of that id.
            KeyFromEnvironment: it is ADMIN_TOKEN, which each start sets again.
        """
        key = next((key for key in self.of_account(account_id) if key.id == key_id), None)
        if key is None:
            raise _unknown(key_id)
        if key.from_environment:
            raise KeyFromEnvironment(
                "this key is ADMIN_TOKEN of the server's environment; start the server without it, or with another"
            )
        if not await self._delete(key):
            raise _unknown(key_id)

    async def replace_from_environment(self, account_id: str, secret: str | None) -> None:
        """Make `secret` the admin key of the account, in place of what former starts brought; None only removes.

        Raises:
            ConfigurationError: the secret is that of a key with less or other reach.
        """
        try:
            await self._replace_from_environment(account_id, secret)
        except KeyExists:  # another server that starts at this moment was quicker
            await self.load()
            await self._replace_from_environment(account_id, secret)

    async def _replace_from_environment(self, account_id: str, secret: str | None) -> None:
        present = None if secret is None else self._by_hash.get(hash_secret(_raw(secret)))
        if present is not None and (present.account_id, present.role, present.queues) != (account_id, Role.ADMIN, None):
            raise ConfigurationError(
                f"ADMIN_TOKEN is the secret of key {present.id} (role {present.role} of account "
                f"{present.account_id!r}); choose another, or revoke that key"
            )
        for key in list(self._by_hash.values()):
            is_kept = key is present and key.from_environment
            if not is_kept and (key.from_environment or key is present):  # what the environment brings, it takes away
                await self._delete(key)
        if secret is None or (present is not None and present.from_environment):
            return
        await self.create(account_id, Role.ADMIN, secret=secret, from_environment=True)

    async def _delete(self, key: Key) -> bool:
        """Remove a key, and say whether another process has not done so before."""
        entry = entry_of(key.account_id, self._clock(), "key.revoked", f"key {key.id}", **_told(key))

        def delete(tx: Transaction) -> bool:
            was_there = bool(tx.fetch("delete_key", {"id": key.id, "account_id": key.account_id}))
            audit.note(tx, entry if was_there else None)
            return was_there

        was_there = await self._store.write(delete)
        self._by_hash = {hashed: other for hashed, other in self._by_hash.items() if other.id != key.id}
        return was_there


def hash_secret(secret: bytes) -> bytes:
    """Give what is stored in place of a secret: SHA-256, 32 bytes."""
    return hashlib.sha256(secret).digest()


def _unknown(key_id: str) -> KeyNotFound:
    return KeyNotFound(f"key {key_id[:64]!r} does not exist")


def _raw(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogateescape")  # an environment may hold any bytes


def _told(key: Key) -> dict[str, Any]:
    """Give what the audit trail tells of a key."""
    told = {"role": key.role, "queues": key.queues, "tenant": key.tenant}
    return {**told, "is_test": key.is_test or None, "from_environment": key.from_environment or None}


def _check_secret(secret: str) -> None:
    if not secret or secret != secret.strip() or any(character in secret for character in "\r\n\0"):
        raise InvalidInput(
            "the secret is empty, or has white space around it or line breaks in it; a header cannot carry it"
        )


def _checked_tenant(tenant: str, role: Role) -> str:
    if role not in TENANT_ROLES:
        raise InvalidInput(f"role is '{role}'; a key with a tenant has the role {' or '.join(TENANT_ROLES)}")
    if not 1 <= len(tenant) <= TENANT_CHARACTERS or not tenant.isprintable():
        raise InvalidInput(f"tenant is {tenant[:40]!r}; expected 1 to {TENANT_CHARACTERS} printable characters")
    return tenant


def _checked_names(queues: tuple[str, ...]) -> tuple[str, ...]:
    if not queues:
        raise InvalidInput("queues is empty; name the queues that the key is limited to, or leave it out")
    return tuple(check_queue_name(name) for name in queues)


def _check_none(tx: Transaction) -> None:
    tx.hold(FIRST)
    if tx.fetch("keys"):
        raise KeyExists("there is a key already")


def _insert(tx: Transaction, key: Key, hashed: bytes) -> None:
    if tx.fetch_one("key_with_hash", {"secret_hash": hashed}) is not None:
        raise KeyExists("another key has this secret; choose a different one")
    tx.apply(
        "insert_key",
        {
            "id": key.id,
            "account_id": key.account_id,
            "created_at_ms": key.created_at_ms,
            "secret_hash": hashed,
            "value": msgspec.json.encode(key).decode(),
        },
    )
