"""Errors of handlers, which are raised in one process and reported in another."""

import traceback

from millrace.handlers import PermanentError, RetryLater
from millrace.runtime.frames import Fault

SENTENCE_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 16_000


class HandlerError(Exception):
    """What a handler raised in its own process; the traceback of that process is its note."""


class HandlerDied(Exception):
    """The process of a handler ended before the handler did."""


def fault_of(error: BaseException) -> Fault:
    """Make an error ready to travel."""
    match error:
        case PermanentError():
            kind = "permanent"
        case RetryLater():
            kind = "later"
        case _:
            kind = "other"
    return Fault(
        kind=kind,  # type: ignore[arg-type]
        name=type(error).__name__,
        sentence=_sentence(error),
        traceback=_plain("".join(traceback.format_exception(error)))[-TRACEBACK_CHARACTERS:],
        delay_seconds=error.delay_seconds if isinstance(error, RetryLater) else None,
    )


def error_of(fault: Fault) -> Exception:
    """Give the error that travelled: PermanentError and RetryLater as they were, others as HandlerError."""
    error: Exception
    match fault.kind:
        case "permanent":
            error = PermanentError(fault.sentence)
        case "later":
            error = RetryLater(0)
            error.delay_seconds = fault.delay_seconds
        case _:
            error = HandlerError(f"{fault.name}: {fault.sentence}" if fault.sentence else fault.name)
    error.add_note(fault.traceback)
    return error


def _sentence(error: BaseException) -> str:
    try:
        return _plain(str(error))[:SENTENCE_CHARACTERS]
    except Exception as another:  # noqa: BLE001 - the user's own __str__
        return f"(its text cannot be had: {type(another).__name__})"


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
