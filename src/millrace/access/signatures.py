"""Signatures of what goes out and comes in, after Standard Webhooks (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from millrace.errors import InvalidInput

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300


def sign(secret: str, id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Make the three headers that prove who sent the body, and when.

    Raises:
        InvalidInput: the secret is not `whsec_` and base64.
    """
    signature = _signature(_key(secret), id, str(timestamp_s), body)
    return {"webhook-id": id, "webhook-timestamp": str(timestamp_s), "webhook-signature": signature}


def verify(
    secrets: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    tolerance_s: float = TOLERANCE_SECONDS,
) -> bool:
    """Say whether one of the secrets signed this body, not longer ago (or ahead) than `tolerance_s`.

    Args:
        secrets: One, or several while one takes over from another.
        headers: Names in any case.
        body: The bytes as they came.
        now_s: Epoch seconds.
        tolerance_s: How far the two clocks and the way may be apart.

    Raises:
        InvalidInput: a secret is not `whsec_` and base64.
    """
    secrets = [secrets] if isinstance(secrets, str) else secrets
    lower = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    given = [signature.encode() for signature in lower.get("webhook-signature", "").split()]
    expected = [_signature(_key(secret), message_id, timestamp, body).encode() for secret in secrets]
    # All pairs are compared, so that the time taken does not tell which one fits.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    return any(matches) and _is_near(timestamp, now_s, tolerance_s)


def _signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    """Decode the key; an empty one would let everybody sign."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX).encode("ascii"), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise InvalidInput(f"the signing secret is not valid; expected {PREFIX!r} and base64")
    return key


def _is_near(timestamp: str, now_s: float, tolerance_s: float) -> bool:
    return timestamp.isascii() and timestamp.isdigit() and abs(now_s - int(timestamp)) <= tolerance_s
