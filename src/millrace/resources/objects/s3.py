"""Objects behind an S3 API: Cloudflare R2, AWS, MinIO and others. Needs the extra `s3`."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec

from millrace.errors import ConfigurationError, MillraceError, ObjectNotFound, ObjectTooLarge, StoreUnavailable
from millrace.resources.objects.contract import CHUNK_BYTES, Stat, check_key

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

T = TypeVar("T")

MEMORY_BYTES = 8 * 1024 * 1024  # what is longer arrives in a temporary file
CLIENT_OPTIONS = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "300s"}
RETRIES = 3
RETRY_SECONDS = 20
CODE = re.compile(r"<Code>(\w+)</Code>")
STATUS = re.compile(r"status code: (\d{3})")
NO_LIBRARY = "R2_* is set, but the S3 library is missing; install Millrace with its extra: pip install '.[s3]'"


class R2Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where an S3 API is and what lets us in: the R2_* settings."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    region: str = "auto"

    def __repr__(self) -> str:
        return f"R2Settings(endpoint={self.endpoint!r}, bucket={self.bucket!r})"


class S3Objects:
    """Keeps objects in a bucket, which must exist.

    Raises:
        ConfigurationError: the endpoint is no http or https URL, or the library is not installed.
    """

    def __init__(self, settings: R2Settings) -> None:
        self._endpoint = settings.endpoint
        self._store = _open(settings)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, max_bytes: int) -> Stat:
        """Store an object; see `ObjectStore`. It arrives here first, so that the bucket sees all of it or nothing."""
        from obstore import put_async  # noqa: PLC0415 - an extra

        check_key(key)
        with SpooledTemporaryFile(MEMORY_BYTES) as file:
            size = await _gather(chunks, file, max_bytes)
            file.seek(0)
            body: Any = file if size > MEMORY_BYTES else file.read()
            put = put_async(self._store, key, body, attributes={"Content-Type": content_type})
            stored = await self._ask(key, lambda: _to_its_end(put))
        return Stat(size=size, etag=_etag(stored["e_tag"]))

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """Give the bytes of an object; see `ObjectStore`."""
        from obstore import get_async  # noqa: PLC0415 - an extra

        found = await self._ask(key, lambda: get_async(self._store, check_key(key)))
        return self._pieces(key, found.stream(min_chunk_size=CHUNK_BYTES))

    async def stat(self, key: str) -> Stat | None:
        """Give size and etag; see `ObjectStore`."""
        from obstore import head_async  # noqa: PLC0415 - an extra

        try:
            found = await self._ask(key, lambda: head_async(self._store, check_key(key)))
        except ObjectNotFound:
            return None
        return Stat(size=found["size"], etag=_etag(found["e_tag"]))

    async def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore`."""
        from obstore import delete_async  # noqa: PLC0415 - an extra

        await self._ask(key, lambda: delete_async(self._store, check_key(key)))

    async def _pieces(self, key: str, stream: Any) -> AsyncIterator[bytes]:
        pieces = aiter(stream)
        while (piece := await self._ask(key, partial(anext, pieces, None))) is not None:
            yield bytes(piece)

    async def _ask(self, key: str, call: Callable[[], Awaitable[T]]) -> T:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra

        try:
            return await call()
        except (BaseError, OSError) as error:  # what is not there comes as a FileNotFoundError
            raise _meaning(error, key, self._endpoint) from None


def _open(settings: R2Settings) -> "S3Store":
    if not settings.endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(f"R2_ENDPOINT is {settings.endpoint!r}; expected a URL with http:// or https://")
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(NO_LIBRARY) from None

    def credentials() -> "S3Credential":
        """Give ours, so that no AWS_* variable of the machine joins in."""
        return {
            "access_key_id": settings.access_key_id,
            "secret_access_key": settings.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    options: Any = {**CLIENT_OPTIONS, "allow_http": settings.endpoint.startswith("http://")}
    return S3Store(
        settings.bucket,
        endpoint=settings.endpoint.rstrip("/"),
        region=settings.region,
        credential_provider=credentials,
        virtual_hosted_style_request=False,
        client_options=options,
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


async def _gather(chunks: AsyncIterator[bytes], file: IO[bytes], max_bytes: int) -> int:
    """Take in what comes; give its size."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise ObjectTooLarge(f"the object has more than {max_bytes:,} bytes; nothing of it was stored")
        await asyncio.to_thread(file.write, chunk) if size > MEMORY_BYTES else file.write(chunk)
    return size


async def _to_its_end(call: Awaitable[T]) -> T:
    """Wait for a call that is not given up half-way: parts of an object would stay in the bucket, unseen and paid for."""
    calling = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling])
        raise


def _meaning(error: Exception, key: str, endpoint: str) -> MillraceError:
    """Say what went wrong; the library's own text may quote what was signed."""
    found = CODE.search(str(error)) or STATUS.search(str(error))
    if isinstance(error, FileNotFoundError) and (found is None or found[1] != "NoSuchBucket"):
        return ObjectNotFound(f"no object has the key {key!r}")
    reason = found[1] if found else "no answer"
    return StoreUnavailable(f"the object store at {endpoint} does not work: {reason}")


def _etag(text: str | None) -> str:
    return (text or "").strip('"')
