"""What all providers over HTTP do with their answers."""

import re
from typing import TypeVar

import msgspec

from millrace.apps.messaging.providers.contract import Failed
from millrace.errors import OutboundFailed, OutboundRefused
from millrace.resources.answer import Answer, NothingSent
from millrace.resources.outbound import Outbound

T = TypeVar("T")

LOOKS_LIKE_JSON = re.compile(rb"\s*\{")


async def ask(
    provider: str, outbound: Outbound, url: str, body: bytes, headers: dict[str, str], *, seconds: float
) -> Answer:
    """Post, and give any answer.

    Raises:
        Failed: there is none; the reason says whether the message may have been taken all the same.
    """
    try:
        return await outbound.post(url, body, headers, timeout_seconds=seconds)
    except (NothingSent, OutboundRefused) as error:
        raise Failed(provider, f"{provider}: {error}", is_trouble=True) from None
    except OutboundFailed as error:
        raise Failed(provider, f"{provider}: {error}; it may have been sent", is_trouble=True) from None


def read(answer: Answer, shape: type[T]) -> T | None:
    """Read a JSON answer, None when it is none of that shape."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def looks_like_json(answer: Answer) -> bool:
    """Say whether the server of the API seems to have answered, and not a proxy or a portal with a page."""
    return LOOKS_LIKE_JSON.match(answer.body) is not None
