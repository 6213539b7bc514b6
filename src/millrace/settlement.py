"""What becomes of a message after a delivery. The only place that knows retries and dead letters.

handler or puller says      Ack        Retry        Reject       Postpone
                             │      ┌────┴─────┐       │            │
decide() answers          Removed Released  Buried  Buried       Released
                                   until t   (or Removed, without a dead-letter queue)
"""

from typing import assert_never

import msgspec

from millrace.backoff import Backoff


class Ack(msgspec.Struct, frozen=True):
    """The work is done."""


class Retry(msgspec.Struct, frozen=True):
    """It failed: deliver it again, after `delay_seconds` or the consumer's own delay."""

    delay_seconds: float | None = None
    reason: str | None = None


class Reject(msgspec.Struct, frozen=True):
    """It can never succeed: bury it without further deliveries."""

    reason: str


class Postpone(msgspec.Struct, frozen=True):
    """It could not be tried: deliver it later without counting this attempt."""

    delay_seconds: float


Outcome = Ack | Retry | Reject | Postpone


class Removed(msgspec.Struct, frozen=True):
    """The message is gone. `reason` is None for an ack."""

    reason: str | None = None


class Released(msgspec.Struct, frozen=True):
    """The message is ready again at `visible_at_ms`."""

    visible_at_ms: int
    attempts: int
    failures: int


class Buried(msgspec.Struct, frozen=True):
    """The message moves to the dead-letter queue of that name, at once."""

    queue_name: str
    reason: str


Settlement = Removed | Released | Buried


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The consumer's limits at the moment of the failure; without a consumer nothing is ever buried.

    `max_retries` counts deliveries, however they ended; `max_attempts` counts failures that were reported.
    """

    max_retries: int
    retry_delay_seconds: float
    dead_letter_queue: str | None
    max_attempts: int | None = None
    backoff: Backoff | None = None


def is_last_delivery(attempts: int, policy: Policy | None) -> bool:
    """Say whether a delivery with this count may not be followed by another one."""
    return policy is not None and attempts > policy.max_retries


def decide(
    attempts: int, failures: int, outcome: Outcome, policy: Policy | None, now_ms: int, chance: float
) -> Settlement:
    """Decide what becomes of a message whose delivery number `attempts` ended with `outcome`.

    `failures` are those reported before; `chance`, from 0 up to 1, chooses within the jitter of a backoff.
    """
    match outcome:
        case Ack():
            return Removed()
        case Reject(reason=reason):
            return _bury(reason, policy)
        case Postpone(delay_seconds=delay_seconds):
            return Released(now_ms + _ms(delay_seconds), attempts - 1, failures)
        case Retry(delay_seconds=delay_seconds, reason=reason):
            failures += 1
            reached = _limit_reached(attempts, failures, policy)
            if reached is not None:
                return _bury(reason or reached, policy)
            if delay_seconds is None:
                delay_seconds = _own_delay_seconds(failures, policy, chance)
            return Released(now_ms + _ms(delay_seconds), attempts, failures)
        case _:
            assert_never(outcome)


def decide_lapse(attempts: int, failures: int, policy: Policy | None, now_ms: int) -> Settlement:
    """Decide what becomes of a message whose lease lapsed: nobody reported a failure, so none is counted."""
    if is_last_delivery(attempts, policy):
        return _bury("max_retries", policy)
    return Released(now_ms + _ms(policy.retry_delay_seconds if policy else 0), attempts, failures)


def _limit_reached(attempts: int, failures: int, policy: Policy | None) -> str | None:
    if is_last_delivery(attempts, policy):
        return "max_retries"
    if policy is not None and policy.max_attempts is not None and failures >= policy.max_attempts:
        return "max_attempts"
    return None


def _own_delay_seconds(failures: int, policy: Policy | None, chance: float) -> float:
    if policy is None:
        return 0
    return policy.retry_delay_seconds if policy.backoff is None else policy.backoff.seconds(failures, chance)


def _bury(reason: str, policy: Policy | None) -> Settlement:
    if policy is None or policy.dead_letter_queue is None:
        return Removed(reason)
    return Buried(policy.dead_letter_queue, reason)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
