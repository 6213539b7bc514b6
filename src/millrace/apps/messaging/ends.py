"""How an attempt at a job ended, and what that means for its message."""

from typing import Literal

import msgspec

from millrace.apps.messaging.providers.contract import Away, Failed, Handed, Refused
from millrace.apps.messaging.rows import storable
from millrace.errors import InvalidInput, MillraceError, StoreUnavailable
from millrace.handlers import PermanentError, RetryLater
from millrace.settlement import Ack, Outcome, Postpone, Reject, Retry


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one attempt. `status` counts for a success only; `error` is what nobody expected."""

    outcome: Outcome
    status: Literal["sent", "stored", "done"] = "done"
    reason: str | None = None
    provider: str | None = None
    provider_id: str | None = None
    error: BaseException | None = None

    @property
    def is_success(self) -> bool:
        """Say whether the job is done."""
        return isinstance(self.outcome, Ack)


def end_of_handing(handed: Handed) -> End:
    """Say that a provider has the message."""
    return End(
        outcome=Ack(),
        status=handed.status,
        reason=None if handed.note is None else storable(handed.note),
        provider=handed.provider,
        provider_id=None if handed.provider_id is None else storable(handed.provider_id),
    )


def end_of(error: Exception) -> End:
    """Say what an error means: never again, again later, or that nothing was tried.

    What nobody expected is tried again, and tells no more than its class: its text may hold what the job holds.
    """
    reason = storable(str(error))
    match error:
        case Refused():
            return End(outcome=Reject(reason), reason=reason, provider=error.provider)
        case Failed():
            return End(outcome=Retry(error.retry_after_seconds, reason), reason=reason, provider=error.provider)
        case Away():
            return End(outcome=Postpone(error.seconds), reason=reason, provider=error.provider)
        case PermanentError() | InvalidInput():
            return End(outcome=Reject(reason), reason=reason)
        case RetryLater():
            return End(outcome=Retry(error.delay_seconds, reason), reason=reason)
        case StoreUnavailable():
            return End(outcome=Retry(reason="the store cannot be used"), reason="the store cannot be used")
        case MillraceError():
            return End(outcome=Retry(reason=reason), reason=reason)
    name = type(error).__name__
    return End(outcome=Retry(reason=name), reason=name, error=error)
