"""Links to an export's file: signed, so that it can be fetched without a key until the link expires."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.apps.messaging.exports.rows import Export
from millrace.errors import Forbidden
from millrace.http.routes import Caller
from millrace.names import ACCOUNT_ID

SIGNED = "signed-download"  # the id of a key that stands for no key
DOWNLOAD = re.compile(r"/api/exports/[^/]+/download/?")
SECONDS = re.compile(r"[0-9]{1,12}")

Query = Mapping[str, Sequence[str]]


class Link(NamedTuple):
    """What a link allows: one file, until a time in epoch seconds. The secret is the export's own."""

    account_id: str
    export_id: str
    expires: int
    secret: bytes


class LinkRules(NamedTuple):
    """How long links live, and where the server is from outside, if it knows."""

    seconds: int
    public_url: str | None = None


def plain_path(export_id: str) -> str:
    """Give the path of an export's file, which asks for a key."""
    return f"/api/exports/{quote(export_id, safe='')}/download"


def path_of(link: Link) -> str:
    """Give path and query of a link."""
    words = {"account": link.account_id, "expires": link.expires, "signature": sign(link)}
    return f"{plain_path(link.export_id)}?{urlencode(words)}"


def url_of(export: Export, account_id: str, rules: LinkRules, now_ms: int) -> str:
    """Give a link to an export's file: absolute where the server knows its own address."""
    expires = now_ms // 1000 + rules.seconds
    return (rules.public_url or "") + path_of(Link(account_id, export.id, expires, export.secret))


def sign(link: Link) -> str:
    """Give the signature, in hex, of all that a link allows."""
    words = ("GET", link.account_id, link.export_id, str(link.expires))
    return hmac.digest(link.secret, "\n".join(words).encode(), hashlib.sha256).hex()


def admit_signed(caller: Caller) -> Key | None:
    """Let in who comes with a signed link and no key; the route then looks at the signature."""
    if caller.bearer is not None or caller.method != "GET" or not DOWNLOAD.fullmatch(caller.path):
        return None
    query = parse_qs(caller.query_string.decode("latin-1"), keep_blank_values=True)
    account_id = query.get("account", [""])[-1]
    if "signature" not in query or ACCOUNT_ID.fullmatch(account_id) is None:
        return None
    return Key(id=SIGNED, account_id=account_id, role=Role.PRODUCER, created_at_ms=0, hint="")


def check_link(query: Query, account_id: str, export_id: str, secret: bytes, now_ms: int) -> None:
    """Let a link pass that we signed and that has not expired.

    Raises:
        Forbidden: it is another one.
    """
    expires, signature = query.get("expires", [""])[-1], query["signature"][-1]
    seconds = int(expires) if SECONDS.fullmatch(expires) else 0
    expected = sign(Link(account_id, export_id, seconds, secret))
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise Forbidden("the link is not one that this server has signed; ask for a new one")
    if seconds * 1000 <= now_ms:
        raise Forbidden("the link has expired; ask for a new one")
