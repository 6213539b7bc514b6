"""Bytes of a file, put to a URL that a server has signed."""

from pathlib import Path
from urllib.parse import urlsplit

from millrace.client.address import CONNECT_SECONDS, LOCAL_HOSTS
from millrace.client.answers import Answer
from millrace.client.refusals import refusal_of
from millrace.errors import ServerUnreachable

WRITE_SECONDS = 60


def put_file(url: str, path: Path, content_type: str) -> None:
    """Put a file's bytes, as they are read; once, since the whole of it can simply be sent again.

    Raises:
        ServerUnreachable: the connection failed.
        MillraceError: the server refuses; the nearest class there is.
    """
    import httpx2  # noqa: PLC0415 - it takes 0.2 s, which only those wait for who call

    place = url.partition("?")[0]  # what follows is the signature
    headers = {"content-type": content_type, "content-length": str(path.stat().st_size)}
    timeout = httpx2.Timeout(WRITE_SECONDS, connect=CONNECT_SECONDS)
    is_remote = urlsplit(url).hostname not in LOCAL_HOSTS  # no proxy leads to this machine
    try:
        with path.open("rb") as file:
            response = httpx2.put(url, content=file, headers=headers, timeout=timeout, trust_env=is_remote)
    except httpx2.RequestError as error:
        raise ServerUnreachable(f"{place} took not all of {path.name}: {str(error) or type(error).__name__}") from None
    if not response.is_success:
        answer = Answer(response.status_code, response.headers, response.content)
        raise refusal_of(answer, place, has_token=True)
