"""What Cloudflare's tools ask before they come to the point: who am I, which accounts are mine."""

import msgspec

from millrace import limits
from millrace.access.scopes import Scope
from millrace.http.desk import Desk
from millrace.http.envelope import page, success
from millrace.http.request import Request
from millrace.http.routes import PAGE, Answer, Route

V4 = "/client/v4"


class Account(msgspec.Struct, frozen=True):
    """An account; its name is its id."""

    id: str
    name: str


class Membership(msgspec.Struct, frozen=True):
    """That the key belongs to an account."""

    id: str
    account: Account
    roles: list[str]
    permissions: list[str]


class TokenStatus(msgspec.Struct, frozen=True):
    """That the key is valid."""

    id: str
    status: str


class User(msgspec.Struct, frozen=True):
    """Whom the key stands for."""

    id: str
    email: str


async def list_accounts(desk: Desk, request: Request) -> Answer:
    """List the account of the key."""
    return page([_account(request)], request.number("page", 1, limits.PAGE), 50)


async def list_memberships(desk: Desk, request: Request) -> Answer:
    """List the key's membership in its account."""
    membership = Membership(request.key.id, _account(request), [request.key.role], [])
    return page([membership], request.number("page", 1, limits.PAGE), 50)


async def verify_token(desk: Desk, request: Request) -> Answer:
    """Confirm that the key is valid."""
    return success(TokenStatus(request.key.id, "active"))


async def get_user(desk: Desk, request: Request) -> Answer:
    """Tell whom the key stands for."""
    return success(User(request.key.id, f"{request.key.role}@{request.key.account_id}.invalid"))


async def get_account(desk: Desk, request: Request) -> Answer:
    """Show the account of the key."""
    return success(_account(request))


def _account(request: Request) -> Account:
    return Account(request.key.account_id, request.key.account_id)


NUMBER = {"page": PAGE}

ROUTES = [
    Route(method="GET", path=f"{V4}/accounts", handle=list_accounts, scope=Scope.READ, gives=Account, is_page=True,
          query=NUMBER),
    Route(method="GET", path=f"{V4}/accounts/{{account_id}}", handle=get_account, scope=Scope.READ, gives=Account),
    Route(method="GET", path=f"{V4}/memberships", handle=list_memberships, scope=Scope.READ, gives=Membership,
          is_page=True, query=NUMBER),
    Route(method="GET", path=f"{V4}/user", handle=get_user, scope=Scope.READ, gives=User),
    Route(method="GET", path=f"{V4}/user/tokens/verify", handle=verify_token, scope=Scope.READ, gives=TokenStatus),
]  # fmt: skip
