"""From the status and the code of an answer to an error class."""

from typing import Any, TypeVar

import msgspec

from millrace import errors
from millrace.client.answers import Answer
from millrace.errors import Forbidden, MillraceError, Unauthenticated, UnexpectedAnswer

E = TypeVar("E", bound=MillraceError)

BY_STATUS: dict[int, type[MillraceError]] = {
    400: errors.InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: errors.NotFound,
    405: errors.PullNotEnabled,  # no other method of the client meets with it; the live service gives it code 0
    408: errors.RequestTimedOut,
    409: errors.Conflict,
    410: errors.Gone,
    413: errors.TooLarge,
    429: errors.Overloaded,
    503: errors.StoreUnavailable,
}
BY_CODE: dict[object, type[MillraceError]] = {
    10104: errors.QueueNotFound,
    10202: errors.InvalidBatchDelay,
    10203: errors.InvalidMessage,
    10204: errors.MessageTooLarge,
    10205: errors.BatchTooLarge,
    10206: errors.BatchCountWrong,
    10207: errors.BodyDoesNotFit,
    10208: errors.BodyNotJson,
    10250: errors.Overloaded,
    10251: errors.BacklogFull,
    10252: errors.DeliveryPaused,
    10253: errors.NotScheduled,
    10405: errors.PullNotEnabled,
    10409: errors.IdempotencyKeyReused,
    11000: errors.QueueNotFound,
    11003: errors.InvalidQueueName,
    11004: errors.ConsumerExists,
    11005: errors.ConsumerNotFound,
    11009: errors.QueueNameTaken,
    100127: errors.InvalidConsumerSettings,
    100128: errors.InvalidQueueSettings,
}
SAID_BY_STATUS = (401, 403, 408)  # whatever the code
LIKELY_OF_OTHERS = (401, 403, 408, 429)  # what stands before a server answers with these, in words of its own


def refusal_of(answer: Answer, url: str, *, has_token: bool) -> MillraceError:
    """Make the error that an answer stands for: its sentence and code, and in its attributes how to go on."""
    error = _error(answer, url, has_token=has_token)
    error.status = answer.status
    error.correlation_id = answer.correlation_id
    error.retry_after = answer.retry_after
    return error


def missing(error: E, code: int, correlation_id: str | None = None) -> E:
    """Give an error of the client's own the attributes that the server's would have."""
    error.status, error.code, error.correlation_id = 404, code, correlation_id
    return error


def _error(answer: Answer, url: str, *, has_token: bool) -> MillraceError:
    match _json(answer.content):
        case {"errors": [{"code": int(code), "message": str(sentence)}, *_]}:
            return _told(answer.status, code, sentence, has_token=has_token)
        case {"error": {"code": str(code), "message": str(sentence)}}:
            return _told(answer.status, code, sentence, has_token=has_token)
    kind = _kind(answer.status) if answer.status in LIKELY_OF_OTHERS or answer.status >= 500 else UnexpectedAnswer
    return kind(f"{url} answered {answer.status}, but not as a Millrace server does; is the URL right?")


def _told(status: int, code: int | str, sentence: str, *, has_token: bool) -> MillraceError:
    kind = _kind(status)
    if kind is Unauthenticated:
        said = "the key was refused; is it one of this server?" if has_token else "no key was given; set MILLRACE_TOKEN"
        sentence = f"{sentence}: {said}"
    if status not in SAID_BY_STATUS:
        kind = BY_CODE.get(code, kind)
    error = kind(f"{sentence} [code: {code}]")
    error.code = code
    return error


def _kind(status: int) -> type[MillraceError]:
    return BY_STATUS.get(status, errors.ServerFailed if status >= 500 else MillraceError)


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
