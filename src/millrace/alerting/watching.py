"""The step that looks at all rules: measures, judges, and writes what has changed together with its notices."""

from collections.abc import Mapping
from typing import NamedTuple

from millrace.alerting import storing
from millrace.alerting.judging import Change, Standing, judge
from millrace.alerting.measuring import FailureRate, measure
from millrace.alerting.notices import Tell, notice_of, tell
from millrace.alerting.storing import Kept
from millrace.clock import Clock
from millrace.errors import MillraceError, StoreUnavailable
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.work import Work, write


class Judged(NamedTuple):
    """A rule that is to stand elsewhere, and what is to be told of it."""

    kept: Kept
    value: float
    after: Standing
    change: Change | None


class Watch:
    """Looks at the rules of every account.

    Args:
        store: Where rules and queues are.
        clock: Of the store.
        telemetry: Told of `alert.fired` and `alert.cleared`.
        ways: How applications tell a target, by the way's name.
        rates: How they count failures, by queue.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        ways: Mapping[str, Tell],
        rates: Mapping[str, FailureRate],
    ) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._ways, self._rates = ways, rates

    async def step(self) -> int:
        """Look once, and give how many rules stand elsewhere now.

        A rule whose change cannot be told stays as it was, and holds no other up.

        Raises:
            StoreUnavailable: nothing can be written now.
            MillraceError: the first that came of telling somebody.
        """
        failures: list[MillraceError] = []
        followed = 0
        for judged in await self._store.read(lambda tx: self._judge(Work(tx, self._clock))):
            try:
                followed += await self._follow(judged)
            except StoreUnavailable:
                raise
            except MillraceError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return followed

    def _judge(self, work: Work) -> list[Judged]:
        kept = storing.all_of_all(work)
        values = measure(work, [one.rule for one in kept], self._rates)
        found = []
        for one in kept:
            value = values[one.rule.id]
            after, change = judge(one.standing, value, one.rule, work.now_ms)
            if after != one.standing and value is not None:
                found.append(Judged(one, value, after, change))
        return found

    async def _follow(self, judged: Judged) -> bool:
        """Write where a rule stands now, and say whether it was us: of two servers that do it at once, one tells of it."""
        is_ours = await write(self._store, self._clock, self._telemetry, lambda work: self._move(work, judged))
        if is_ours and judged.change is not None:
            rule = judged.kept.rule
            self._telemetry.emit(
                f"alert.{judged.change}",
                account_id=rule.account_id,
                queue=rule.queue,
                rule=rule.name,
                measure=rule.measure,
                value=judged.value,
            )
        return is_ours

    def _move(self, work: Work, judged: Judged) -> bool:
        kept, value, after, change = judged
        if not storing.move(work, kept, after):
            return False
        if change is not None:
            rule = kept.rule
            tell(work, rule, notice_of(rule, change, value, work.now_ms), self._ways)
            facts = {"queue": rule.queue, "measure": rule.measure, "value": value, "above": rule.above}
            work.note(rule.account_id, f"alert.{change}", f"alert {rule.name}", **facts)
        return True
