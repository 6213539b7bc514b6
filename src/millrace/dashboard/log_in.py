"""Log in with a key, and out; both leave an entry in the audit trail of the key's account."""

from millrace.access.keys import Key
from millrace.audit import ACTING, Actor, entry_of
from millrace.dashboard.pages import check_member, in_words, roles_of
from millrace.dashboard.sessions import Session, Sessions, cookie_header
from millrace.dashboard.tries import Tries
from millrace.dashboard.turn import Turn, redirect, root_of
from millrace.dashboard.visits import VISIT
from millrace.errors import Forbidden, Unauthenticated
from millrace.http.routes import Answer
from millrace.sql import audit

UNKNOWN = "No key has this secret."
TOO_MANY = "Too many tries have failed. Try again in {seconds} s."


class LogIn:
    """The pages of log-in and log-out, over the sessions and the tries that failed."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions, self._tries = sessions, Tries()

    async def show_log_in(self, turn: Turn) -> Answer:
        """Ask for a key; a person who needs none is let in."""
        key = turn.request.key
        if isinstance(key, Session):
            return turn.go()
        if key is self._sessions.keyless:
            return await self._let_in(turn, key)
        return self._form(turn)

    async def log_in(self, turn: Turn) -> Answer:
        """Begin a session with the key that was given.

        Raises:
            Forbidden: the form was sent by a page of another site, or no page is for the key.
            StoreUnavailable: the log-in could not be noted; nobody was let in.
        """
        visit, now_ms = VISIT.get(), turn.desk.clock()
        if not visit.is_own:
            raise Forbidden("this came from a page of another site, or from a browser that does not say where from")
        wait_ms = self._tries.wait_ms(visit.address, now_ms)
        if wait_ms:
            return self._form(turn, 429, TOO_MANY.format(seconds=-(-wait_ms // 1000)))
        try:
            key = turn.desk.keys.authenticate(turn.form.text("key").strip().encode())
        except Unauthenticated:
            self._tries.note_failure(visit.address, now_ms)
            return self._form(turn, 401, UNKNOWN)
        check_member(key, turn.frame.pages)
        self._tries.forget(visit.address)
        return await self._let_in(turn, key)

    async def log_out(self, turn: Turn) -> Answer:
        """End the session, also when that cannot be noted.

        Raises:
            StoreUnavailable: it could not be noted.
        """
        if isinstance(turn.request.key, Session):
            self._sessions.close(turn.request.key)
            await _note(turn, turn.request.key, "dashboard.logged_out")
        address = f"{root_of(turn.request.path)}/login"
        return redirect(address, cookie_header("", is_https=VISIT.get().is_https))

    def _form(self, turn: Turn, status: int = 200, problem: str = "") -> Answer:
        return turn.page(
            "log_in.html",
            status,
            problem=problem,
            roles=in_words(roles_of(turn.frame.pages), "or"),
            needs_no_key=self._sessions.keyless is not None,
        )

    async def _let_in(self, turn: Turn, key: Key) -> Answer:
        await _note(turn, key, "dashboard.logged_in")
        cookie = self._sessions.open(key)
        return redirect(root_of(turn.request.path), cookie_header(cookie, is_https=VISIT.get().is_https))


async def _note(turn: Turn, key: Key, act: str) -> None:
    """Write who came or left into the trail; the door has a browser that logs in for a guest."""
    ACTING.set(Actor(key.id, turn.request.correlation_id))
    entry = entry_of(key.account_id, turn.desk.clock(), act, f"key {key.id}", role=key.role)
    await turn.desk.store.write(lambda tx: audit.note(tx, entry))
