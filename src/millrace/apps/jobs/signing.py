"""Upload URLs: signed, so that a client may put one object there without a key, until they expire."""

import hashlib
import hmac
from typing import NamedTuple


class Ticket(NamedTuple):
    """What an upload URL allows. The secret is this upload's own."""

    account_id: str
    run_id: str
    content_type: str
    max_bytes: int
    expires_at_ms: int
    secret: bytes


def sign(ticket: Ticket, method: str) -> str:
    """Give the signature, in hex, of all that the URL allows."""
    parts = (method, ticket.account_id, ticket.run_id, ticket.content_type, ticket.max_bytes, ticket.expires_at_ms)
    return hmac.digest(ticket.secret, "\n".join(map(str, parts)).encode(), hashlib.sha256).hex()


def path_of(ticket: Ticket) -> str:
    """Give path and query of the upload URL."""
    expires, signature = ticket.expires_at_ms // 1000, sign(ticket, "PUT")
    return f"/uploads/{ticket.run_id}/content?expires={expires}&signature={signature}"


def is_signed(ticket: Ticket, method: str, expires: str, signature: str) -> bool:
    """Say whether an URL is the one that was given out, whatever the time."""
    is_same_end = expires == str(ticket.expires_at_ms // 1000)
    return hmac.compare_digest(sign(ticket, method).encode(), signature.encode("utf-8", "replace")) and is_same_end
