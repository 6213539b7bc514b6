"""Which providers the settings mean."""

from typing import NamedTuple

from millrace.apps.messaging.providers.contract import Provider
from millrace.apps.messaging.providers.files import FileProvider
from millrace.apps.messaging.providers.guard import Guarded, Take
from millrace.apps.messaging.providers.mime import sender_of
from millrace.apps.messaging.providers.resend import ResendProvider
from millrace.apps.messaging.providers.smtp import SmtpProvider
from millrace.apps.messaging.providers.twilio import TwilioProvider
from millrace.apps.messaging.settings import MessagingSettings
from millrace.clock import Clock
from millrace.resources.outbound import Outbound
from millrace.telemetry import Telemetry

OUTBOX = "outbox"


class Providers(NamedTuple):
    """The way out for each kind of message, and the doors to servers nearby that were opened for them."""

    email: Guarded
    sms: Guarded
    doors: tuple[Outbound, ...] = ()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.email.aclose()
        await self.sms.aclose()
        for door in self.doors:
            await door.aclose()


def make_providers(
    settings: MessagingSettings, outbound: Outbound, telemetry: Telemetry, clock: Clock, take: Take | None = None
) -> Providers:
    """Make them: Resend before a mail server before files, and Twilio before files; each behind its guard.

    Raises:
        ConfigurationError: the sender of e-mails has no address.
    """
    sender_of(settings.mail_from)
    bases = [given.api_base for given in (settings.resend, settings.twilio) if given is not None]
    doors = {base: outbound.reaching(base) for base in bases}
    return Providers(
        Guarded(_email(settings, doors, clock), telemetry, settings.email_rate, take),
        Guarded(_sms(settings, doors, clock), telemetry, settings.sms_rate, take),
        tuple(door for door in doors.values() if door is not outbound),
    )


def _email(settings: MessagingSettings, doors: dict[str, Outbound], clock: Clock) -> Provider:
    seconds = settings.provider_seconds
    if settings.resend is not None:
        door = doors[settings.resend.api_base]
        return ResendProvider(settings.resend, settings.mail_from, door, clock, seconds=seconds)
    if settings.smtp is not None:
        return SmtpProvider(settings.smtp, settings.mail_from, clock, seconds=seconds)
    return FileProvider(settings.folder / OUTBOX, settings.mail_from, clock, "email-file")


def _sms(settings: MessagingSettings, doors: dict[str, Outbound], clock: Clock) -> Provider:
    if settings.twilio is not None:
        door = doors[settings.twilio.api_base]
        return TwilioProvider(settings.twilio, settings.public_url, door, clock, seconds=settings.provider_seconds)
    return FileProvider(settings.folder / OUTBOX, settings.mail_from, clock, "sms-file")
