"""Where a server is, and the settings of the connections to it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from millrace import __version__
from millrace.errors import ConfigurationError, Unauthenticated

DEFAULT_URL = "http://127.0.0.1:8787"
V4 = "/client/v4"
CONNECT_SECONDS = 10
IDLE_SECONDS = 30  # a server keeps a connection longer than that: ours 75 s
CONNECTIONS = 100
_HEADERS: dict[str, str | bytes] = {"content-type": "application/json", "user-agent": f"millrace/{__version__}"}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def root_of(url: str) -> str:
    """Give the server's URL without the path of the v4 API.

    Raises:
        ConfigurationError: not an absolute http or https URL, or one with a password, which every error would show.
    """
    root = str(url).rstrip("/").removesuffix(V4).rstrip("/")
    if "@" in root:
        raise ConfigurationError("the server's URL has an '@' in it; give the key as the token, not in the URL")
    try:
        parts = urlsplit(root)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigurationError(f"the server's URL {url!r} is wrong: {error}") from None
    if not is_right or parts.query or parts.fragment or any(character <= " " for character in root):
        raise ConfigurationError(f"the server's URL is {url!r}; expected one such as {DEFAULT_URL}")
    return root


def server_of(environ: Mapping[str, str], url: str | None, token: str | None) -> tuple[str, str | None]:
    """Give URL and key: what is given, else what the environment says, else the server of this machine."""
    url = url or environ.get("MILLRACE_URL") or environ.get("CTX_URL") or DEFAULT_URL
    return url, token or environ.get("MILLRACE_TOKEN") or environ.get("CHITTY_ID_TOKEN") or None


def connection_settings(root: str, token: str | None) -> dict[str, Any]:
    """Give the arguments of the HTTP library's client.

    Raises:
        Unauthenticated: a key that no header can carry.
    """
    parts = urlsplit(root)
    return {
        "headers": _HEADERS if token is None else {**_HEADERS, "authorization": _bearer(token)},
        "verify": parts.scheme == "https",  # loading the certificates takes 0.1 s
        "trust_env": parts.hostname not in LOCAL_HOSTS,  # no proxy leads to this machine
    }


def timeouts(seconds: float) -> tuple[float, float, float, float]:
    """Give the limits of one try as the HTTP library takes them: to connect, read, write and get a connection."""
    return min(seconds, CONNECT_SECONDS), seconds, seconds, seconds


def _bearer(token: str) -> bytes:
    token = token.strip()
    if not token or any(character < " " or character == "\x7f" for character in token):
        raise Unauthenticated("the key is empty or has control characters in it; no header can carry it")
    return b"Bearer " + token.encode("utf-8", "surrogateescape")  # an environment may hold any bytes
