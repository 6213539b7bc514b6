"""Where connections are at home: in the process that opened them, and those of an AsyncClient in its event loop."""

import os
from typing import TYPE_CHECKING, NamedTuple

from millrace.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Home(NamedTuple):
    """The only place that may use a connection."""

    process: int
    loop: "AbstractEventLoop | None"


def home_of_process() -> Home:
    """Give this process: after a fork the child must not read what the parent is answered."""
    return Home(os.getpid(), None)


def home_of_loop() -> Home:
    """Give this process and the event loop that runs now."""
    from asyncio import get_running_loop  # who has a loop has loaded it

    return Home(os.getpid(), get_running_loop())


def check_free(old: Home | None, new: Home) -> None:
    """Let connections be opened in a new home once the old one is gone.

    Raises:
        ConfigurationError: the old event loop still runs, or may run again.
    """
    if old is not None and old.loop is not None and old.process == new.process and not old.loop.is_closed():
        raise ConfigurationError(
            "this AsyncClient is used by another event loop, which is still open; make a client for each loop"
        )
