"""What keys, owners and times to live may be, for everything that applications share."""

from millrace import limits
from millrace.errors import InvalidInput
from millrace.ranges import shown, whole_numbers


def check_key(what: str, key: object, limit: int = limits.COORDINATION_KEY_BYTES) -> None:
    """Refuse what is no text of 1 to `limit` bytes in UTF-8; `what` names it in the error.

    Raises:
        InvalidInput: it is none.
    """
    try:
        fits = isinstance(key, str) and 1 <= len(key.encode()) <= limit
    except UnicodeEncodeError:  # half of a surrogate pair
        fits = False
    if not fits:
        raise InvalidInput(f"{what} is {shown(key)}; expected a text of 1 to {limit} bytes in UTF-8")


def check_ttl(ttl_ms: object, most_ms: int) -> None:
    """Refuse what is no whole number of milliseconds from 1 to `most_ms`.

    Raises:
        InvalidInput: it is none.
    """
    whole_numbers({"ttl_ms": ttl_ms}, {"ttl_ms": (1, most_ms)}, InvalidInput)
