"""Secrets over HTTP, for the admin of an account: put, listed by name, deleted; never shown."""

import msgspec

from millrace.access.scopes import Scope
from millrace.access.secrets import Secret, Secrets
from millrace.clock import iso_milliseconds
from millrace.errors import InvalidInput, SecretNotFound
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route


class SecretBody(msgspec.Struct, frozen=True):
    """The value that a program will find under the name."""

    value: str


class SecretObject(msgspec.Struct, frozen=True):
    """What is known of a secret. Its value is in no answer."""

    name: str
    created_at: str
    updated_at: str


class SecretList(msgspec.Struct, frozen=True):
    """The secrets of the account, by name."""

    secrets: list[SecretObject]


class Deleted(msgspec.Struct, frozen=True):
    """That a secret is gone."""

    deleted: str


PUT = Shape(SecretBody)
SUBJECT = "secrets belong to the whole account"


def routes(secrets: Secrets) -> list[Route]:
    """Give the routes over these secrets."""

    async def put_secret(desk: Desk, request: Request) -> Answer:
        """Store a value under a name, in place of the one before; programs see it from their next start on."""
        check_unlimited(request, SUBJECT)
        body: SecretBody = PUT.read(request.body)
        secret = await secrets.put(request.key.account_id, request.params["name"], body.value)
        return Answer(msgspec.json.encode(secret_object(secret)))

    async def list_secrets(desk: Desk, request: Request) -> Answer:
        """List the account's secrets: names and times."""
        check_unlimited(request, SUBJECT)
        found = [secret_object(secret) for secret in await secrets.of_account(request.key.account_id)]
        return Answer(msgspec.json.encode(SecretList(found)))

    async def delete_secret(desk: Desk, request: Request) -> Answer:
        """Remove a secret."""
        check_unlimited(request, SUBJECT)
        await secrets.delete(request.key.account_id, request.params["name"])
        return Answer(msgspec.json.encode(Deleted(request.params["name"])))

    one, refuses = "/api/secrets/{name}", (SecretNotFound,)
    return [
        Route(method="GET", path="/api/secrets", handle=list_secrets, scope=Scope.SECRETS, gives=SecretList),
        Route(method="PUT", path=one, handle=put_secret, scope=Scope.SECRETS, takes=PUT, gives=SecretObject,
              refuses=(InvalidInput,)),
        Route(method="DELETE", path=one, handle=delete_secret, scope=Scope.SECRETS, gives=Deleted, refuses=refuses),
    ]  # fmt: skip


def secret_object(secret: Secret) -> SecretObject:
    """Show a secret."""
    return SecretObject(secret.name, iso_milliseconds(secret.created_at_ms), iso_milliseconds(secret.updated_at_ms))
