"""The settings of a client of jobs, and of the agent. It may run where no Millrace is configured, so it reads its own."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from dotenv import dotenv_values

from millrace.errors import ConfigurationError
from millrace.resources.objects.s3 import R2Settings

ENV_FILE = Path(".env")
BATCH_SIZE, BATCH_SIZE_MAX = 10, 100
VISIBILITY_SECONDS, VISIBILITY_SECONDS_MAX = 60, 43_200
JOB_SECONDS, JOB_SECONDS_MAX = 3_600, 86_400
CHAT_MODEL = "gemini-2.0-flash"
EMBED_MODEL = "text-embedding-004"
EDGE = ("EDGE_BASE_URL", "EDGE_API_TOKEN")
GATEWAY = ("AI_GATEWAY_URL", "GOOGLE_API_KEY")
R2 = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")
REMOVED = ("CF_ACCOUNT_ID", "CF_GATEWAY_ID", "CF_API_TOKEN", "QUEUE_PULL_URL", "QUEUE_ACK_URL")


class Gemini(msgspec.Struct, frozen=True, kw_only=True):
    """Where Gemini is reached, and with which key."""

    gateway_url: str
    api_key: str

    def __repr__(self) -> str:
        return f"Gemini(gateway_url={self.gateway_url!r})"


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `EdgeJobClient` and the agent go by.

    `visibility_timeout` is in seconds, `job_seconds` how long the agent lets one job take. `unused` names the variables that are set and have no meaning any more.
    """

    base_url: str
    api_token: str | None
    batch_size: int = BATCH_SIZE
    visibility_timeout: int = VISIBILITY_SECONDS
    job_seconds: int = JOB_SECONDS
    gemini: Gemini | None = None
    gemini_chat_model: str = CHAT_MODEL
    gemini_embed_model: str = EMBED_MODEL
    r2: R2Settings | None = None
    pipeline: str = "builtin"
    unused: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"EdgeConfig(base_url={self.base_url!r})"


def load_config(environ: Mapping[str, str] | None = None) -> EdgeConfig:
    """Read the settings from the environment and, below it, from the file `.env` of this folder.

    Args:
        environ: Where they are read from instead of both.

    Raises:
        ConfigurationError: EDGE_BASE_URL or EDGE_API_TOKEN is missing, a group is there in part, or a value is wrong.
    """
    values = environment() if environ is None else environ
    if missing := missing_of(values, EDGE):
        raise ConfigurationError(f"{_listed(missing)} not set; the server's URL and a token of its jobs are needed")
    return EdgeConfig(
        base_url=values["EDGE_BASE_URL"].strip(),
        api_token=values["EDGE_API_TOKEN"].strip(),
        batch_size=_number(values, "BATCH_SIZE", BATCH_SIZE, BATCH_SIZE_MAX),
        visibility_timeout=_number(values, "VISIBILITY_TIMEOUT", VISIBILITY_SECONDS, VISIBILITY_SECONDS_MAX),
        job_seconds=_number(values, "JOB_SECONDS", JOB_SECONDS, JOB_SECONDS_MAX),
        gemini=_read_gemini(values),
        gemini_chat_model=values.get("GEMINI_CHAT_MODEL") or CHAT_MODEL,
        gemini_embed_model=values.get("GEMINI_EMBED_MODEL") or EMBED_MODEL,
        r2=_read_r2(values),
        pipeline=_pipeline(values),
        unused=tuple(name for name in REMOVED if values.get(name)),
    )


def environment() -> dict[str, str]:
    """Give the variables of the process and, below them, those of the file `.env` of this folder."""
    of_file = {name: value for name, value in dotenv_values(ENV_FILE, interpolate=False).items() if value is not None}
    return {**of_file, **os.environ}


def missing_of(values: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Give the names that have no value, or an empty one."""
    return [name for name in names if not (values.get(name) or "").strip()]


def _read_gemini(values: Mapping[str, str]) -> Gemini | None:
    group = _group(values, "Gemini", GATEWAY)
    return Gemini(gateway_url=group[0], api_key=group[1]) if group else None


def _read_r2(values: Mapping[str, str]) -> R2Settings | None:
    group = _group(values, "a bucket", R2)
    if not group:
        return None
    endpoint, access_key_id, secret_access_key, bucket = group
    return R2Settings(
        endpoint=endpoint, access_key_id=access_key_id, secret_access_key=secret_access_key, bucket=bucket
    )


def _group(values: Mapping[str, str], what: str, names: tuple[str, ...]) -> list[str]:
    """Give the values of variables that go together; none when none is set."""
    missing = missing_of(values, names)
    if missing and len(missing) < len(names):
        raise ConfigurationError(f"{_listed(missing)} not set; {what} needs {', '.join(names)}, or none of them")
    return [] if missing else [values[name].strip() for name in names]


def _pipeline(values: Mapping[str, str]) -> str:
    name = values.get("PIPELINE") or "builtin"
    if name not in ("builtin", "langgraph"):
        raise ConfigurationError(f"PIPELINE is {name!r}; expected builtin or langgraph")
    return name


def _number(values: Mapping[str, str], name: str, default: int, high: int) -> int:
    text = (values.get(name) or str(default)).strip()
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not 1 <= int(text) <= high:
        raise ConfigurationError(f"{name} is {text[:40]!r}; expected a whole number from 1 to {high}")
    return int(text)


def _listed(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
