"""Where a store lies: a SQLite file or a PostgreSQL database, as a URL names it."""

from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

from millrace.errors import ConfigurationError

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


class Place(msgspec.Struct, frozen=True):
    """A place for a store; `location` is a path or a URL."""

    kind: Literal["sqlite", "postgres"]
    location: str

    @property
    def path(self) -> Path:
        """Give the file; only of a SQLite place."""
        return Path(self.location)

    def __str__(self) -> str:
        return self.location if self.kind == "sqlite" else _without_password(self.location)


def place_of(url: str) -> Place:
    """Read `sqlite:///relative/millrace.db`, `sqlite:////absolute/millrace.db` or `postgresql://…`.

    Raises:
        ConfigurationError: it is none of them.
    """
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        return Place("sqlite", unquote(url[len(SQLITE) :]))
    if url.startswith(POSTGRES):
        return Place("postgres", url)
    scheme = url.partition("://")[0][:20]
    raise ConfigurationError(
        f"the place of a store begins with {scheme!r}; expected sqlite:///path/millrace.db (four slashes for a path from "
        "the root) or postgresql://user@host/database"
    )


def _without_password(url: str) -> str:
    """Show the scheme, the hosts and the database: a password may stand before them, and after them."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
