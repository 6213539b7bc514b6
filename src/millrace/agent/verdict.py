"""What becomes of a job after its work: pure decisions."""

from typing import Literal

import msgspec

from millrace import errors

ERROR_CHARACTERS = 500
MISSING_SECONDS = 5  # an upload is announced before its bytes are sent
AWAY_SECONDS = 30
AWAY = (
    errors.ServerUnreachable,
    errors.ServerFailed,
    errors.Overloaded,
    errors.StoreUnavailable,
    errors.RequestTimedOut,
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is settled: `postpone_seconds` has it come back then, without an attempt."""

    status: Literal["done", "failed"]
    error: str | None = None
    postpone_seconds: int | None = None


DONE = Verdict(status="done")
RELEASED = Verdict(status="failed", error="the agent stops", postpone_seconds=0)


def too_long(seconds: float) -> Verdict:
    """Give the verdict on work that was not at its end after so long."""
    return Verdict(status="failed", error=f"not at its end after {seconds:g} s")


def verdict_of(error: BaseException) -> Verdict:
    """Decide by what the work raised.

    An object that is not there yet, or a server that is away, is nobody's failure: the job comes back later. All else
    counts as an attempt.
    """
    if isinstance(error, errors.ObjectNotFound):
        return Verdict(status="failed", error="upload not there yet", postpone_seconds=MISSING_SECONDS)
    sentence = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS]
    if isinstance(error, AWAY):
        return Verdict(status="failed", error=sentence, postpone_seconds=AWAY_SECONDS)
    return Verdict(status="failed", error=sentence)
