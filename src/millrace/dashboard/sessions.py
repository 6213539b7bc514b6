"""Sessions: who has logged in with a key. They are kept in memory, so a restart ends them."""

import hashlib
import secrets

import msgspec

from millrace.access.keys import Key, Keys
from millrace.access.scopes import Role
from millrace.clock import Clock
from millrace.dashboard.visits import VISIT
from millrace.http.routes import Caller

COOKIE = "millrace-session"
SESSION_SECONDS = 43_200
SESSIONS = 1_000  # of all accounts; a further one ends the oldest
LOGIN = "/dashboard/login"

GUEST = Key(id="guest", account_id="", role=Role.PRODUCER, created_at_ms=0, hint="", queues=())


class Session(Key, frozen=True, kw_only=True):
    """The key that a browser logged in with, while it counts. Each form of a page must bring the `token`.

    `is_keyless` when a person at this machine was let in without one.
    """

    token: str
    ends_at_ms: int
    is_keyless: bool

    def is_token(self, given: str) -> bool:
        """Say whether a form brought this session's token."""
        return secrets.compare_digest(self.token.encode(), given.encode())


class Sessions:
    """All sessions, by the hash of their cookie. `keyless` is whom people at this machine stand for, in local mode."""

    def __init__(self, keys: Keys, clock: Clock, keyless: Key | None = None) -> None:
        self._keys, self._clock, self.keyless = keys, clock, keyless
        self._by_hash: dict[bytes, Session] = {}

    def admit(self, caller: Caller) -> Key | None:
        """Let a browser in as its session's key, or as a guest, who is shown nothing; leave bearers to the keys."""
        if caller.bearer is not None:
            return None
        session = self.find(caller.cookie)
        if session is not None:
            return session
        asks_to_log_in = caller.method == "GET" and caller.path == LOGIN
        return self.keyless if self.keyless and asks_to_log_in and VISIT.get().is_local else GUEST

    def open(self, key: Key) -> str:
        """Begin a session and give the value of its cookie."""
        now_ms, cookie = self._clock(), secrets.token_urlsafe(32)
        self._by_hash = {hashed: other for hashed, other in self._by_hash.items() if other.ends_at_ms > now_ms}
        if len(self._by_hash) >= SESSIONS:
            del self._by_hash[next(iter(self._by_hash))]
        self._by_hash[_hash(cookie)] = Session(
            **msgspec.structs.asdict(key),
            token=secrets.token_urlsafe(32),
            ends_at_ms=now_ms + SESSION_SECONDS * 1000,
            is_keyless=key is self.keyless,
        )
        return cookie

    def find(self, header: bytes) -> Session | None:
        """Give the session that a Cookie header names, as long as its time runs and its key is good."""
        session = self._by_hash.get(_hash(_value_of(header)))
        if session is None or session.ends_at_ms <= self._clock():
            return None
        return session if session.is_keyless or self._keys.holds(session) else None

    def close(self, session: Session) -> None:
        """End a session."""
        self._by_hash = {hashed: other for hashed, other in self._by_hash.items() if other.token != session.token}


def cookie_header(value: str, *, is_https: bool) -> tuple[bytes, bytes]:
    """Give the header that sets the cookie, or forgets it when the value is empty.

    It names no path: so the browser keeps it for the folder of the log-in, whatever stands before that.
    """
    age_seconds = SESSION_SECONDS if value else 0
    secure = "; Secure" if is_https else ""
    cookie = f"{COOKIE}={value}; Max-Age={age_seconds}; HttpOnly; SameSite=Strict{secure}"
    return b"set-cookie", cookie.encode()


def _value_of(header: bytes) -> str:
    for pair in header.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("latin-1", "replace")).digest()
