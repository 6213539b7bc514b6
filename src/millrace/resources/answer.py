"""What other servers answer, or that nothing reached them."""

from email.utils import parsedate_to_datetime

import msgspec

from millrace.errors import OutboundFailed

RETRY_AFTER_SECONDS = (1.0, 3_600.0)  # 0 would be no pause at all, and a mistaken day would stop all for a day


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def retry_after_seconds(self, now_ms: int) -> float | None:
        """Read Retry-After, seconds or a date, as 1 to 3,600 seconds; None where there is none that can be read."""
        text = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now_ms / 1000
        except (ValueError, OverflowError):
            return None
        low, high = RETRY_AFTER_SECONDS
        return min(high, max(low, seconds))


class NothingSent(OutboundFailed):
    """No connection came about, so the other server has seen nothing of the request."""
