"""`millrace keys …`: over HTTP, or in a data directory, also beside the server that runs on it."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from millrace.access.keys import Key, Keys
from millrace.access.scopes import Role
from millrace.cli.clients import client_of
from millrace.cli.directory import in_place, is_at_hand, settings_of
from millrace.cli.printing import print_json, print_lines, print_table
from millrace.client.objects import KeyObject
from millrace.client.synchronous import Client
from millrace.clock import Clock
from millrace.errors import Forbidden, KeyNotFound
from millrace.http.keys import key_object
from millrace.sql.store import SqlStore

T = TypeVar("T")


def create(arguments: argparse.Namespace) -> int:
    """Make a key. Standard output has its secret and nothing else, so that it can go into a variable or a file."""
    _check_place(arguments)
    secret = _read_secret() if arguments.secret_stdin else None
    key = _create_in(arguments, secret) if is_at_hand(arguments) else _create_remotely(arguments, secret)
    if arguments.json:
        print_json(key)
        return 0
    made = f"made {key['role']} key {key['id']} of account {key['account']}"
    print(made if secret else f"{made}; its secret is shown this once:", file=sys.stderr, flush=True)
    if secret is None:
        print_lines(key["secret"])
    return 0


def list_keys(arguments: argparse.Namespace) -> int:
    """List keys without their secrets: of the account, or with --data of all."""
    _check_place(arguments)
    keys = _list_in(arguments) if is_at_hand(arguments) else _list_remotely(arguments)
    if arguments.json:
        print_json(keys)
    elif not keys:
        print_lines("no keys")
    else:
        print_table(("id", "account", "role", "queues", "begins with", "created"), [_row(key) for key in keys])
    return 0


def revoke(arguments: argparse.Namespace) -> int:
    """Refuse a key from now on."""
    _check_place(arguments)
    if is_at_hand(arguments):
        _in_place(arguments, lambda keys: _revoke(keys, arguments.id, arguments.account))
    else:
        with client_of(arguments) as client:
            _check_account(client, arguments.account)
            client.revoke_key(arguments.id)
    if arguments.json:
        print_json({"revoked": arguments.id})
    else:
        print_lines(f"revoked key {arguments.id}")
    return 0


def _create_in(arguments: argparse.Namespace, secret: str | None) -> KeyObject:
    account = arguments.account or settings_of(arguments).account_id
    queues = tuple(arguments.queues) if arguments.queues else None
    key, shown = _in_place(
        arguments,
        lambda keys: keys.create(
            account, Role(arguments.role), queues=queues, tenant=arguments.tenant, secret=secret, is_test=arguments.test
        ),
    )
    return _object(key, shown)


def _create_remotely(arguments: argparse.Namespace, secret: str | None) -> KeyObject:
    with client_of(arguments) as client:
        return client.create_key(
            arguments.role,
            account=arguments.account,
            queues=arguments.queues,
            tenant=arguments.tenant,
            secret=secret,
            is_test=arguments.test,
        )


def _list_in(arguments: argparse.Namespace) -> list[KeyObject]:
    async def read(keys: Keys) -> list[Key]:
        accounts = keys.accounts() if arguments.account is None else [arguments.account]
        return [key for account in accounts for key in keys.of_account(account)]

    return [_object(key) for key in _in_place(arguments, read)]


def _list_remotely(arguments: argparse.Namespace) -> list[KeyObject]:
    with client_of(arguments) as client:
        _check_account(client, arguments.account)
        return client.keys()


async def _revoke(keys: Keys, key_id: str, account: str | None) -> None:
    for owner in keys.accounts() if account is None else [account]:
        if any(key.id == key_id for key in keys.of_account(owner)):
            await keys.revoke(owner, key_id)
            return
    raise KeyNotFound(f"key {key_id[:64]!r} does not exist")


def _in_place(arguments: argparse.Namespace, act: Callable[[Keys], Awaitable[T]]) -> T:
    async def run(store: SqlStore, clock: Clock) -> T:
        keys = Keys(store, clock)
        await keys.load()
        return await act(keys)

    return in_place(settings_of(arguments), run)


def _check_place(arguments: argparse.Namespace) -> None:
    if is_at_hand(arguments) and (arguments.url or arguments.token):
        arguments.refuse("--data and --store work on the store itself; leave out --url and --token")


def _check_account(client: Client, account: str | None) -> None:
    if account not in (None, client.account_id()):
        raise Forbidden(f"this key sees keys of account {client.account_id()!r} only; use --data or --store for others")


def _read_secret() -> str:
    raw = sys.stdin.buffer.read()
    return raw.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")


def _object(key: Key, secret: str | None = None) -> KeyObject:
    shown: KeyObject = msgspec.to_builtins(key_object(key, msgspec.UNSET if secret is None else secret))
    return shown


def _row(key: KeyObject) -> tuple[str, ...]:
    queues = ", ".join(key["queues"]) if key["queues"] else "all"
    return key["id"], key["account"], key["role"], queues, key["hint"], key["created_at"]
