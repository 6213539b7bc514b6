"""The handler of the queue of notices: posts each to its webhook, signed as Standard Webhooks has it."""

import msgspec

from millrace import __version__
from millrace.access.signatures import sign
from millrace.alerting import storing
from millrace.alerting.notices import QUEUE, Posting, digest_of
from millrace.alerting.rules import WEBHOOK, Target
from millrace.batch import BatchMessage
from millrace.clock import Clock
from millrace.errors import AlertNotFound, MillraceError
from millrace.handlers import each
from millrace.handlers.per_message import EachMessage
from millrace.resources.addresses import host_of
from millrace.resources.outbound import Outbound
from millrace.settlement import Retry
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.work import Work

TIMEOUT_SECONDS = 15.0


class Webhooks:
    """Posts the notices of one account.

    Args:
        store: Where the rules are; a notice whose rule or webhook is gone is dropped.
        clock: Of the store.
        wall: Epoch milliseconds for the signature, which the receiver compares with its own wall clock.
        outbound: The door.
        telemetry: Told of `push.failed`.
        account_id: Whose notices.
    """

    def __init__(
        self, store: Store, clock: Clock, wall: Clock, outbound: Outbound, telemetry: Telemetry, account_id: str
    ) -> None:
        self._store, self._clock, self._wall = store, clock, wall
        self._outbound, self._telemetry, self._account_id = outbound, telemetry, account_id

    def handler(self) -> EachMessage:
        """Give the handler of a batch."""
        return each(self.post)

    async def post(self, message: BatchMessage[Posting]) -> None:
        """Post one notice; whatever is not answered by 2xx is tried again, under the same id."""
        posting = message.body
        target = await self._find(posting)
        if target is None:
            return
        status, reason = await self._post(target, message.id, msgspec.json.encode(posting.notice))
        if reason is None:
            return
        message.note(Retry(reason=reason))
        self._telemetry.emit(
            "push.failed",
            account_id=self._account_id,
            queue=QUEUE,
            host=host_of(target.target),
            status=status,
            reason=reason,
            count=1,
        )

    async def _find(self, posting: Posting) -> Target | None:
        """Give the webhook as it is now, if there is still one of that URL."""
        try:
            kept = await self._store.read(
                lambda tx: storing.look(Work(tx, self._clock), self._account_id, posting.rule_id)
            )
        except AlertNotFound:
            return None
        webhooks = [one for one in kept.rule.notify if one.way == WEBHOOK]
        return next((one for one in webhooks if digest_of(one) == posting.webhook), None)

    async def _post(self, target: Target, id: str, body: bytes) -> tuple[int | None, str | None]:
        """Give the status that was answered, and what went wrong if anything did; no text of the answer is kept."""
        assert target.secret is not None
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Millrace/{__version__}",
            **sign(target.secret, id, self._wall() // 1000, body),
        }
        try:
            answer = await self._outbound.post(target.target, body, headers, timeout_seconds=TIMEOUT_SECONDS)
        except MillraceError as error:
            return None, str(error)
        if 200 <= answer.status < 300:
            return answer.status, None
        return answer.status, f"the webhook answered {answer.status}; expected 2xx"
