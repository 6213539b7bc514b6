"""Making, replacing and deleting rules: what they name is checked first, and each act leaves its audit entry."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from millrace.alerting import storing
from millrace.alerting.measuring import FailureRate
from millrace.alerting.notices import Tell, ensure_queue, notice_of
from millrace.alerting.rules import WEBHOOK, Rule, check_known, make_rule
from millrace.audit import differences_of
from millrace.clock import Clock
from millrace.errors import InvalidInput, InvalidRequest
from millrace.ids import new_id
from millrace.resources.addresses import host_of
from millrace.resources.outbound import Outbound
from millrace.store import Store
from millrace.telemetry import Telemetry
from millrace.work import Work, write

T = TypeVar("T")


class Changing:
    """Changes the rules of accounts; `ways` and `rates` are what applications offer, as for `Watch`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        outbound: Outbound,
        ways: Mapping[str, Tell],
        rates: Mapping[str, FailureRate],
    ) -> None:
        self._store, self._clock, self._telemetry, self._outbound = store, clock, telemetry, outbound
        self._ways, self.rates = ways, rates

    async def create(self, account_id: str, given: Mapping[str, Any]) -> Rule:
        """Make a rule of the given fields, and the queue of notices where it is missing.

        Raises:
            InvalidRequest, InvalidQueueName, OutboundRefused: the field that the message names is wrong.
            Conflict: the account has one of that name, or 100, or somebody else has made a queue `alert-notices`.
        """
        rule = make_rule(id=new_id(), account_id=account_id, created_at_ms=self._clock(), given=given, before=None)
        await self._check(rule)

        def create(work: Work) -> None:
            storing.add(work, rule)
            ensure_queue(work, account_id)
            work.note(account_id, "alert.created", _object(rule), **_facts(rule))

        await self._write(create)
        return rule

    async def replace(self, account_id: str, rule_id: str, given: Mapping[str, Any]) -> tuple[Rule, Rule]:
        """Replace a rule, and give it as it was and as it is.

        Raises:
            AlertNotFound: the account has none of that id.
            InvalidRequest, InvalidQueueName, OutboundRefused, Conflict: as for `create`.
        """
        before = (await self._store.read(lambda tx: storing.look(Work(tx, self._clock), account_id, rule_id))).rule
        rule = make_rule(
            id=rule_id, account_id=account_id, created_at_ms=before.created_at_ms, given=given, before=before
        )
        await self._check(rule)

        def replace(work: Work) -> None:
            storing.look(work, account_id, rule_id)  # else somebody has deleted it meanwhile
            storing.replace(work, rule)
            work.note(account_id, "alert.changed", _object(rule), **differences_of(_facts(before), _facts(rule)))

        await self._write(replace)
        return before, rule

    async def delete(self, account_id: str, rule_id: str) -> None:
        """Remove a rule; if it fires, nobody is told that it cleared.

        Raises:
            AlertNotFound: the account has none of that id.
        """

        def delete(work: Work) -> None:
            rule = storing.delete(work, account_id, rule_id)
            work.note(account_id, "alert.deleted", _object(rule), **_facts(rule))

        await self._write(delete)

    async def _check(self, rule: Rule) -> None:
        """Let a rule pass whose targets can be told: a webhook's host by the door, others by trying in vain.

        Raises:
            InvalidRequest, OutboundRefused: one cannot.
        """
        check_known(rule, {WEBHOOK, *self._ways}, self.rates.keys())
        for one in rule.notify:
            if one.way == WEBHOOK:
                self._outbound.check(one.target)
        await self._try_ways(rule)

    async def _try_ways(self, rule: Rule) -> None:
        """Tell the targets of applications in a transaction that is undone: so a wrong one is refused now, not at night."""
        trials = [
            (f"notify[{number}].{one.way}", one) for number, one in enumerate(rule.notify) if one.way in self._ways
        ]
        for place, one in trials:

            def attempt(work: Work, way: Tell = self._ways[one.way], target: str = one.target) -> None:
                way(work, rule.account_id, target, notice_of(rule, "fired", 0, work.now_ms))
                raise _Undone

            try:
                await self._write(attempt)
            except _Undone:
                continue
            except InvalidInput as error:
                raise InvalidRequest(f"{place}: {error}") from None

    async def _write(self, fn: Callable[[Work], T]) -> T:
        return await write(self._store, self._clock, self._telemetry, fn)


class _Undone(Exception):
    """The trial went well."""


def _object(rule: Rule) -> str:
    return f"alert {rule.name}"


def _facts(rule: Rule) -> dict[str, Any]:
    """Give what may be told of a rule: of its targets the ways and the hosts, no address and no secret."""
    facts = msgspec.structs.asdict(rule)
    for name in ("id", "account_id", "created_at_ms"):
        del facts[name]
    told = [f"{one.way} {host_of(one.target)}" if one.way == WEBHOOK else one.way for one in rule.notify]
    return {**facts, "notify": told}
