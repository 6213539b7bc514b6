"""E-mails by SMTP."""

import asyncio
import ssl

from aiosmtplib import SMTP, SMTPConnectError, SMTPException, SMTPResponseException, SMTPServerDisconnected

from millrace.apps.messaging.jobs import EmailJob, Letter
from millrace.apps.messaging.providers.contract import Away, Failed, Handed, Refused
from millrace.apps.messaging.providers.mime import message_id_of, sender_of, write_email
from millrace.apps.messaging.providers.scrub import without_addresses, without_recipient
from millrace.apps.messaging.providers.smtp_connections import NoTurn, Progress, SmtpConnections
from millrace.apps.messaging.providers.smtp_replies import read_reply, reason_of
from millrace.apps.messaging.providers.verdicts import error_of
from millrace.apps.messaging.settings import SmtpSettings
from millrace.clock import Clock

PROVIDER = "smtp"
AGAIN_SECONDS = 1.0  # after which a message asks again that found no connection free
TURN_SHARE = 0.5  # of an attempt's time may go by in waiting, so that a turn that comes late is still of use


class SmtpProvider:
    """Hands e-mails to a mail server, one transaction each.

    Args:
        settings: Which server, and how to talk to it.
        mail_from: Sender, in the envelope and in the message.
        clock: For the Date header.
        seconds: For a whole attempt, from waiting for a connection to the last reply.
        tls: Whose certificates are trusted; None trusts what the system trusts.
    """

    name = PROVIDER

    def __init__(
        self,
        settings: SmtpSettings,
        mail_from: str,
        clock: Clock,
        *,
        seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._mail_from, self._clock, self._seconds = mail_from, clock, seconds
        self._connections = SmtpConnections(settings, tls, turn_seconds=seconds * TURN_SHARE)

    async def send(self, account_id: str, letter: Letter) -> Handed:
        """Hand an e-mail over; see `Provider`."""
        if not isinstance(letter, EmailJob):
            raise TypeError("SMTP takes e-mails only")
        content = write_email(account_id, letter, self._mail_from, self._clock())
        progress = Progress()
        try:
            async with asyncio.timeout(self._seconds), self._connections.one(progress) as connection:
                said = await self._transact(connection, progress, letter.recipient, content)
        except NoTurn:
            raise Away(PROVIDER, AGAIN_SECONDS) from None
        except (SMTPException, OSError) as error:
            raise self._error(progress, error, letter) from None
        provider_id = message_id_of(account_id, letter, self._mail_from)
        return Handed(provider=PROVIDER, provider_id=provider_id, note=without_recipient(said, letter) or None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _transact(self, connection: SMTP, progress: Progress, recipient: str, content: bytes) -> str:
        progress.step = "sender"
        await connection.mail(sender_of(self._mail_from))
        progress.step = "recipient"
        await connection.rcpt(recipient)
        progress.step = "data"
        return (await connection.data(content)).message

    def _error(self, progress: Progress, error: Exception, letter: EmailJob) -> Failed | Refused:
        step = progress.step
        if isinstance(error, SMTPResponseException) and error.code > 0:
            verdict = read_reply(step, error.code, error.message)
            return error_of(PROVIDER, verdict, reason_of(step, error.code, error.message, letter))
        taken = "; the server may have taken the message" if step == "data" else ""
        return Failed(PROVIDER, f"smtp ({step}): {self._what(error)}{taken}", is_trouble=True)

    def _what(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {self._seconds:g} s"
            case SMTPResponseException():
                return "what answers there does not speak SMTP"
            case SMTPServerDisconnected() | SMTPConnectError() | OSError():
                return _broken(error)
        return without_addresses(str(error))


def _broken(error: BaseException) -> str:
    """Say what the system says, which is at the beginning of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    words = getattr(error, "strerror", None)
    return f"no connection: {without_addresses(words)}" if words else "the connection broke"
