"""Commands that work on a store itself, also beside the servers that run on it: a data directory, or a database."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from millrace.audit import ACTING, Actor
from millrace.cli.environment import environment
from millrace.cli.places import prepare_place, reader_of
from millrace.clock import Clock
from millrace.config import Settings, read_settings
from millrace.sql.audit import chain
from millrace.sql.store import SqlStore
from millrace.sql.transaction import Transaction

T = TypeVar("T")

COMMAND = Actor("command")
OF_A_DATABASE = ("DATABASE_URL", "DIRECT_DATABASE_URL", "MILLRACE_ROLE")


def is_at_hand(arguments: argparse.Namespace) -> bool:
    """Say whether the command is to work on the store itself."""
    return bool(arguments.data or arguments.store)


def check_place(arguments: argparse.Namespace) -> None:
    """Let a command pass that works either on a store or over HTTP; another ends as wrongly used."""
    if is_at_hand(arguments) and (arguments.url or arguments.token):
        arguments.refuse("--data and --store work on the store itself; leave out --url and --token")
    if arguments.account and not is_at_hand(arguments):
        arguments.refuse("--account goes with --data or --store; over HTTP it is the account of the key")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Give the settings that a server on this store would have, `.env` included; `--data` goes before DATABASE_URL."""
    if arguments.data and arguments.store:
        arguments.refuse("--data names a directory and --store a database; give one of them")
    environ = environment()
    if arguments.data:
        environ = {name: value for name, value in environ.items() if name not in OF_A_DATABASE}
    return read_settings(environ, {"data": arguments.data, "store": arguments.store})


def in_place(settings: Settings, act: Callable[[SqlStore, Clock], Awaitable[T]]) -> T:
    """Open the store for one act of this command.

    Raises:
        StoreRefused: it cannot be used.
    """

    async def run() -> T:
        ACTING.set(COMMAND)
        store = place.open()
        try:
            done = await act(store, place.clock)
            await chain(store)
            return done
        finally:
            await store.close()

    place = prepare_place(settings)
    return asyncio.run(run())


def read_place(settings: Settings, fn: Callable[[Transaction], T]) -> T:
    """Run `fn(tx)` on the store as it is at this moment, without changing or locking anything.

    Raises:
        StoreRefused: there is none, or it cannot be read.
    """
    return reader_of(settings)(fn)
