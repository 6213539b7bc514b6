"""Who may come in beside the keys: whoever has JWT_SECRET, or a token that it signed; and uploads by a signed URL.

What is let in here counts below /jobs, /uploads and /runs only, with the role agent or producer and never more.
"""

import hmac
import re
from typing import Any
from urllib.parse import parse_qs

from millrace.access.keys import Key
from millrace.access.scopes import Role
from millrace.clock import Clock
from millrace.http.routes import Admit, Caller

ROLES = {"agent": Role.AGENT, "producer": Role.PRODUCER}
CONTENT = re.compile(r"/uploads/[^/]+/content/?")
CREATE = re.compile(r"/uploads/create/?")
SIGNED_UPLOAD, TURNSTILE = "signed-upload", "turnstile"  # ids of keys that stand for no key


def make_admit(account_id: str, clock: Clock, *, jwt_secret: str | None, has_turnstile: bool) -> Admit:
    """Make the way in. `has_turnstile` lets callers without a key create uploads, which then ask for a token."""
    secret = None if jwt_secret is None else jwt_secret.encode("utf-8", "surrogateescape")
    if secret is not None:
        # It takes 0.1 s: neither a server without the secret nor the first caller should wait for it.
        import jwt  # noqa: F401, PLC0415

    def admit(caller: Caller) -> Key | None:
        if caller.bearer is not None:
            return None if secret is None else key_of(caller.bearer, secret, account_id, clock())
        if caller.method == "PUT" and CONTENT.fullmatch(caller.path) and _has_signature(caller.query_string):
            return _stand_in(SIGNED_UPLOAD, account_id)
        if has_turnstile and caller.method == "POST" and CREATE.fullmatch(caller.path):
            return _stand_in(TURNSTILE, account_id)
        return None

    return admit


def key_of(bearer: bytes, secret: bytes, account_id: str, now_ms: int) -> Key | None:
    """Give what a bearer stands for, or None when it is neither the secret nor a good token."""
    if hmac.compare_digest(bearer, secret):
        return Key(id="jwt-secret", account_id=account_id, role=Role.AGENT, created_at_ms=0, hint="")
    if bearer.count(b".") != 2:
        return None
    claims = _claims(bearer, secret)
    if claims is None or not _is_in_time(claims, now_ms):
        return None
    role, tenant = claims.get("role"), claims.get("tenant")
    if not isinstance(role, str) or role not in ROLES or not (tenant is None or (isinstance(tenant, str) and tenant)):
        return None
    return Key(id="jwt", account_id=account_id, role=ROLES[role], created_at_ms=0, hint="", tenant=tenant)


def _claims(token: bytes, secret: bytes) -> dict[str, Any] | None:
    """Give the claims of a token that the secret signed. Its times are held against our own clock, not here."""
    import jwt  # noqa: PLC0415 - see `make_admit`

    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], options=options)
    except jwt.InvalidTokenError:
        return None


def _is_in_time(claims: dict[str, Any], now_ms: int) -> bool:
    """Say whether a token has an end that lies ahead, and has begun if it says when."""
    ends, begins = claims.get("exp"), claims.get("nbf", 0)
    numbers = all(isinstance(time, int | float) and not isinstance(time, bool) for time in (ends, begins))
    return numbers and begins * 1000 <= now_ms < ends * 1000  # type: ignore[operator]


def _has_signature(query_string: bytes) -> bool:
    return "signature" in parse_qs(query_string.decode("latin-1"), keep_blank_values=True)


def _stand_in(id: str, account_id: str) -> Key:
    return Key(id=id, account_id=account_id, role=Role.PRODUCER, created_at_ms=0, hint="")
