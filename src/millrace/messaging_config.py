"""The settings of the messaging application among those of the server; docs/settings.md has a line for each."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from millrace.bucket import Rate
from millrace.errors import ConfigurationError, InvalidCron, OutboundRefused
from millrace.resources.addresses import read_url
from millrace.runtime.cron import check_cron

RATE = re.compile(r"(\d{1,7})(?:/(\d{1,7}))?")
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")  # the latter is IPv6
TLS = ("auto", "starttls", "on", "off")
SECRETS = ("smtp_password", "resend_api_key", "resend_webhook_secret", "twilio_auth_token", "delivery_webhook_secret")


class MessagingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What messages go by. A rate is a number, or a number and seconds: `20/3600` is 20 an hour."""

    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_user: str | None = None
    smtp_password: str | None = None
    smtp_tls: Literal["auto", "starttls", "on", "off"] = "auto"
    smtp_connections: int = 10
    smtp_from: str = "millrace@localhost"
    resend_api_key: str | None = None
    resend_api_base: str = "https://api.resend.com"
    resend_webhook_secret: str | None = None
    twilio_account_sid: str | None = None
    twilio_auth_token: str | None = None
    twilio_from_number: str | None = None
    twilio_api_base: str = "https://api.twilio.com"
    delivery_webhook_secret: str | None = None
    provider_seconds: float = 30
    retry_base_seconds: float = 60
    message_key_rate: str = "1000"
    message_recipient_rate: str | None = None
    email_rate: str | None = None
    sms_rate: str | None = None
    cleanup_cron: str | None = None
    retention_audit_logs_days: float = 365
    retention_message_queue_days: float = 30
    retention_temp_files_days: float = 1
    export_link_seconds: int = 86_400


def read_messaging(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read what is set.

    Raises:
        ConfigurationError: a value is wrong; the message names its key.
    """
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(MessagingConfig):
        name = field.name.upper()
        text = (environ.get(name) or "").strip()
        if text:
            given[field.name] = _READERS.get(field.name, _text)(name, text)
    return given


def read_rate(text: str | None) -> Rate | None:
    """Give a rate as a value; 0 and None stand for no limit."""
    found = RATE.fullmatch(text or "0")
    return None if found is None or not int(found[1]) else Rate(int(found[1]), int(found[2] or 1))


def _text(name: str, text: str) -> str:
    return text


def _whole(low: int, high: int) -> Any:
    def read(name: str, text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
            raise ConfigurationError(f"{name} is {text[:40]!r}; expected a number from {low} to {high}")
        return int(text)

    return read


def _seconds_or_days(low: float, high: float) -> Any:
    def read(name: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1
        if not low <= number <= high:
            raise ConfigurationError(f"{name} is {text[:40]!r}; expected a number from {low:g} to {high:g}")
        return number

    return read


def _rate(name: str, text: str) -> str:
    found = RATE.fullmatch(text)
    if found is None or (found[2] is not None and not int(found[2])):
        raise ConfigurationError(
            f"{name} is {text[:40]!r}; expected a number, or number/seconds such as 20/3600; 0 is none"
        )
    return text


def _url(name: str, text: str) -> str:
    try:
        read_url(text)
    except OutboundRefused as error:
        raise ConfigurationError(f"{name}: {error}") from None
    return text.rstrip("/")


def _host(name: str, text: str) -> str:
    if not HOST.fullmatch(text):
        raise ConfigurationError(f"{name} is {text[:80]!r}; expected a host such as mail.example.com, without its port")
    return text


def _cron(name: str, text: str) -> str:
    try:
        return check_cron(text)
    except InvalidCron as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _tls(name: str, text: str) -> str:
    if text not in TLS:
        raise ConfigurationError(f"{name} is {text[:40]!r}; expected {' or '.join(TLS)}")
    return text


_DAYS, _RATES = ("audit_logs", "message_queue", "temp_files"), ("message_key", "message_recipient", "email", "sms")
_READERS: Mapping[str, Any] = {
    "smtp_host": _host,
    "cleanup_cron": _cron,
    "smtp_port": _whole(1, 65_535),
    "smtp_tls": _tls,
    "smtp_connections": _whole(1, 200),
    "resend_api_base": _url,
    "twilio_api_base": _url,
    "provider_seconds": _seconds_or_days(0.1, 600),
    "retry_base_seconds": _seconds_or_days(0, 86_400),
    "export_link_seconds": _whole(1, 31_536_000),
    **{f"{name}_rate": _rate for name in _RATES},
    **{f"retention_{name}_days": _seconds_or_days(0, 36_500) for name in _DAYS},
}
