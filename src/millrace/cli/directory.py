"""Commands that work on a data directory, also beside the server that runs on it."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from millrace.audit import ACTING, Actor
from millrace.cli.applications import SCHEMAS
from millrace.clock import Clock, clock_after
from millrace.sql.audit import chain
from millrace.sql.sqlite.directory import prepare_directory
from millrace.sql.store import SqlStore
from millrace.sql.stores import sqlite_store

T = TypeVar("T")

COMMAND = Actor("command")


def check_place(arguments: argparse.Namespace) -> None:
    """Let a command pass that works either on a directory or over HTTP; another ends as wrongly used."""
    if arguments.data and (arguments.url or arguments.token):
        arguments.refuse("--data works on the directory itself; leave out --url and --token")
    if arguments.account and not arguments.data:
        arguments.refuse("--account goes with --data; over HTTP it is the account of the key")


def in_directory(folder: Path, act: Callable[[SqlStore, Clock], Awaitable[T]]) -> T:
    """Open the store of a data directory for one act of this command.

    Raises:
        StoreRefused: the directory cannot be used.
    """

    async def run() -> T:
        ACTING.set(COMMAND)
        prepared = prepare_directory(folder, SCHEMAS)
        clock = clock_after(prepared.last)
        store = sqlite_store(str(prepared.database), clock, schemas=SCHEMAS)
        try:
            done = await act(store, clock)
            await chain(store)
            return done
        finally:
            await store.close()

    return asyncio.run(run())
