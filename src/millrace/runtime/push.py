"""The push to a URL: called with batches in the place of a handler, and lets no batch out while the URL is down.

A failure counts an attempt only while the breaker is closed, and never where the message would be dropped by it:
then it is postponed (docs/design/push.md).
"""

import asyncio
import math
import random
from collections.abc import Callable
from time import monotonic

import msgspec

from millrace import __version__
from millrace.access.signatures import sign
from millrace.backoff import Backoff, Chance
from millrace.batch import BatchMessage, MessageBatch
from millrace.clock import Clock
from millrace.coordination.breaker import Breaker, State
from millrace.errors import MillraceError
from millrace.ids import NewId, new_id
from millrace.resources.addresses import host_of
from millrace.resources.outbound import Outbound
from millrace.runtime.push_wire import PushFailed, encode_push, read_answer
from millrace.settlement import Outcome, Policy, Postpone, Removed, Retry, decide
from millrace.telemetry import Telemetry

TIMEOUT_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 5.0  # a paused consumer may have been given another URL
DELAYS = Backoff(kind="exponential", base_seconds=1, factor=2, cap_seconds=300, jitter=0.2)  # 2 s, 4 s, ... 300 s


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a consumer's batches go now. `policy` says when a failed message would be dropped."""

    url: str
    secret: str
    policy: Policy


class Pusher:
    """Pushes the batches of one consumer: `call` is its handler, `take` and `give_back` are its slots.

    Args:
        outbound: The door.
        telemetry: Told of `push.failed`, `push.opened` and `push.closed`.
        clock: Epoch milliseconds for the signature, which the receiver compares with its own wall clock.
        target: Gives the consumer's present settings; it is asked at each call, and must not raise.
        account_id: Whose queue it is, for the log.
        timeout_seconds: For one push, from the name's look-up to the answer's last byte.
        monotonic: Seconds, for the breaker.
        chance: 0 to 1, to spread pauses.
        new_id: Makes the id of each push.
    """

    def __init__(
        self,
        outbound: Outbound,
        telemetry: Telemetry,
        clock: Clock,
        target: Callable[[], Target],
        *,
        account_id: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
        monotonic: Callable[[], float] = monotonic,
        chance: Chance = random.random,
        new_id: NewId = new_id,
    ) -> None:
        self._outbound, self._telemetry, self._clock, self._target = outbound, telemetry, clock, target
        self._timeout_seconds, self._monotonic, self._chance, self._new_id = timeout_seconds, monotonic, chance, new_id
        self._url, self._account_id = "", account_id
        self._breaker = Breaker()
        self._out = 0
        self._changed = asyncio.Event()

    async def call(self, batch: MessageBatch, env: object) -> None:
        """Push a batch and note the outcome of each message.

        Raises:
            PushFailed: nothing was settled; every message comes back.
        """
        target = self._target()
        self._follow(target.url)
        try:
            outcomes = await self._push(target, batch)
        except PushFailed as failure:
            _note(batch, self._after_failure(target, batch, failure))
            if failure.retry_after_seconds is None:
                raise failure.with_traceback(None) from None  # the fault is not in our code: no trace in the log
        else:
            _note(batch, outcomes)
            if target.url == self._url:
                self._become(self._breaker.succeeded(self._monotonic()), batch.queue)

    async def take(self, name: str = "") -> None:
        """Wait until a batch may go out; while the URL is tried again, that is one at a time."""
        while (seconds := self.seconds_until_ready()) > 0:
            await self._pause(min(seconds, LOOK_AGAIN_SECONDS))
        self._out += 1

    def give_back(self, name: str = "") -> None:
        """Say that a batch which `take` let out is over, or that there was none."""
        self._out -= 1
        self._wake()

    def seconds_until_ready(self) -> float:
        """Give how long no batch may go out; infinite while one that tries is under way."""
        now_s = self._monotonic()
        if self._breaker.state(now_s) is not State.CLOSED:
            self._follow(self._target().url)
        if self._breaker.state(now_s) is State.HALF_OPEN and self._out:
            return math.inf
        return self._breaker.seconds_left(now_s)

    async def _push(self, target: Target, batch: MessageBatch) -> list[Outcome]:
        push_id, now_s = self._new_id(), self._clock() // 1000
        body = encode_push(batch, push_id)
        try:
            answer = await self._outbound.post(
                target.url,
                body,
                {
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": f"Millrace/{__version__}",
                    **sign(target.secret, push_id, now_s, body),
                },
                timeout_seconds=self._timeout_seconds,
            )
        except MillraceError as error:  # refused, out of reach, or no secret to sign with
            raise PushFailed(str(error)) from None
        return read_answer(answer, [message.id for message in batch.messages], self._clock())

    def _after_failure(self, target: Target, batch: MessageBatch, failure: PushFailed) -> list[Outcome]:
        self._report(target, batch, failure)
        if target.url != self._url:  # another one has taken its place meanwhile, and knows nothing of these
            return [Postpone(0)] * len(batch.messages)
        now_s = self._monotonic()
        was_closed = self._breaker.state(now_s) is State.CLOSED
        after_seconds = failure.retry_after_seconds
        if after_seconds is not None:
            self._become(self._breaker.held(now_s, after_seconds), batch.queue)
            return [Postpone(after_seconds)] * len(batch.messages)
        self._become(self._breaker.failed(now_s, self._chance()), batch.queue)
        if was_closed:
            return [self._counted(message, target.policy, str(failure)) for message in batch.messages]
        return [Postpone(self._breaker.seconds_left(now_s))] * len(batch.messages)

    def _counted(self, message: BatchMessage, policy: Policy, reason: str) -> Outcome:
        delay_seconds = DELAYS.seconds(message.attempts, self._chance())
        has_own_delay = policy.backoff is not None or policy.retry_delay_seconds > 0
        retry = Retry(None if has_own_delay else delay_seconds, reason)
        return Postpone(delay_seconds) if _would_be_dropped(message, retry, policy) else retry

    def _report(self, target: Target, batch: MessageBatch, failure: PushFailed) -> None:
        self._telemetry.emit(
            "push.failed",
            account_id=self._account_id,
            queue=batch.queue,
            host=host_of(target.url),
            status=failure.status,
            reason=str(failure),
            count=len(batch.messages),
        )

    def _follow(self, url: str) -> None:
        """Begin anew with another URL: what the old one did says nothing about it."""
        if url != self._url:
            self._url, self._breaker = url, Breaker()

    def _become(self, breaker: Breaker, queue: str) -> None:
        before, self._breaker = self._breaker, breaker
        about = {"account_id": self._account_id, "queue": queue, "host": host_of(self._url)}
        if breaker.open_until_s is not None and before.open_until_s is None:
            seconds = breaker.seconds_left(self._monotonic())
            self._telemetry.emit("push.opened", **about, seconds=seconds)
        if breaker.open_until_s is None and before.open_until_s is not None:
            self._telemetry.emit("push.closed", **about)
        self._wake()

    async def _pause(self, seconds: float) -> None:
        """Wait until something changes, but not longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _wake(self) -> None:
        """Wake all who wait now; who waits later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()


def _note(batch: MessageBatch, outcomes: list[Outcome]) -> None:
    for message, outcome in zip(batch.messages, outcomes, strict=True):
        message.outcome = outcome


def _would_be_dropped(message: BatchMessage, retry: Retry, policy: Policy) -> bool:
    """Ask the one place that decides; a message has failed once less than it was delivered, at most."""
    return isinstance(decide(message.attempts, message.attempts - 1, retry, policy, now_ms=0, chance=0), Removed)
