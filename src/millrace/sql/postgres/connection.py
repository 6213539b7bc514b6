"""Connections: how they are opened, what they are told, and what their errors mean."""

import threading
from time import monotonic
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow

from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.sql.postgres.packing import teach

Connection = psycopg.Connection[TupleRow]

CONNECT_SECONDS = 5
REFUSED_SECONDS = 0.25  # after a vain attempt nobody tries again for so long
STATEMENT_MS = 30_000  # no statement of ours takes a second; one that does waits for somebody or something
LOCK_MS = 5_000
IDLE_IN_TRANSACTION_MS = 60_000

# libpq's own words; whatever the URL says goes before them
DEFAULTS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "target_session_attrs": "read-write",
    "application_name": "millrace",
    "keepalives_idle": 5,  # with these a machine that is gone is given up after 10 s, asked or not
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
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
    "client_min_messages": "warning",  # one of them says that a commit is on this machine only
    "statement_timeout": str(STATEMENT_MS),
    "lock_timeout": str(LOCK_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
}
# The same for the other end: what a server's machine held when it vanished, such as the lead, is free soon.
ENDS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "10000",
}
KEEPS_SYNCHRONY = ("on", "remote_apply")  # what a database may have chosen beyond ours

RETRIED = ("40001", "40P01", "23505")  # serialization failure, deadlock, a row that another server was quicker to write
# The connection, the right to write on it, or the statements that were prepared there, for columns that have changed.
GONE = ("08", "57P", "25006", "25P03", "25P04", "0A000", "26000")
OURS = ("21", "22", "23", "42")  # what only a mistake in a statement brings about
NOT_OURS = ("42501", "42P01")


class Entrance:
    """Opens connections to one database. After a vain attempt one thread at a time tries again, and others are refused.

    Else all who wait for a machine that does not answer would wait in turn, each for as long as an attempt takes.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._trying = threading.Lock()
        self._refusal = ""
        self._again_at = self._opened_at = 0.0

    def open(self) -> tuple["Connection", str]:
        """Open a connection; see `connect`."""
        if not self._refusal:
            return self._open()
        if monotonic() < self._again_at or not self._trying.acquire(blocking=False):
            raise StoreUnavailable(self._refusal)
        try:
            return self._open()
        finally:
            self._trying.release()

    def _open(self) -> tuple["Connection", str]:
        began = monotonic()
        try:
            opened = connect(self._url)
        except StoreUnavailable as error:
            if self._opened_at < began:  # else another thread was let in meanwhile, and this is no news
                self._refusal, self._again_at = str(error), monotonic() + REFUSED_SECONDS
            raise
        self._refusal, self._opened_at = "", monotonic()
        return opened


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
        settings += ENDS.items()
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
        raise _unreadable(str(error).partition('"')[0].strip(" :\n")) from None  # what is quoted may be the password
    if "@" in str(given.get("host", "")).lstrip("@"):
        raise _unreadable("it has two @; write the one in the password as %40")
    if not all(port.isdecimal() for port in str(given.get("port") or "5432").split(",")):
        raise _unreadable("the port is no number; write / and : in the password as %2F and %3A")
    return conninfo.make_conninfo("", **{**DEFAULTS, **given})


def _unreadable(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the URL of the database cannot be read: {what}; expected postgresql://user:password@host:5432/database"
    )


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


def is_gone(error: BaseException) -> bool:
    """Say whether the connection was lost, or leads to a server that takes no writes; another one may be better."""
    if not isinstance(error, psycopg.Error):
        return False
    return isinstance(error, psycopg.OperationalError) if error.sqlstate is None else error.sqlstate.startswith(GONE)


def told(error: psycopg.Error) -> Exception:
    """Give what a caller is told: that the database cannot serve him now, or that we have made a mistake.

    The text of an error holds values, such as bodies, so nobody gets to see it.
    """
    state = error.sqlstate or ""
    is_mistake = not state and not isinstance(error, psycopg.OperationalError)
    if not is_mistake and (not state.startswith(OURS) or state in (*RETRIED, *NOT_OURS)):
        return unavailable(error)
    mistake = RuntimeError(f"PostgreSQL refused a statement ({state or type(error).__name__})")
    return mistake.with_traceback(error.__traceback__)


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    """Make what a caller is told: no text of a statement, no host, no value."""
    state = error.sqlstate or _state_in(str(error))
    what = next((WHAT_TO_DO[part] for part in (state, state[:3], state[:2]) if part in WHAT_TO_DO), UNKNOWN_STATE)
    found = StoreUnavailable(f"the database {what} ({error.sqlstate or type(error).__name__})")
    if error.sqlstate is None:  # the words of libpq, for the log: hosts and users, and no values
        found.__cause__ = error
    return found


def _state_in(text: str) -> str:
    """Find out why no connection was made: libpq tells in words only, and several hosts one after the other."""
    return next((state for words, state in REFUSALS if words in text), "")


REFUSALS = (
    ("password authentication failed", "28"),
    ("no password supplied", "28"),
    ("pg_hba.conf", "28"),
    ("permission denied for database", "42501"),
    ("SSL", "TLS"),
    ("sslmode", "TLS"),
    ("too many connections", "53300"),
    ("too many clients", "53300"),
    ("connection slots are reserved", "53300"),
    ("is read-only", "25006"),
    ("server is in hot standby mode", "25006"),
    ("the database system is", "57P"),
    ("role ", "28"),
    ("database ", "3D000"),
    ("resolve host", "08"),
    ("translate host", "08"),
    ("refused", "08"),
    ("No such file", "08"),
    ("timeout", "08"),
    ("connection", "08"),
)

UNKNOWN_STATE = "cannot be used now"
WHAT_TO_DO = {
    "08": "cannot be reached; check the host and the port in the URL, and that it runs",
    "25006": "is a standby or read-only; name all hosts in the URL, or promote one",
    "28": "refuses the user or the password; check the URL",
    "3D000": "does not exist; create it, or check the URL",
    "42501": "refuses what this user needs; grant it the rights that docs/operating.md lists",
    "42P01": "lacks a table; run millrace db migrate",
    "53": "is out of resources; look at its log",
    "53100": "has no room left on its disk; make room",
    "53200": "is out of memory",
    "53300": "has too many connections; raise max_connections, or run fewer servers",
    "55P03": "keeps something locked for too long; look for a transaction that was left open",
    "57014": "takes too long; look for what it waits for",
    "57P": "is shutting down or starting",
    "TLS": "cannot be reached in the way that the URL asks for; check sslmode and sslrootcert in it",
}
