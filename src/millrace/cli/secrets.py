"""`millrace secret …`: values for programs, sealed in the store; over HTTP, or in a data directory."""

import argparse
import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from millrace.access.cipher import MasterKey
from millrace.access.secrets import Secrets
from millrace.cli.clients import client_of, report
from millrace.cli.directory import check_place, in_place, is_at_hand, settings_of
from millrace.cli.printing import print_json, print_lines, print_table
from millrace.client.wire import quoted
from millrace.clock import Clock
from millrace.config import Settings
from millrace.errors import InvalidInput
from millrace.http.secrets import Deleted, SecretList, SecretObject, secret_object
from millrace.sql.store import SqlStore

T = TypeVar("T")


def put(arguments: argparse.Namespace) -> int:
    """Store a value, read from a prompt or from standard input, so that no list of processes shows it."""
    check_place(arguments)
    value = _read_value(arguments.name)
    if is_at_hand(arguments):
        stored = _in_place(arguments, lambda secrets, account: secrets.put(account, arguments.name, value))
        secret = secret_object(stored)
    else:
        with client_of(arguments) as client:
            answer = client.ask("PUT", f"/api/secrets/{quoted(arguments.name)}", {"value": value})
        secret = msgspec.convert(answer, SecretObject)
    return report(arguments, secret, f"stored secret {secret.name}; programs see it from their next start on")


def list_secrets(arguments: argparse.Namespace) -> int:
    """List secrets: names and times."""
    check_place(arguments)
    if is_at_hand(arguments):
        found = [secret_object(one) for one in _in_place(arguments, lambda of, account: of.of_account(account))]
    else:
        with client_of(arguments) as client:
            found = msgspec.convert(client.ask("GET", "/api/secrets"), SecretList).secrets
    if arguments.json:
        print_json(found)
    elif not found:
        print_lines("no secrets")
    else:
        print_table(("name", "created", "updated"), [(one.name, one.created_at, one.updated_at) for one in found])
    return 0


def delete(arguments: argparse.Namespace) -> int:
    """Remove a secret."""
    check_place(arguments)
    if is_at_hand(arguments):
        _in_place(arguments, lambda secrets, account: secrets.delete(account, arguments.name))
    else:
        with client_of(arguments) as client:
            client.ask("DELETE", f"/api/secrets/{quoted(arguments.name)}")
    return report(arguments, Deleted(arguments.name), f"deleted secret {arguments.name}")


def _in_place(arguments: argparse.Namespace, act: Callable[[Secrets, str], Awaitable[T]]) -> T:
    settings = settings_of(arguments)  # with `.env`, so that the master key is the server's
    account = arguments.account or settings.account_id

    async def run(store: SqlStore, clock: Clock) -> T:
        return await act(Secrets(store, clock, _master_key(settings)), account)

    return in_place(settings, run)


def _master_key(settings: Settings) -> MasterKey:
    """Give the key that a server with these settings would have."""
    return MasterKey(settings.master_key, None if settings.store else settings.data)


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name}: ")
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidInput("the secret's value is not UTF-8; encode it, in base64 say") from None
