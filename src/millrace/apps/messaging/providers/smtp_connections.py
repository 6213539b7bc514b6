"""Connections to a mail server: made and authenticated once, and used for one message after another."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import msgspec
from aiosmtplib import SMTP, SMTPException, SMTPHeloError, SMTPResponseException

from millrace.apps.messaging.providers.smtp_replies import Step
from millrace.apps.messaging.settings import SmtpSettings

IDLE_SECONDS = 30
REUSE_SECONDS = 5  # for the sign of life of a connection that was idle
QUIT_SECONDS = 2
TLS_PORT = 465


class Progress(msgspec.Struct):
    """How far an attempt has come."""

    step: Step = "connection"


class NoTurn(Exception):
    """All connections were in use for too long."""


class SmtpConnections:
    """As many connections to one server as its settings allow, of which idle ones are closed after 30 s.

    Args:
        settings: Which server.
        tls: Whose certificates are trusted; None trusts what the system trusts.
        turn_seconds: For how long an attempt waits until one of the connections is free.
    """

    def __init__(self, settings: SmtpSettings, tls: ssl.SSLContext | None, *, turn_seconds: float) -> None:
        self._settings, self._tls, self._turn_seconds = settings, tls, turn_seconds
        self._turns = asyncio.Semaphore(settings.connections)
        self._idle: dict[SMTP, asyncio.TimerHandle] = {}
        self._is_closed = False

    @asynccontextmanager
    async def one(self, progress: Progress) -> AsyncIterator[SMTP]:
        """Lend a connection on which nothing was begun; `progress` is told how far it has come.

        After a reply it goes back, whatever the reply was; after anything else nobody knows what it would say next.

        Raises:
            NoTurn: none was free in time.
        """
        async with self._turn():
            connection = await self._idle_one() or await self._open(progress)
            try:
                yield connection
            except SMTPResponseException:
                self._give_back(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            yield
        finally:
            self._turns.release()

    async def aclose(self) -> None:
        """Take leave on the idle connections, and close those in use when they come back."""
        self._is_closed = True
        connections, self._idle = self._idle, {}
        for connection, timer in connections.items():
            timer.cancel()
            with suppress(SMTPException, OSError):
                await connection.quit(timeout=QUIT_SECONDS)
            connection.close()

    def _give_back(self, connection: SMTP) -> None:
        if self._is_closed or not connection.is_connected:
            connection.close()
            return
        self._idle[connection] = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire, connection)

    def _expire(self, connection: SMTP) -> None:
        del self._idle[connection]
        connection.close()

    async def _idle_one(self) -> SMTP | None:
        """Give the one that was used last, if it still answers; RSET forgets what a refused message left behind."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            try:
                await connection.rset(timeout=REUSE_SECONDS)
            except (SMTPException, OSError):
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        return None

    async def _open(self, progress: Progress) -> SMTP:
        settings = self._settings
        connection = SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=None,  # the whole attempt has one
            use_tls=_is_tls_at_once(settings),
            start_tls=False,
            tls_context=await self._context(),
        )
        try:
            await connection.connect()
            await self._secure(connection, progress)
            await self._log_in(connection, progress)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _secure(self, connection: SMTP, progress: Progress) -> None:
        if self._settings.tls == "off" or _is_tls_at_once(self._settings):
            return
        progress.step = "greeting"
        try:
            await connection.ehlo()
        except SMTPHeloError:  # a server without extensions
            await connection.helo()
        progress.step = "tls"
        if self._settings.tls == "starttls" or connection.supports_extension("starttls"):
            await connection.starttls()

    async def _log_in(self, connection: SMTP, progress: Progress) -> None:
        user = self._settings.user
        if user is None:
            return
        progress.step = "auth"
        if self._settings.tls != "off" and not _is_private(connection):
            raise SMTPException("the server offers no TLS, so the password was not sent; tls=off would send it")
        await connection.login(user, self._settings.password or "")

    async def _context(self) -> ssl.SSLContext | None:
        """Load the system's certificates once, not for each connection; SSL_CERT_FILE adds the operator's own."""
        if self._tls is None and self._settings.tls != "off":
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _is_tls_at_once(settings: SmtpSettings) -> bool:
    return settings.tls == "on" or (settings.tls == "auto" and settings.port == TLS_PORT)


def _is_private(connection: SMTP) -> bool:
    """Say whether nobody on the way can read along: by TLS, or because there is no way."""
    if connection.get_transport_info("sslcontext") is not None:
        return True
    peer = connection.get_transport_info("peername")
    return peer is not None and ip_address(peer[0]).is_loopback
