"""What other servers answer."""

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
