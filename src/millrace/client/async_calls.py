"""One server, one key, one account: calls of its routes, made again where that helps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from millrace.client.address import CONNECTIONS, IDLE_SECONDS, V4, connection_settings, root_of, timeouts
from millrace.client.answers import Account, Answer, Envelope, read_envelope
from millrace.client.homes import Home, check_free, home_of_loop
from millrace.client.refusals import refusal_of
from millrace.client.retries import Retries, pause_seconds
from millrace.client.wire import content_of, quoted
from millrace.errors import ConfigurationError, Forbidden, InvalidInput, ServerUnreachable

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]
Chance = Callable[[], float]


class AsyncCalls:
    """The connections of a client; they are made by the first call.

    All calls raise:
        ServerUnreachable: no answer came.
        MillraceError: the server refused; the nearest class there is.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        account_id: str | None,
        *,
        retries: Retries,
        timeout_seconds: float,
        chance: Chance,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.url = root_of(url)
        self._settings = connection_settings(self.url, token)
        self._has_token = token is not None
        self._account_id = account_id
        self._retries, self._timeout_seconds = retries, timeout_seconds
        self._chance, self._sleep = chance, sleep
        self._http: httpx2.AsyncClient | None = None
        self._home: Home | None = None
        self._opening = Lock()  # a client without await may be used by several threads

    async def close(self) -> None:
        """Close the connections."""
        http, home = self._http, self._home
        self._http = self._home = None
        if http is not None and home == home_of_loop():
            await http.aclose()

    async def account_id(self) -> str:
        """Give the account: the one that was named, else the key's own."""
        if self._account_id is None:
            answer = await self.call("GET", f"{V4}/accounts")
            accounts = read_envelope(answer, list[Account]).result
            if len(accounts) != 1:
                raise Forbidden(f"the key belongs to {len(accounts)} accounts; say which with account_id")
            self._account_id = accounts[0].id
        return self._account_id

    async def v4(self, method: str, path: str, body: object = None, *, type: type[T], **more: Any) -> Envelope[T]:
        """Call a route below the account, as `call` does, and give its answer with the result as a value of a type."""
        return read_envelope(await self.below_account(method, path, body, **more), type)

    async def below_account(self, method: str, path: str, body: object = None, **more: Any) -> Answer:
        """Call a route below the account, as `call` does, and give its answer as it came."""
        account = quoted(await self.account_id())
        return await self.call(method, f"{V4}/accounts/{account}{path}", body, **more)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        once: bool = False,
    ) -> Answer:
        """Call a route until it succeeds, or until another try is of no use.

        Args:
            method: The HTTP method.
            path: The path behind the server's URL, in ASCII.
            body: What becomes JSON; bytes go as they are.
            params: The query.
            headers: More headers.
            timeout: Seconds to wait for the answer, of each try.
            once: The call must not happen twice.
        """
        began = monotonic()
        request: dict[str, Any] = {"method": method, "url": self.url + path, "content": content_of(body)}
        request |= {"params": params, "headers": headers, "timeout": timeouts(timeout or self._timeout_seconds)}
        for tried in count(1):
            found = await self._try(request)
            if isinstance(found, Answer) and found.is_success:
                return found
            pause = pause_seconds(found, tried, monotonic() - began, self._retries, self._chance(), once=once)
            if pause is None:
                break
            await self._sleep(pause)
        raise refusal_of(found, self.url, has_token=self._has_token) if isinstance(found, Answer) else found

    async def _try(self, request: dict[str, Any]) -> Answer | ServerUnreachable:
        import httpx2

        try:
            response = await self._connections().request(**request)
        except httpx2.PoolTimeout:
            busy = f"all {CONNECTIONS} connections of this client are busy, so {self.url} could not be asked"
            return ServerUnreachable(busy, was_connected=False)
        except httpx2.RequestError as error:
            was_connected = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            what = "gave no answer" if was_connected else "cannot be reached"
            why = str(error) or type(error).__name__
            return ServerUnreachable(f"{self.url} {what}: {why}", was_connected=was_connected)
        except httpx2.InvalidURL as error:
            raise ConfigurationError(f"the server's URL {self.url!r} is wrong: {error}") from None
        except UnicodeEncodeError:
            raise InvalidInput("a name or a header has characters in it that cannot be sent") from None
        return Answer(response.status_code, response.headers, response.content)

    def _connections(self) -> "httpx2.AsyncClient":
        import httpx2  # it takes 0.2 s, which only those wait for who call

        home = home_of_loop()
        with self._opening:
            if self._http is None or self._home != home:
                check_free(self._home, home)
                limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS)
                self._http, self._home = httpx2.AsyncClient(limits=limits, **self._settings), home
            return self._http
