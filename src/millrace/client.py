"""The verbs of the HTTP API as methods, for programs and commands outside the server."""

import base64
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import count
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import msgspec

from millrace import limits
from millrace.errors import (
    BacklogFull,
    ConfigurationError,
    Conflict,
    ConsumerExists,
    DeliveryPaused,
    Forbidden,
    InvalidInput,
    InvalidQueueName,
    InvalidQueueSettings,
    MessageTooLarge,
    MillraceError,
    NotFound,
    PullNotEnabled,
    QueueNameTaken,
    QueueNotFound,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
)
from millrace.message import decode_body

Object: TypeAlias = dict[str, Any]  # as the API shows it

DEFAULT_URL = "http://127.0.0.1:8787"
V4 = "/client/v4"
ID_CHARACTERS = 32
ANSWER_SECONDS = 60
REDRIVE_SECONDS = 900  # all messages of a queue are moved before it answers
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

BY_STATUS: dict[int, type[MillraceError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    503: StoreUnavailable,
}
BY_CODE: dict[object, type[MillraceError]] = {
    10204: MessageTooLarge,
    10251: BacklogFull,
    10252: DeliveryPaused,
    10405: PullNotEnabled,
    11000: QueueNotFound,
    11003: InvalidQueueName,
    11004: ConsumerExists,
    11009: QueueNameTaken,
    100128: InvalidQueueSettings,
}


class Client:
    """One server, one key. Queues are named by name or by id.

    All methods raise:
        ConnectionError: the server cannot be reached, or the connection broke before its answer came.
        Unauthenticated, Forbidden: the key is refused.
        MillraceError: the server refuses for another reason; the nearest class there is, with its sentence and code.
    """

    def __init__(self, url: str, token: str | None) -> None:
        import httpx2  # noqa: PLC0415 - it takes 0.2 s, which only those wait for who make a client

        self.url = url.rstrip("/").removesuffix(V4)
        self._has_token = token is not None
        try:
            parsed = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise ConfigurationError(f"the server's URL {url!r} is wrong: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError(f"the server's URL is {url!r}; expected one such as {DEFAULT_URL}")
        self._http = httpx2.Client(
            base_url=self.url,
            headers=[] if token is None else [(b"authorization", _bearer(token))],
            timeout=ANSWER_SECONDS,
            verify=parsed.scheme == "https",  # loading the certificates takes 0.1 s
            trust_env=parsed.host not in LOCAL_HOSTS,  # no proxy leads to this machine
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], url: str | None = None, token: str | None = None) -> Self:
        """Make a client of what is given, else of MILLRACE_URL and MILLRACE_TOKEN, else CTX_URL and CHITTY_ID_TOKEN."""
        url = url or environ.get("MILLRACE_URL") or environ.get("CTX_URL") or DEFAULT_URL
        return cls(url, token or environ.get("MILLRACE_TOKEN") or environ.get("CHITTY_ID_TOKEN") or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def account_id(self) -> str:
        """The account of the key."""
        accounts = self._call("GET", f"{V4}/accounts")["result"]
        if len(accounts) != 1:
            raise Forbidden(f"the key belongs to {len(accounts)} accounts; expected one")
        return str(accounts[0]["id"])

    def queues(self) -> list[Object]:
        """List the queues, oldest first."""
        found: list[Object] = []
        for page in count(1):
            answer = self._v4("GET", "/queues", params={"page": page, "per_page": limits.PER_PAGE})
            found += answer["result"]
            if not answer["result"] or len(found) >= answer["result_info"]["total_count"]:
                break
        return found

    def queue(self, queue: str) -> Object:
        """Show a queue.

        Raises:
            QueueNotFound: there is none of this name or id.
        """
        named: list[Object] = self._v4("GET", "/queues", params={"name": queue})["result"]
        for row in named:
            if row["queue_name"] == queue:
                return row
        if not _is_id(queue):
            raise QueueNotFound(f"queue {queue!r} does not exist")
        return self._result("GET", f"/queues/{queue}")

    def create_queue(
        self, name: str, *, delay_seconds: int | None = None, retention_seconds: int | None = None
    ) -> Object:
        """Create a queue; what is not given has the server's default."""
        settings = _given(delivery_delay=delay_seconds, message_retention_period=retention_seconds)
        return self._result("POST", "/queues", {"queue_name": name, "settings": settings})

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with its messages and its consumer."""
        self._v4("DELETE", self._path(queue))

    def pause(self, queue: str) -> Object:
        """Have nothing delivered until `resume`."""
        return self._result("PATCH", self._path(queue), {"settings": {"delivery_paused": True}})

    def resume(self, queue: str) -> Object:
        """Have messages delivered again."""
        return self._result("PATCH", self._path(queue), {"settings": {"delivery_paused": False}})

    def purge(self, queue: str) -> Object:
        """Delete all messages of a queue for good."""
        return self._result("POST", f"{self._path(queue)}/purge", {"delete_messages_permanently": True})

    def redrive(self, queue: str) -> int:
        """Move dead letters back to the queues they came from; give how many."""
        path = f"{self._path(queue)}/redrive"
        return int(self._v4("POST", path, timeout=REDRIVE_SECONDS)["result"]["redriven"])

    def metrics(self, queue: str) -> Object:
        """Count a queue's backlog."""
        return self._result("GET", f"{self._path(queue)}/metrics")

    def send(
        self, queue: str, body: object, content_type: str = "json", *, delay_seconds: float | None = None
    ) -> Object:
        """Send a message; it is on disk when this returns.

        Args:
            queue: Where to.
            body: A JSON value, a string (text) or bytes (bytes, v8).
            content_type: json, text, bytes or v8.
            delay_seconds: How long it waits; None is the queue's own delay.
        """
        message = {"body": body, "content_type": content_type, **_given(delay_seconds=delay_seconds)}
        return self._result("POST", f"{self._path(queue)}/messages", message)

    def peek(self, queue: str, limit: int = limits.PULL_BATCH_SIZE) -> list[Object]:
        """Show up to `limit` messages, oldest first, without taking them; bodies are decoded."""
        path, cursor = f"{self._path(queue)}/messages/peek", None
        found: list[Object] = []
        while len(found) < limit:
            size = min(limit - len(found), limits.PEEK_MESSAGES)
            page = self._result("POST", path, {"batch_size": size, **_given(cursor=cursor)})
            found += page["messages"]
            cursor = page.get("cursor")
            if cursor is None:
                break
        return [_decoded(message) for message in found]

    def pull(
        self, queue: str, *, batch_size: int | None = None, visibility_timeout_ms: int | None = None
    ) -> list[Object]:
        """Take ready messages under a lease; bodies are decoded. None means what the queue's consumer says."""
        body = _given(batch_size=batch_size, visibility_timeout_ms=visibility_timeout_ms)
        return [
            _decoded(message)
            for message in self._result("POST", f"{self._path(queue)}/messages/pull", body)["messages"]
        ]

    def ack(
        self, queue: str, acks: Iterable[str] = (), retries: Iterable[str] = (), *, delay_seconds: float | None = None
    ) -> Object:
        """Settle leases; the answer counts them and has a warning for each that no longer counts.

        Args:
            queue: The queue they were pulled from.
            acks: Lease ids of messages that are done.
            retries: Lease ids of messages to be delivered again.
            delay_seconds: How long the retried ones wait; None means what the queue's consumer says.
        """
        delay = _given(delay_seconds=delay_seconds)
        body = {
            "acks": [{"lease_id": lease} for lease in acks],
            "retries": [{"lease_id": lease, **delay} for lease in retries],
        }
        return self._result("POST", f"{self._path(queue)}/messages/ack", body)

    def create_key(
        self,
        role: str,
        *,
        account: str | None = None,
        queues: Iterable[str] | None = None,
        secret: str | None = None,
        is_test: bool = False,
    ) -> Object:
        """Make a key; its secret is in the answer, this once."""
        body = _given(account=account, queues=list(queues) if queues else None, secret=secret)
        return self._call("POST", "/api/keys", {"role": role, "test": is_test, **body}, expects="secret")

    def keys(self) -> list[Object]:
        """List the account's keys, without their secrets."""
        found: list[Object] = self._call("GET", "/api/keys", expects="keys")["keys"]
        return found

    def revoke_key(self, key_id: str) -> None:
        """Have a key refused from now on."""
        self._call("DELETE", f"/api/keys/{quote(key_id, safe='')}", expects="revoked")

    def _path(self, queue: str) -> str:
        return f"/queues/{self.queue(queue)['queue_id']}"

    def _result(self, method: str, path: str, body: Object | None = None) -> Object:
        result: Object = self._v4(method, path, body)["result"]
        return result

    def _v4(self, method: str, path: str, body: Object | None = None, **more: Any) -> Object:
        return self._call(method, f"{V4}/accounts/{quote(self.account_id, safe='')}{path}", body, **more)

    def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        params: Mapping[str, str | int] | None = None,
        timeout: float = ANSWER_SECONDS,
        expects: str = "result",
    ) -> Object:
        """Call a route and give its answer, a JSON object that has the key that is expected."""
        import httpx2  # noqa: PLC0415 - see above

        try:
            content = None if body is None else msgspec.json.encode(body)
            response = self._http.request(method, path, content=content, params=params, timeout=timeout)
        except httpx2.RequestError as error:
            raise ConnectionError(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from error
        except UnicodeEncodeError:
            raise InvalidInput("a name, an id or a value has characters in it that are no UTF-8") from None
        answer = _json(response.content)
        if response.is_success and isinstance(answer, dict) and expects in answer:
            return answer
        raise self._refusal(response.status_code, answer)

    def _refusal(self, status: int, answer: object) -> MillraceError:
        match answer:
            case {"errors": [{"code": code, "message": sentence}, *_]} | {"error": {"code": code, "message": sentence}}:
                pass
            case _:
                return BY_STATUS.get(status, MillraceError)(
                    f"{self.url} answered {status}, but not as a Millrace server does; is the URL right?"
                )
        kind = BY_STATUS.get(status, MillraceError)
        if kind is Unauthenticated and not self._has_token:
            sentence = f"{sentence}: no key was given; set MILLRACE_TOKEN"
        if not issubclass(kind, Unauthenticated | Forbidden):
            kind = BY_CODE.get(code, kind)
        return kind(f"{sentence} [code: {code}]")


def _json(content: bytes) -> object:
    try:
        answer: object = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return answer


def _bearer(token: str) -> bytes:
    token = token.strip()
    if not token or any(character < " " or character == "\x7f" for character in token):
        raise Unauthenticated("the key is empty or has control characters in it; no header can carry it")
    return b"Bearer " + token.encode("utf-8", "surrogateescape")  # an environment may hold any bytes


def _is_id(text: str) -> bool:
    return len(text) == ID_CHARACTERS and set(text) <= set("0123456789abcdef")


def _given(**values: object) -> Object:
    """Leave out what is None."""
    return {name: value for name, value in values.items() if value is not None}


def _decoded(message: Object) -> Object:
    """Give a message with its content type and with the value that was sent, in place of its base64."""
    content_type = message["metadata"].get("CF-Content-Type", "json")
    body: object = message["body"]
    if content_type != "text":
        raw = base64.b64decode(message["body"])
        try:
            body = decode_body(raw, content_type)
        except (msgspec.DecodeError, UnicodeDecodeError):  # not sent through a door that checks, as ours does
            body = raw
    return {**message, "body": body, "content_type": content_type}
