"""From an error class to a status and a code, and from there to the two shapes of an error answer."""

from math import ceil
from typing import NamedTuple

import msgspec

from millrace import errors
from millrace.clock import iso_milliseconds

CLOUDFLARE = "/client/v4"
JOBS = "/jobs"
RETRY_AFTER_SECONDS = 1


class Reply(NamedTuple):
    """HTTP status, Cloudflare's code, and whether the same request may succeed later."""

    status: int
    code: int
    retry: bool = False


TABLE: dict[type[Exception], Reply] = {
    errors.InvalidInput: Reply(400, 10026),
    errors.InvalidRequest: Reply(400, 10026),
    errors.InvalidQueueName: Reply(400, 11003),
    errors.InvalidQueueSettings: Reply(400, 100128),
    errors.InvalidConsumerSettings: Reply(400, 100127),
    errors.OutboundRefused: Reply(400, 100127),
    errors.InvalidMessage: Reply(400, 10203),
    errors.InvalidBatchDelay: Reply(400, 10202),
    errors.BodyNotJson: Reply(400, 10208),
    errors.BodyDoesNotFit: Reply(400, 10207),
    errors.TooLarge: Reply(413, 10204),
    errors.BatchTooLarge: Reply(413, 10205),
    errors.BatchCountWrong: Reply(413, 10206),
    errors.EncodingRefused: Reply(415, 10208),
    errors.MediaTypeRefused: Reply(415, 10208),
    errors.RequestTimedOut: Reply(408, 10208, retry=True),
    errors.RouteNotFound: Reply(404, 7003),
    errors.NotFound: Reply(404, 7003),
    errors.QueueNotFound: Reply(404, 11000),
    errors.ConsumerNotFound: Reply(404, 11005),
    errors.SubscriptionNotFound: Reply(404, 11006),
    errors.Gone: Reply(410, 7003),
    errors.MethodNotAllowed: Reply(405, 7003),
    errors.Conflict: Reply(409, 10026),
    errors.QueueNameTaken: Reply(409, 11009),
    errors.ConsumerExists: Reply(409, 11004),
    errors.DeliveryPaused: Reply(409, 10252),
    errors.IdempotencyKeyReused: Reply(409, 10409),
    errors.NotScheduled: Reply(409, 10253),
    errors.PullNotEnabled: Reply(405, 10405),
    errors.BacklogFull: Reply(429, 10251, retry=True),
    errors.Overloaded: Reply(429, 10250, retry=True),
    errors.Unauthenticated: Reply(401, 10000),
    errors.Forbidden: Reply(403, 10000),
    errors.QueueUnavailable: Reply(503, 15000, retry=True),
    errors.StoreUnavailable: Reply(503, 15000, retry=True),
}
INTERNAL = Reply(500, 15000, retry=True)
INTERNAL_SENTENCE = "Internal error. The log has the details under this correlation id."


def reply_to(error: Exception) -> Reply:
    """Look an error up by its class or the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return INTERNAL


def body_of(error: Exception, path: str, now_ms: int, correlation_id: str) -> bytes:
    """Write the error in the shape of the door: Cloudflare's envelope below /client/v4, ours elsewhere.

    Below /jobs, `success` is beside it.
    """
    reply = reply_to(error)
    sentence = INTERNAL_SENTENCE if reply is INTERNAL else _printable(str(error))
    if path == CLOUDFLARE or path.startswith(CLOUDFLARE + "/"):
        failure = {
            "success": False,
            "errors": [{"code": reply.code, "message": sentence}],
            "messages": [],
            "result": None,
        }
        return msgspec.json.encode(failure)
    if reply.status == 503:
        sentence = "Queue service temporarily unavailable"
    code = getattr(error, "code", "INTERNAL_ERROR") if reply is not INTERNAL else "INTERNAL_ERROR"
    refusal = {
        "error": {
            "code": code,
            "message": sentence,
            "timestamp": iso_milliseconds(now_ms),
            "correlation_id": correlation_id,
        }
    }
    is_of_jobs = path == JOBS or path.startswith(JOBS + "/")
    return msgspec.json.encode({"success": False, **refusal} if is_of_jobs else refusal)


def headers_of(error: Exception) -> list[tuple[bytes, bytes]]:
    """Tell clients whether trying again is of use, in the words their SDKs obey."""
    reply = reply_to(error)
    if reply.retry:
        seconds = getattr(error, "retry_after", None) or RETRY_AFTER_SECONDS
        return [(b"retry-after", str(ceil(seconds)).encode())]
    headers = [(b"x-should-retry", b"false")]
    if isinstance(error, errors.Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, errors.MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    return headers


def _printable(sentence: str) -> str:
    return sentence.encode("utf-8", "replace").decode()
