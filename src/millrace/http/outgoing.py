"""A pushed message on the wire, and what becomes of it on its way to the broker."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from millrace import limits
from millrace.bindings import priority_of
from millrace.clock import epoch_ms, read_rfc_3339
from millrace.errors import InvalidInput, InvalidMessage
from millrace.http.request import Head
from millrace.message import NORMAL, PRIORITIES, ContentType, Outgoing, check_json, decode_base64

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

# Looking one up is quicker than asking the enumeration for it.
CONTENT_TYPES: dict[str | None, ContentType] = {None: ContentType.JSON, **{str(one): one for one in ContentType}}

Delay = Annotated[float, Meta(ge=0, le=limits.DELAY_SECONDS)]
Time = (
    Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | Annotated[int, Meta(ge=0, le=limits.TIME_MS_MAX)]
)
Priority = Annotated[str, Meta(extra_json_schema={"enum": list(PRIORITIES)})]


class PushBody(msgspec.Struct, frozen=True):
    """One message; the body is any JSON value, a string (text) or base64 (bytes, v8).

    What follows the delay is ours. `send_at` is RFC 3339 with its offset, or epoch milliseconds.
    """

    body: msgspec.Raw
    content_type: Literal["json", "text", "bytes", "v8"] | None = None
    delay_seconds: Delay | None = None
    send_at: Time | None = None
    priority: Priority | None = None
    ordering_key: str | None = None
    dedupe_key: str | None = None
    headers: dict[str, str] | None = None


def outgoing(given: PushBody, inherited: dict[str, str] | None) -> Outgoing:
    """Make a message of what was pushed; its own headers win over those of the request.

    Raises:
        InvalidMessage: body, time or priority are not what they should be.
    """
    content_type = CONTENT_TYPES[given.content_type]
    return Outgoing(
        body=_body(bytes(given.body), content_type),
        content_type=content_type,
        delay_seconds=given.delay_seconds,
        source="http",
        headers=_merged(inherited, given.headers) if inherited and given.headers else given.headers or inherited,
        send_at_ms=None if given.send_at is None else read_time("send_at", given.send_at, InvalidMessage),
        priority=NORMAL if given.priority is None else priority_of(given.priority),
        ordering_key=given.ordering_key,
        dedupe_key=given.dedupe_key,
    )


def inherited_headers(head: Head) -> dict[str, str] | None:
    """Give what the messages of a request carry on: its trace, and the correlation id that its caller chose."""
    if head.traceparent is None and not head.is_correlated:
        return None
    headers = {}
    if head.traceparent is not None and TRACEPARENT.fullmatch(head.traceparent):
        headers["traceparent"] = head.traceparent
    if head.is_correlated:
        headers["X-Correlation-ID"] = head.correlation_id
    return headers or None


def read_time(name: str, given: str | int | None, error: type[InvalidInput]) -> int | None:
    """Give a time on the wire as epoch milliseconds.

    Raises:
        InvalidInput: of the class `error`: a text that is not RFC 3339, or has no offset.
    """
    if given is None or isinstance(given, int):
        return given
    moment = read_rfc_3339(given)
    if moment is None:
        raise error(
            f"{name} is {given[:40]!r}; expected a time with its offset, such as '2026-12-24T18:00:00+01:00', "
            "or epoch milliseconds"
        )
    return epoch_ms(moment)


def _merged(inherited: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    named = {name.lower() for name in own}
    return {**{name: value for name, value in inherited.items() if name.lower() not in named}, **own}


def _body(raw: bytes, content_type: ContentType) -> bytes:
    if content_type is ContentType.JSON:
        return check_json(raw)
    text = _string(raw, content_type)
    return text.encode() if content_type is ContentType.TEXT else decode_base64(text)


def _string(raw: bytes, content_type: ContentType) -> str:
    try:
        text: str = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"body of content type {content_type} is not a string: {error}") from None
    return text
