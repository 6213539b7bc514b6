"""Connections: how they are opened, what they are told, and what their errors mean."""

from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow

from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.sql.postgres.packing import teach

Connection = psycopg.Connection[TupleRow]

CONNECT_SECONDS = 5
STATEMENT_MS = 30_000  # no statement of ours takes a second; one that does waits for somebody or something
LOCK_MS = 5_000
IDLE_IN_TRANSACTION_MS = 60_000

# libpq's own words; whatever the URL says goes before them
DEFAULTS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "target_session_attrs": "read-write",
    "application_name": "millrace",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "client_encoding": "UTF8",
}

# Each statement is written for one plan, by an index; with the statistics of a queue that was empty a moment ago the
# planner would choose another one and keep it.
SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "synchronous_commit": "on",
    "statement_timeout": str(STATEMENT_MS),
    "lock_timeout": str(LOCK_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
}
KEEPS_SYNCHRONY = ("on", "remote_apply")  # what a database may have chosen beyond ours

RETRIED = ("40001", "40P01", "23505")  # serialization failure, deadlock, a row that another server was quicker to write


def connect(url: str) -> tuple[Connection, str]:
    """Open a connection; give it with the statement that begins a transaction on it.

    Behind a pooler of transactions a setting would stay with a connection that others get, so there each transaction
    makes its own, and nothing is prepared.

    Raises:
        StoreUnavailable: there is no such database now.
    """
    try:
        connection: Connection = psycopg.connect(
            complete(url), autocommit=True, cursor_factory=psycopg.RawCursor, prepare_threshold=0
        )
    except psycopg.Error as error:
        raise unavailable(error) from error
    try:
        teach(connection)
        settings = _settings(connection)
        if is_pooled(connection):
            connection.prepare_threshold = None
            return connection, "begin; " + "; ".join(f"set local {name} = {value}" for name, value in settings)
        connection.execute("; ".join(f"set {name} = {value}" for name, value in settings), prepare=False)
    except psycopg.Error as error:
        connection.close()
        raise unavailable(error) from error
    return connection, "begin"


def complete(url: str) -> str:
    """Add what a URL leaves open.

    Raises:
        ConfigurationError: it is none that libpq understands.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            f"the URL of the database cannot be read: {str(error).strip()}; "
            "expected postgresql://user:password@host:5432/database"
        ) from None
    return conninfo.make_conninfo("", **{**DEFAULTS, **given})


def shown(url: str) -> str:
    """Give what may be shown of a URL: host and database, never a password."""
    given = conninfo.conninfo_to_dict(complete(url))
    host, port = str(given.get("host") or "localhost"), given.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{given.get('dbname') or ''}"


def is_pooled(connection: Connection) -> bool:
    """Say whether a pooler stands between: it gives every client a process number of its own invention."""
    row = connection.execute("select pg_backend_pid()", prepare=False).fetchone()
    return row is None or row[0] != connection.info.backend_pid


def _settings(connection: Connection) -> list[tuple[str, str]]:
    row = connection.execute("show synchronous_commit", prepare=False).fetchone()
    keeps = row is not None and row[0] in KEEPS_SYNCHRONY
    return [(name, value) for name, value in SETTINGS.items() if not (keeps and name == "synchronous_commit")]


def is_worth_another_try(error: Exception) -> bool:
    """Say whether the same transaction may well succeed when it is run again."""
    return isinstance(error, psycopg.Error) and error.sqlstate in RETRIED


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    """Make what a caller is told: no text of a statement, no host, no value."""
    what = WHAT_TO_DO.get(error.sqlstate or "") or WHAT_TO_DO.get((error.sqlstate or "")[:2]) or "cannot be used now"
    found = StoreUnavailable(f"the database {what} ({error.sqlstate or type(error).__name__})")
    found.__cause__ = error
    return found


WHAT_TO_DO = {
    "25006": "is a standby or read-only; name all hosts in the URL, or promote one",
    "28": "refuses the user or the password; check the URL",
    "3D000": "does not exist; create it, or check the URL",
    "42501": "refuses what this user needs; grant it the rights that docs/operating.md lists",
    "42P01": "lacks a table; run millrace db migrate",
    "53100": "has no room left on its disk; make room",
    "53200": "is out of memory",
    "53300": "has too many connections; raise max_connections, or run fewer servers",
    "55P03": "keeps something locked for too long; look for a transaction that was left open",
    "57014": "takes too long; look for what it waits for",
    "57P": "is shutting down or starting",
}
