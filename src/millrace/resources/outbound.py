"""The one door to other people's servers: URLs come from users, so where they lead is checked."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from millrace.errors import OutboundFailed, OutboundRefused
from millrace.resources.addresses import Place, is_local_name, is_public, read_url
from millrace.resources.answer import Answer, NothingSent

if TYPE_CHECKING:
    import httpcore2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

ANSWER_BYTES = 64 * 1024
RESOLVING_THREADS = 16


class Outbound:
    """Posts to public addresses, and to others only where the operator allows the host.

    Args:
        allow: Hosts, or host:port, that are reached wherever they are: `hooks.internal`, `10.0.0.5:8080`, `[::1]:80`.
        resolve: Gives the addresses of a host and port; None asks the system.
        tls: Whose certificates are trusted; None trusts what the system trusts.
    """

    def __init__(
        self, allow: Sequence[str] = (), *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allow = frozenset(host.strip().lower() for host in allow)
        self._resolve, self._tls = resolve or _SystemResolver(), tls
        self._opening = asyncio.Lock()
        self._opened: httpcore2.AsyncConnectionPool | None = None

    def check(self, url: str) -> Place:
        """Give where the URL leads. A name passes here; its addresses are checked when it is connected to.

        Raises:
            OutboundRefused: no http or https URL, or one that leads to an address that is not public.
        """
        place = read_url(url)
        is_near = is_local_name(place.host) or (place.address is not None and not is_public(place.address))
        if is_near and not place.is_in(self._allow):
            raise _refused(place.host, "is no public address")
        return place

    def reaching(self, url: str) -> "Outbound":
        """Give a door that leads to the server of that URL wherever it is, because the operator named it: this or another.

        Raises:
            OutboundRefused: no http or https URL.
        """
        place = read_url(url)
        if place.is_in(self._allow):
            return self
        return Outbound((*self._allow, place.authority), resolve=self._resolve, tls=self._tls)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        max_answer_bytes: int = ANSWER_BYTES,
    ) -> Answer:
        """Post the body and read the whole answer, of any status. A redirect is an answer; it is not followed.

        Args:
            url: Where to.
            body: What.
            headers: Further headers; host and length are added.
            timeout_seconds: For all of it, from the name's look-up to the answer's last byte.
            max_answer_bytes: An answer beyond this is a failure.

        Raises:
            OutboundRefused: the URL is wrong, or its host has no public address.
            OutboundFailed: no answer (`NothingSent` if it saw no request), none in time, or one that is too large.
        """
        place = self.check(url)
        try:
            async with asyncio.timeout(timeout_seconds):
                pool = await self._pool()
                from millrace.resources.connections import post  # noqa: PLC0415 - loaded with the pool

                return await post(pool, place, body, headers, max_answer_bytes)
        except TimeoutError:
            raise OutboundFailed(f"{place.authority}: no complete answer within {timeout_seconds:g} s") from None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.aclose()

    async def _pool(self) -> "httpcore2.AsyncConnectionPool":
        """Open the pool at the first use: the library takes 0.2 s to import, the certificates up to 0.1 s."""
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._open)
            return self._opened

    def _open(self) -> "httpcore2.AsyncConnectionPool":
        from millrace.resources.connections import open_pool  # noqa: PLC0415 - see `_pool`

        return open_pool(self._addresses, self._tls)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Give the addresses that may be connected to, which are then used as they are."""
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise NothingSent(f"{host}: its address cannot be found: {error.strerror or error}") from None
        place = Place(scheme="http", host=host, port=port, target="/")
        if place.is_in(self._allow):
            return list(found)
        public = [address for address in found if is_public(ip_address(address))]
        if not public:
            raise _refused(host, "has no public address")
        return public


class _SystemResolver:
    """Asks in threads of its own: a name server that hangs must not hold up other work of the process.

    All who ask for a name at a time share one thread, so one name that hangs leaves the others theirs.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS, "millrace-resolve")
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        asked = self._asked.get((host, port))
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
            self._asked[host, port] = asked
            asked.add_done_callback(partial(self._answered, (host, port)))
        return await asyncio.shield(asked)

    def _answered(self, key: tuple[str, int], asked: asyncio.Future[list[str]]) -> None:
        del self._asked[key]
        if not asked.cancelled():
            asked.exception()  # perhaps nobody waits for it any more


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _refused(host: str, why: str) -> OutboundRefused:
    return OutboundRefused(f"{host} {why}; expected a public one, or a host that the operator allows (FETCH_ALLOW)")
