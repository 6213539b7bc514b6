"""All errors of Millrace in one tree; the docstring of a class says what its user can do.

    MillraceError
    ├── InvalidInput                  a value is wrong; nothing was changed
    │   ├── InvalidRequest            a management body has the wrong shape
    │   ├── InvalidQueueName
    │   ├── InvalidQueueSettings
    │   ├── InvalidConsumerSettings
    │   ├── InvalidMessage            content type, body or delay of one message
    │   ├── InvalidBatchDelay
    │   ├── InvalidCron
    │   ├── BodyNotJson
    │   └── BodyDoesNotFit            JSON, but not of the expected shape
    ├── TooLarge
    │   ├── MessageTooLarge
    │   ├── BatchTooLarge
    │   ├── BatchCountWrong
    │   ├── RequestTooLarge
    │   └── ObjectTooLarge
    ├── EncodingRefused
    ├── MediaTypeRefused
    ├── RequestTimedOut
    ├── NotFound
    │   ├── RouteNotFound · QueueNotFound · ConsumerNotFound · SubscriptionNotFound · KeyNotFound · ObjectNotFound ·
    │   │   SecretNotFound · CronNotFound · WorkflowNotFound · AlertNotFound
    ├── Gone                          it was here, and was removed after its time
    ├── MethodNotAllowed
    ├── Conflict
    │   ├── QueueNameTaken · ConsumerExists · DeliveryPaused · KeyExists · KeyFromEnvironment ·
    │   │   IdempotencyKeyReused · NotScheduled · LockHeld · Fenced · StateChanged ·
    │   │   WorkflowExists
    ├── PullNotEnabled
    ├── BacklogFull                   the queue reached the limit its owner set
    ├── Overloaded
    ├── Unauthenticated
    ├── Forbidden
    ├── QueueUnavailable              an application could not queue what it was given
    ├── OutboundRefused               a URL leads where this server does not call
    ├── OutboundFailed                another server gave no answer
    ├── StoreUnavailable              the store cannot write now
    ├── StoreRefused                  the data directory must be looked at before a start
    ├── ServerUnreachable             a ConnectionError, too
    ├── ServerFailed
    ├── UnexpectedAnswer              an answer that is none of ours
    └── ConfigurationError            a setting, a file or a command is wrong; the start stops

Floors 4 and 7 turn a class into a status or an exit code, from one table each.
"""


class MillraceError(Exception):
    """Anything Millrace refuses or fails to do.

    What a client raises has the answer's HTTP status, its code (a number under /client/v4), its correlation id for
    the server's log, and the seconds after which another try may be of use. `sent` counts what a batch that was sent
    in parts had stored before its error.
    """

    code: str | int = "INTERNAL_ERROR"
    status: int | None = None
    correlation_id: str | None = None
    retry_after: float | None = None
    sent: int = 0


class InvalidInput(MillraceError):
    """Correct the value the message names and send again."""

    code = "VALIDATION_ERROR"


class InvalidRequest(InvalidInput):
    """Correct the management body."""


class InvalidQueueName(InvalidInput):
    """Use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit."""


class InvalidQueueSettings(InvalidInput):
    """Correct the queue setting the message names."""


class InvalidConsumerSettings(InvalidInput):
    """Correct the consumer setting the message names."""


class InvalidMessage(InvalidInput):
    """Correct the content type, body or delay of the message."""


class InvalidBatchDelay(InvalidInput):
    """Correct the delay of the batch."""


class InvalidCron(InvalidInput):
    """Correct the field of the cron expression that the message names."""


class BodyNotJson(InvalidInput):
    """Send a body that is JSON, in UTF-8."""


class BodyDoesNotFit(InvalidInput):
    """Send a JSON body of the documented shape."""


class TooLarge(MillraceError):
    """Send less."""

    code = "PAYLOAD_TOO_LARGE"


class MessageTooLarge(TooLarge):
    """Send a message of at most 128,000 bytes."""


class BatchTooLarge(TooLarge):
    """Send at most 256,000 bytes of bodies in one batch."""


class BatchCountWrong(TooLarge):
    """Send 1 to 100 messages in one batch."""


class RequestTooLarge(TooLarge):
    """Send a request body within the route's limit."""


class ObjectTooLarge(TooLarge):
    """Store a smaller object."""


class EncodingRefused(MillraceError):
    """Send the body without a Content-Encoding."""

    code = "UNSUPPORTED_ENCODING"


class MediaTypeRefused(MillraceError):
    """Send one of the media types that are allowed here."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class RequestTimedOut(MillraceError):
    """Send the whole body without long pauses."""

    code = "REQUEST_TIMEOUT"


class NotFound(MillraceError):
    """Look up the name or id again."""

    code = "NOT_FOUND"


class RouteNotFound(NotFound):
    """See /openapi.json for the routes there are."""


class QueueNotFound(NotFound):
    """List the queues of the account, or create this one."""


class ConsumerNotFound(NotFound):
    """List the consumers of the queue."""


class SubscriptionNotFound(NotFound):
    """List the event subscriptions of the account."""


class KeyNotFound(NotFound):
    """List the keys of the account."""


class CronNotFound(NotFound):
    """List the crons of the account."""


class ObjectNotFound(NotFound):
    """Look at the object's key, or wait until it is uploaded."""


class SecretNotFound(NotFound):
    """List the secrets of the account."""


class WorkflowNotFound(NotFound):
    """Look up the workflow's name, or the instance's id; instances are kept for 30 days after their end."""


class AlertNotFound(NotFound):
    """List the alert rules of the account."""


class Gone(MillraceError):
    """Make it again, or ask earlier: it was here, and was removed after its time."""

    code = "GONE"


class MethodNotAllowed(MillraceError):
    """Use one of the methods in the Allow header."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, sentence: str, allowed: str = "") -> None:
        super().__init__(sentence)
        self.allowed = allowed


class Conflict(MillraceError):
    """Something is in the way; look at it before trying again."""

    code = "CONFLICT"


class QueueNameTaken(Conflict):
    """Use a different name."""


class ConsumerExists(Conflict):
    """Delete the queue's consumer first; a queue has at most one."""


class DeliveryPaused(Conflict):
    """Resume delivery of the queue first."""


class KeyExists(Conflict):
    """Choose another secret."""


class KeyFromEnvironment(Conflict):
    """Start the server without, or with another, ADMIN_TOKEN."""


class IdempotencyKeyReused(Conflict):
    """Use a new idempotency key for what is not the same send."""


class NotScheduled(Conflict):
    """Peek at the queue: the message's time has come, it was delivered before, or it is gone."""


class LockHeld(Conflict):
    """Try again when its owner has released the lock, at the latest when it ends."""

    def __init__(self, sentence: str, owner: str = "", ends_at_ms: int = 0) -> None:
        super().__init__(sentence)
        self.owner, self.ends_at_ms = owner, ends_at_ms


class Fenced(Conflict):
    """Stop: the lock has ended or is another holder's; take it anew and read again what it guards."""


class StateChanged(Conflict):
    """Read the state again, and decide anew; `version` is the one it has now, 0 for none."""

    def __init__(self, sentence: str, version: int = 0) -> None:
        super().__init__(sentence)
        self.version = version


class WorkflowExists(Conflict):
    """Choose another id, or look at the instance that has it."""


class PullNotEnabled(MillraceError):
    """Give the queue a consumer of type http_pull."""

    code = "METHOD_NOT_ALLOWED"


class BacklogFull(MillraceError):
    """Drain the queue, or raise its limit."""

    code = "QUEUE_FULL"


class Overloaded(MillraceError):
    """Send or ask less often; `retry_after` says after how many seconds again."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        if retry_after is not None:
            self.retry_after = retry_after


class Unauthenticated(MillraceError):
    """Send a valid key as `Authorization: Bearer …`."""

    code = "UNAUTHORIZED"


class Forbidden(MillraceError):
    """Use a key whose role and queues allow this."""

    code = "FORBIDDEN"


class QueueUnavailable(MillraceError):
    """Try again later; nothing was queued."""

    code = "SERVICE_UNAVAILABLE"


class OutboundRefused(MillraceError):
    """Use a URL with a public address, or have the operator allow its host (FETCH_ALLOW)."""

    code = "URL_REFUSED"


class OutboundFailed(MillraceError):
    """Look at the other server: it cannot be reached, or does not answer in time."""

    code = "OUTBOUND_FAILED"


class StoreUnavailable(MillraceError):
    """Try again later; nothing was changed, unless the message says that nobody knows."""

    code = "SERVICE_UNAVAILABLE"


class StoreRefused(MillraceError):
    """Look at the data directory; the message says what was found and what to do."""

    code = "STORE_REFUSED"


class ServerUnreachable(MillraceError, ConnectionError):
    """Look at the URL and at the server; `was_connected` says whether it may have seen the request."""

    code = "UNREACHABLE"

    def __init__(self, sentence: str, *, was_connected: bool = True) -> None:
        super().__init__(sentence)
        self.was_connected = was_connected


class ServerFailed(MillraceError):
    """Try again later; the server's log has the details under the correlation id."""


class UnexpectedAnswer(MillraceError):
    """Look at the URL; what answers there is another program, or speaks otherwise than was agreed."""

    code = "UNEXPECTED_ANSWER"


class ConfigurationError(MillraceError):
    """Correct the setting, file or command the message names."""

    code = "CONFIGURATION_ERROR"
