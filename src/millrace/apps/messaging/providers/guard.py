"""What stands before every provider: it is left alone while it is in trouble, and asked no faster than its rate."""

import random
from collections.abc import Awaitable, Callable
from time import monotonic

from millrace.apps.messaging.jobs import Letter
from millrace.apps.messaging.providers.contract import Away, Failed, Handed, Provider, Refused
from millrace.backoff import Chance
from millrace.bucket import Rate
from millrace.coordination.breaker import Breaker, State
from millrace.telemetry import Telemetry

Take = Callable[[str, Rate, float], Awaitable[float]]

LONGEST_TURN_SECONDS = 3_600.0
LOOK_AGAIN_SECONDS = 1.0  # while one message tries whether the provider is back


class Guarded:
    """A provider behind a circuit breaker, which is this process's own, and a rate, which all processes share.

    Args:
        provider: The one that sends.
        telemetry: Told of `target.opened` and `target.closed`.
        rate: How fast it may be asked; None for no limit.
        take: Takes one message's share of the bucket with a name, and gives the seconds until it is there, 0 for now.
            One that were later than so many seconds, which it is given, is not taken.
        monotonic: Seconds, for the breaker.
        chance: 0 to 1, to spread pauses.
    """

    def __init__(
        self,
        provider: Provider,
        telemetry: Telemetry,
        rate: Rate | None = None,
        take: Take | None = None,
        *,
        monotonic: Callable[[], float] = monotonic,
        chance: Chance = random.random,
    ) -> None:
        self.name = provider.name
        self._provider, self._telemetry, self._rate, self._take = provider, telemetry, rate, take
        self._monotonic, self._chance = monotonic, chance
        self._breaker, self._is_probing = Breaker(), False

    async def send(self, account_id: str, letter: Letter, *, has_turn: bool = False) -> Handed:
        """Send it if the provider may be asked now, see `Provider`; with `has_turn` its place in the rate has come."""
        state = self._admit()
        if not has_turn:
            await self._take_turn()
        if state is State.CLOSED:
            return await self._send(account_id, letter)
        self._is_probing = True
        try:
            return await self._send(account_id, letter)
        finally:
            self._is_probing = False

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self._provider.aclose()

    def _admit(self) -> State:
        now_s = self._monotonic()
        state = self._breaker.state(now_s)
        if state is State.OPEN:
            raise Away(self.name, self._breaker.seconds_left(now_s))
        if state is State.HALF_OPEN and self._is_probing:
            raise Away(self.name, LOOK_AGAIN_SECONDS)
        return state

    async def _take_turn(self) -> None:
        if self._rate is None or self._take is None:
            return
        seconds = await self._take(self.name, self._rate, LONGEST_TURN_SECONDS)
        if seconds > 0:
            raise Away(self.name, min(seconds, LONGEST_TURN_SECONDS), has_turn=seconds <= LONGEST_TURN_SECONDS)

    async def _send(self, account_id: str, letter: Letter) -> Handed:
        try:
            handed = await self._provider.send(account_id, letter)
        except Failed as failure:
            self._become(self._after(failure))
            raise
        except Refused:
            self._become(self._breaker.succeeded(self._monotonic()))
            raise
        self._become(self._breaker.succeeded(self._monotonic()))
        return handed

    def _after(self, failure: Failed) -> Breaker:
        now_s = self._monotonic()
        if not failure.is_trouble:
            return self._breaker.succeeded(now_s)
        if failure.retry_after_seconds is not None:
            return self._breaker.held(now_s, failure.retry_after_seconds)
        return self._breaker.failed(now_s, self._chance())

    def _become(self, breaker: Breaker) -> None:
        before, self._breaker = self._breaker, breaker
        if breaker.open_until_s is not None and before.open_until_s is None:
            seconds = breaker.seconds_left(self._monotonic())
            self._telemetry.emit("target.opened", target=self.name, seconds=seconds)
        if breaker.open_until_s is None and before.open_until_s is not None:
            self._telemetry.emit("target.closed", target=self.name)
