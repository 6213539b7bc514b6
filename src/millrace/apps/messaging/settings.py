"""What the application goes by; docs/settings.md has a line for each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace.bucket import Rate


class SmtpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A mail server. `tls` on from the first byte (port 465), by STARTTLS, where the server offers that, or never.

    `connections` bounds how many there are at once: many servers count them per client, and refuse more than 10 to 20.
    """

    host: str
    port: int = 587
    user: str | None = None
    password: str | None = None
    tls: Literal["auto", "starttls", "on", "off"] = "auto"
    connections: int = 10


class ResendSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP service for e-mails that speaks Resend's API."""

    api_key: str
    api_base: str = "https://api.resend.com"
    webhook_secret: str | None = None


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A Twilio account; `from_number` may be the id of a messaging service (MG…)."""

    account_sid: str
    auth_token: str
    from_number: str
    api_base: str = "https://api.twilio.com"


class MessagingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the whole application. Without `smtp` and `resend`, and without `twilio`, messages go to files.

    `account_id` is the server's own account: reports of providers that name no account are taken for its.
    `key_rate` limits the requests of one key, `recipient_rate` the messages to one recipient, `email_rate` and `sms_rate` what
    goes to a provider.
    """

    account_id: str
    folder: Path
    environment: Mapping[str, Any] = {}  # what is configured, by name
    public_url: str | None = None
    mail_from: str = "millrace@localhost"
    smtp: SmtpSettings | None = None
    resend: ResendSettings | None = None
    twilio: TwilioSettings | None = None
    delivery_secret: str | None = None
    provider_seconds: float = 30
    retry_base_seconds: float = 60
    debug_routes: bool = True
    key_rate: Rate | None = Rate(1_000, 1)
    recipient_rate: Rate | None = None
    email_rate: Rate | None = None
    sms_rate: Rate | None = None
    cleanup_cron: str = ""
    audit_logs_days: float = 365
    message_queue_days: float = 30
    temp_files_days: float = 1
    link_seconds: int = 86_400
