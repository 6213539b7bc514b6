"""HTTP over connections to addresses that were checked. Imported when the first request goes out.

It uses the transport below httpx2, which connects where it is told: no redirects, no proxies from the environment,
no cookies, no unpacking of compressed answers.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping

import httpcore2

from millrace.errors import OutboundFailed
from millrace.resources.addresses import Place
from millrace.resources.answer import Answer, NothingSent

FindAddresses = Callable[[str, int], Awaitable[list[str]]]

CONNECT_SECONDS = 5.0  # for each address, so that one that swallows packets leaves time for the next
IDLE_SECONDS = 4.0  # many servers close idle connections after 5, and a request into a closing one is lost
IDLE_CONNECTIONS = 100
FAILURES = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError)


class CheckedConnections(httpcore2.AnyIOBackend):
    """Connects to exactly the addresses it is given, so that nobody asks DNS a second time."""

    def __init__(self, find: FindAddresses) -> None:
        self._find = find

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers."""
        failure: Exception = httpcore2.ConnectError("no address")
        for address in await self._find(host, port):
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


def open_pool(find: FindAddresses, tls: ssl.SSLContext | None) -> httpcore2.AsyncConnectionPool:
    """Make an empty pool. It has no upper limit: a server that is slow must not use up what others wait for."""
    return httpcore2.AsyncConnectionPool(
        ssl_context=tls or httpcore2.default_ssl_context(),
        max_connections=None,
        max_keepalive_connections=IDLE_CONNECTIONS,
        keepalive_expiry=IDLE_SECONDS,
        network_backend=CheckedConnections(find),
    )


async def post(
    pool: httpcore2.AsyncConnectionPool, place: Place, body: bytes, headers: Mapping[str, str], max_answer_bytes: int
) -> Answer:
    """Post a body.

    Raises:
        OutboundFailed: no connection (then `NothingSent`), no HTTP, or an answer that is too large.
    """
    try:
        return await _post(pool, place, body, headers, max_answer_bytes)
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
        raise NothingSent(f"{place.authority}: {_sentence(error)}") from None
    except FAILURES as error:
        raise OutboundFailed(f"{place.authority}: {_sentence(error)}") from None


async def _post(
    pool: httpcore2.AsyncConnectionPool, place: Place, body: bytes, headers: Mapping[str, str], max_answer_bytes: int
) -> Answer:
    url = httpcore2.URL(scheme=place.scheme, host=place.host, port=place.port, target=place.target)
    async with pool.stream(
        "POST",
        url,
        headers=[("Host", place.authority), ("Accept-Encoding", "identity"), *headers.items()],
        content=body,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    ) as response:
        answer = bytearray()
        async for chunk in response.aiter_stream():
            answer += chunk
            if len(answer) > max_answer_bytes:
                raise OutboundFailed(f"{place.authority}: its answer is larger than {max_answer_bytes:,} bytes")
        return Answer(
            status=response.status,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
            body=bytes(answer),
        )


def _sentence(error: Exception) -> str:
    """Say what went wrong; the text of other errors may quote what the server sent."""
    if isinstance(error, httpcore2.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:g} s"
    if isinstance(error, httpcore2.ConnectError):
        return f"no connection: {_first_cause(error)}"
    return f"the connection broke ({type(error).__name__})"


def _first_cause(error: BaseException) -> BaseException:
    """Give the error that began a chain: the later ones only say that all attempts failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
