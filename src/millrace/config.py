"""Settings of the server: defaults, then the environment, then flags; merged once, at start.

Nothing else reads the environment.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace import limits
from millrace.errors import ConfigurationError, InvalidInput
from millrace.http.app import is_loopback
from millrace.messaging_config import SECRETS as OF_MESSAGING
from millrace.messaging_config import MessagingConfig, read_messaging
from millrace.names import check_account_id

URL = re.compile(r"https?://[!-~]+")
BEGINNING = re.compile(r"[\w+.-]{0,20}:?/{0,3}")
OFF = ("0", "false", "no", "off")
POSTGRES, SQLITE = ("postgresql://", "postgres://"), "sqlite:///"
DATABASE = "millrace.db"  # its name in a data directory
# Settings that may also stand in the store, as secrets of the account.
SECRETS = ("jwt_secret", "turnstile_secret", "r2_access_key_id", "r2_secret_access_key", *OF_MESSAGING)


class Settings(MessagingConfig, frozen=True, kw_only=True):
    """What `millrace serve` goes by. docs/settings.md has a line for each."""

    data: Path = Path("data")
    store: str | None = None
    direct_store: str | None = None
    role: Literal["all", "api", "consumer"] = "all"
    host: str = "127.0.0.1"
    port: int = 8787
    environment: str | None = None
    app: str | None = None
    account_id: str = "local"
    admin_token: str | None = None
    master_key: str | None = None
    auth_mode: Literal["keys", "local"] = "keys"
    debug_routes: bool = True
    events_consumer: Literal["none", "log", "deliver"] = "none"
    handler_seconds: float = limits.HANDLER_SECONDS
    handler_processes: int = 8
    handler_memory_mb: int = 1024
    fetch_allow: tuple[str, ...] = ()
    cron_catch_up: Literal["latest", "skip", "all"] = "latest"
    cors_origins: tuple[str, ...] = ()
    sentry_dsn: str | None = None
    sentry_environment: str | None = None
    public_url: str | None = None
    jwt_secret: str | None = None
    turnstile_secret: str | None = None
    turnstile_url: str = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
    upload_types: tuple[str, ...] | None = None
    upload_max_bytes: int = 100_000_000
    jobs_cron: str | None = None
    r2_endpoint: str | None = None
    r2_access_key_id: str | None = None
    r2_secret_access_key: str | None = None
    r2_bucket: str | None = None


def read_settings(environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Merge flags (None is not given) over the environment over the defaults.

    Raises:
        ConfigurationError: a value is wrong; the message names its key.
    """
    given: dict[str, Any] = {
        "data": _path(environ.get("DATA_DIR")),
        "store": (environ.get("DATABASE_URL") or "").strip() or None,
        "direct_store": (environ.get("DIRECT_DATABASE_URL") or "").strip() or None,
        "role": _word("MILLRACE_ROLE", environ.get("MILLRACE_ROLE"), ("all", "api", "consumer")),
        "host": environ.get("HOST") or None,
        "port": _number("PORT", environ.get("PORT"), 0, 65535),
        "account_id": environ.get("ACCOUNT_ID") or None,
        "admin_token": (environ.get("ADMIN_TOKEN") or "").strip() or None,
        "master_key": (environ.get("MASTER_KEY") or "").strip() or None,
        "auth_mode": _word("AUTH_MODE", environ.get("AUTH_MODE"), ("keys", "local")),
        "debug_routes": _debug_routes(environ),
        "events_consumer": _word("EVENTS_CONSUMER", environ.get("EVENTS_CONSUMER"), ("none", "log", "deliver")),
        "handler_seconds": read_handler_seconds(environ),
        "handler_processes": _number("HANDLER_PROCESSES", environ.get("HANDLER_PROCESSES"), 1, 250),
        "handler_memory_mb": _number("HANDLER_MEMORY_MB", environ.get("HANDLER_MEMORY_MB"), 64, 1_048_576),
        "fetch_allow": _list(environ.get("FETCH_ALLOW")),
        "cron_catch_up": _word("CRON_CATCH_UP", environ.get("CRON_CATCH_UP"), ("latest", "skip", "all")),
        "cors_origins": _list(environ.get("CORS_ORIGINS")),
        "sentry_dsn": _secret(environ.get("SENTRY_DSN")),
        "sentry_environment": environ.get("SENTRY_ENVIRONMENT") or environ.get("CLOUDFLARE_ENV") or None,
        "public_url": _url("PUBLIC_URL", environ.get("PUBLIC_URL")),
        "jwt_secret": _secret(environ.get("JWT_SECRET")),
        "turnstile_secret": _secret(environ.get("TURNSTILE_SECRET")),
        "turnstile_url": _url("TURNSTILE_URL", environ.get("TURNSTILE_URL")),
        "upload_types": _list((environ.get("UPLOAD_TYPES") or "").lower()),
        "upload_max_bytes": _number("UPLOAD_MAX_BYTES", environ.get("UPLOAD_MAX_BYTES"), 1, 5_000_000_000),
        "jobs_cron": (environ.get("JOBS_CRON") or "").strip() or None,
        "r2_endpoint": _url("R2_ENDPOINT", environ.get("R2_ENDPOINT")),
        "r2_access_key_id": _secret(environ.get("R2_ACCESS_KEY_ID")),
        "r2_secret_access_key": _secret(environ.get("R2_SECRET_ACCESS_KEY")),
        "r2_bucket": environ.get("R2_BUCKET") or None,
    }
    given.update(read_messaging(environ))
    given.update({key: value for key, value in flags.items() if value is not None})
    settings = _located(
        Settings(**{key: value for key, value in given.items() if value is not None}), flags.get("data")
    )
    _check(settings, environ)
    return settings


def _located(settings: Settings, flag: Path | None) -> Settings:
    """Take a `sqlite:` URL for the data directory that it names, and leave a PostgreSQL one as it is.

    Raises:
        ConfigurationError: it is neither, or another directory than the one that `--data` names.
    """
    store, direct = settings.store, settings.direct_store
    if store is not None and not store.startswith((*POSTGRES, SQLITE)):
        allowed = f"{POSTGRES[0]}… or {SQLITE}DIRECTORY/{DATABASE}, with a fourth slash for a path from the root"
        raise ConfigurationError(f"--store or DATABASE_URL begins with {_beginning(store)!r}; expected {allowed}")
    if direct is not None and not direct.startswith(POSTGRES):
        raise ConfigurationError(f"DIRECT_DATABASE_URL begins with {_beginning(direct)!r}; expected {POSTGRES[0]}…")
    if direct is not None and (store is None or store.startswith(SQLITE)):
        raise ConfigurationError(
            "DIRECT_DATABASE_URL is set, but no PostgreSQL database to go with it; name one with --store or DATABASE_URL"
        )
    return settings if store is None or not store.startswith(SQLITE) else _in_directory(settings, store, flag)


def _in_directory(settings: Settings, url: str, flag: Path | None) -> Settings:
    database = Path(url.removeprefix(SQLITE))
    if database.name != DATABASE:
        raise ConfigurationError(
            f"--store or DATABASE_URL names the file {database.name[:80]!r}; expected {SQLITE}DIRECTORY/{DATABASE}, where "
            "the directory is the server's data directory"
        )
    if flag is not None and flag != database.parent:
        raise ConfigurationError(
            f"--data is {str(flag)!r}, but --store or DATABASE_URL names {str(database.parent)!r}; give one of them"
        )
    return msgspec.structs.replace(settings, data=database.parent, store=None)


def _beginning(url: str) -> str:
    """Give what stands before any host, user or password."""
    found = BEGINNING.match(url)
    return found[0] if found else ""


def with_secrets(settings: Settings, secrets: Mapping[str, str]) -> Settings:
    """Fill settings that are secrets and that nobody has set from the store: `JWT_SECRET` serves as `jwt_secret`."""
    unset = [name for name in SECRETS if getattr(settings, name) is None]
    return msgspec.structs.replace(settings, **{name: secrets.get(name.upper()) for name in unset})


def _check(settings: Settings, environ: Mapping[str, str]) -> None:
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError(f"port is {settings.port}; expected 0 to 65535 (0 takes a free one)")
    try:
        check_account_id(settings.account_id)
    except InvalidInput as error:
        raise ConfigurationError(f"ACCOUNT_ID: {error}") from None
    if settings.role == "api" and settings.store is None:
        raise ConfigurationError(
            "role is api, but one process owns a SQLite file, and no other could run the handlers; expected all or "
            "consumer, or a PostgreSQL database, which --store names"
        )
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


def _secret(text: str | None) -> str | None:
    return (text or "").strip() or None


def _url(name: str, text: str | None) -> str | None:
    """Give an address without the slash at its end."""
    text = (text or "").strip()
    if text and not URL.fullmatch(text):
        raise ConfigurationError(f"{name} is {text[:80]!r}; expected http:// or https:// and a host")
    return text.rstrip("/") or None


def _word(name: str, text: str | None, allowed: tuple[str, ...]) -> str | None:
    if text and text not in allowed:
        raise ConfigurationError(f"{name} is {text!r}; expected {' or '.join(allowed)}")
    return text or None
