"""What the end of a handler means."""

from millrace.batch import check_delay_seconds, check_reason
from millrace.settlement import Ack, Outcome, Reject, Retry


class PermanentError(Exception):
    """Raise it when no further delivery can succeed: the messages go to the dead-letter queue."""


class RetryLater(Exception):
    """Raise it to have the messages delivered again after so many seconds, 0 to 86,400."""

    delay_seconds: float | None = None  # for classes of the user's own that do not call ours

    def __init__(self, delay_seconds: float) -> None:
        super().__init__(f"retry in {delay_seconds} s")
        self.delay_seconds = check_delay_seconds(delay_seconds)


def outcome_of(error: BaseException | None) -> Outcome:
    """Say what a handler's end means for the messages it did not speak for."""
    match error:
        case None:
            return Ack()
        case PermanentError():
            return Reject(check_reason(_text(error) or "PermanentError"))
        case RetryLater():
            return Retry(error.delay_seconds)
        case _:
            return Retry(reason=type(error).__name__)


def _text(error: PermanentError) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own __str__
        return ""
