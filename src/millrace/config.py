"""Settings of the server: defaults, then the environment, then flags; merged once, at start.

Nothing else reads the environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace import limits
from millrace.errors import ConfigurationError, InvalidInput
from millrace.http.app import is_loopback
from millrace.names import check_account_id

OFF = ("0", "false", "no", "off")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `millrace serve` goes by. docs/settings.md has a line for each."""

    data: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8787
    environment: str | None = None
    app: str | None = None
    account_id: str = "local"
    admin_token: str | None = None
    auth_mode: Literal["keys", "local"] = "keys"
    debug_routes: bool = True
    events_consumer: Literal["none", "log"] = "none"
    handler_seconds: float = limits.HANDLER_SECONDS
    handler_processes: int = 8
    handler_memory_mb: int = 1024
    fetch_allow: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Merge flags (None is not given) over the environment over the defaults.

    Raises:
        ConfigurationError: a value is wrong; the message names its key.
    """
    given: dict[str, Any] = {
        "data": _path(environ.get("DATA_DIR")),
        "host": environ.get("HOST") or None,
        "port": _number("PORT", environ.get("PORT"), 0, 65535),
        "account_id": environ.get("ACCOUNT_ID") or None,
        "admin_token": (environ.get("ADMIN_TOKEN") or "").strip() or None,
        "auth_mode": _word("AUTH_MODE", environ.get("AUTH_MODE"), ("keys", "local")),
        "debug_routes": _debug_routes(environ),
        "events_consumer": _word("EVENTS_CONSUMER", environ.get("EVENTS_CONSUMER"), ("none", "log")),
        "handler_seconds": read_handler_seconds(environ),
        "handler_processes": _number("HANDLER_PROCESSES", environ.get("HANDLER_PROCESSES"), 1, 250),
        "handler_memory_mb": _number("HANDLER_MEMORY_MB", environ.get("HANDLER_MEMORY_MB"), 64, 1_048_576),
        "fetch_allow": _list(environ.get("FETCH_ALLOW")),
    }
    given.update({key: value for key, value in flags.items() if value is not None})
    settings = Settings(**{key: value for key, value in given.items() if value is not None})
    _check(settings, environ)
    return settings


def _check(settings: Settings, environ: Mapping[str, str]) -> None:
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError(f"port is {settings.port}; expected 0 to 65535 (0 takes a free one)")
    try:
        check_account_id(settings.account_id)
    except InvalidInput as error:
        raise ConfigurationError(f"ACCOUNT_ID: {error}") from None
    if settings.auth_mode == "local" and not (environ.get("CLOUDFLARE_ENV") == "local" and is_loopback(settings.host)):
        raise ConfigurationError(
            "AUTH_MODE is local, which lets everybody on this machine in without a key; "
            "it needs CLOUDFLARE_ENV=local and a loopback host such as 127.0.0.1"
        )


def read_handler_seconds(environ: Mapping[str, str]) -> int | None:
    """Read how long a handler may take with one batch, 1 s to a day; None when it is not set.

    Raises:
        ConfigurationError: it is no such number.
    """
    return _number("HANDLER_SECONDS", environ.get("HANDLER_SECONDS"), 1, 86_400)


def _debug_routes(environ: Mapping[str, str]) -> bool:
    """Debug routes are on unless switched off, or in production unless switched on."""
    text = environ.get("DEBUG_ROUTES", "")
    if text:
        return text.lower() not in OFF
    return environ.get("CLOUDFLARE_ENV") != "production"


def _number(name: str, text: str | None, low: int, high: int) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
        raise ConfigurationError(f"{name} is {text!r}; expected a number from {low} to {high}")
    return int(text)


def _list(text: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _word(name: str, text: str | None, allowed: tuple[str, ...]) -> str | None:
    if text and text not in allowed:
        raise ConfigurationError(f"{name} is {text!r}; expected {' or '.join(allowed)}")
    return text or None
