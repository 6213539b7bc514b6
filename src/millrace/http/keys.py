"""Keys over HTTP, for the admin of an account."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.access.keys import Key
from millrace.access.scopes import Role, Scope
from millrace.clock import iso_milliseconds
from millrace.errors import Forbidden, InvalidRequest, KeyExists, KeyFromEnvironment, KeyNotFound
from millrace.http.desk import Desk
from millrace.http.queues import QueueName
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route


class CreateKey(msgspec.Struct, frozen=True):
    """A new key; `queues` limits it to queues of these names, `secret` brings one's own."""

    role: Role = Role.ADMIN
    account: str | None = None
    queues: list[QueueName] | None = None
    tenant: str | None = None
    secret: Annotated[str, Meta(extra_json_schema={"pattern": "^[!-~]+$"})] | None = None
    test: bool = False


class KeyObject(msgspec.Struct, frozen=True):
    """What is known of a key. The secret is there once, in the answer that made it."""

    id: str
    account: str
    role: Role
    created_at: str
    hint: str
    queues: list[str] | None
    test: bool
    tenant: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class KeyList(msgspec.Struct, frozen=True):
    """The keys of the account."""

    keys: list[KeyObject]


class Revoked(msgspec.Struct, frozen=True):
    """That a key is refused from now on."""

    revoked: str


CREATE = Shape(CreateKey, InvalidRequest)


async def create_key(desk: Desk, request: Request) -> Answer:
    """Make a key and show its secret, this once."""
    body: CreateKey = CREATE.read(request.body)
    if body.account not in (None, request.key.account_id):
        raise Forbidden(
            f"this key makes keys of account {request.key.account_id!r} only; "
            "use `millrace keys create --data DIR --account …` beside the server for others"
        )
    if request.key.queues is not None and not set(body.queues or ["*"]) <= set(request.key.queues):
        raise Forbidden("this key is limited to some queues, and so are the keys it makes; name queues among those")
    key, secret = await desk.keys.create(
        request.key.account_id,
        body.role,
        queues=None if body.queues is None else tuple(body.queues),
        tenant=body.tenant,
        secret=body.secret,
        is_test=body.test,
    )
    return Answer(msgspec.json.encode(key_object(key, secret)), 201)


async def list_keys(desk: Desk, request: Request) -> Answer:
    """List the account's keys, without their secrets."""
    keys = [key_object(key) for key in desk.keys.of_account(request.key.account_id) if _is_within(key, request.key)]
    return Answer(msgspec.json.encode(KeyList(keys)))


async def revoke_key(desk: Desk, request: Request) -> Answer:
    """Refuse a key from now on."""
    for key in desk.keys.of_account(request.key.account_id):
        if key.id == request.params["key_id"] and not _is_within(key, request.key):
            raise KeyNotFound(f"key {key.id!r} does not exist")
    await desk.keys.revoke(request.key.account_id, request.params["key_id"])
    return Answer(msgspec.json.encode(Revoked(request.params["key_id"])))


def _is_within(key: Key, other: Key) -> bool:
    """Say whether a key reaches no further than the other."""
    return other.queues is None or (key.queues is not None and set(key.queues) <= set(other.queues))


def key_object(key: Key, secret: str | UnsetType = UNSET) -> KeyObject:
    """Show a key."""
    queues: Any = list(key.queues) if key.queues else None
    return KeyObject(
        key.id,
        key.account_id,
        key.role,
        iso_milliseconds(key.created_at_ms),
        key.hint,
        queues,
        key.is_test,
        UNSET if key.tenant is None else key.tenant,
        secret,
    )


ROUTES = [
    Route(method="POST", path="/api/keys", handle=create_key, scope=Scope.KEYS, takes=CREATE, gives=KeyObject,
          refuses=(InvalidRequest, KeyExists), status=201),
    Route(method="GET", path="/api/keys", handle=list_keys, scope=Scope.KEYS, gives=KeyList),
    Route(method="DELETE", path="/api/keys/{key_id}", handle=revoke_key, scope=Scope.KEYS, gives=Revoked,
          refuses=(KeyNotFound, KeyFromEnvironment)),
]  # fmt: skip
