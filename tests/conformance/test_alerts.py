"""Alert rules on each database: they fire once, whatever is restarted, together with their notices or not at all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest

from millrace import limits
from millrace.access.signatures import verify
from millrace.alerting import storing
from millrace.alerting.changing import Changing
from millrace.alerting.notices import DEAD_LETTERS, QUEUE, Posting, accounts_told
from millrace.alerting.watching import Watch
from millrace.alerting.webhooks import Webhooks
from millrace.audit import Entry
from millrace.batch import MessageBatch
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.errors import AlertNotFound, BacklogFull, Conflict, InvalidInput, OutboundRefused
from millrace.message import Outgoing
from millrace.resources.outbound import Outbound
from millrace.settlement import Ack, Reject, Retry
from millrace.sql import audit, queues
from millrace.sql.store import SqlStore
from millrace.telemetry import Telemetry
from millrace.work import Work
from tests.conformance.conftest import ManualClock
from tests.unit.receiver import answer, now_s, receiving

ACCOUNT = "acc"
HOOK = "https://hooks.example.com/a?key=hunter2"


def page(work: Work, account_id: str, target: str, notice: Any) -> None:
    """Tell somebody as an application may: by a message of its own."""
    if target == "nobody":
        raise InvalidInput("nobody has no pager")
    pages = queues.named(work.tx, account_id, "pages")
    work.send(pages.id, [Outgoing(body=msgspec.json.encode({"to": target, "notice": notice}))])


class Rooms(NamedTuple):
    """A server's part of alerts, and what happens in the account."""

    store: SqlStore
    clock: ManualClock
    told: list[tuple[str, dict[str, Any]]]
    rates: dict[str, tuple[int, int]]
    telemetry: Telemetry

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.store, self.clock)

    @property
    def watch(self) -> Watch:
        return Watch(self.store, self.clock, self.telemetry, {"pager": page}, self.counted)

    @property
    def changing(self) -> Changing:
        ways = {"pager": page}
        return Changing(self.store, self.clock, self.telemetry, Outbound(["127.0.0.1"]), ways, self.counted)

    @property
    def counted(self) -> dict[str, Any]:
        return {"orders": lambda work, account_id, since_ms: self.rates["orders"]}

    async def make(self, name: str = "full", **given: Any) -> Any:
        fields = {
            "name": name,
            "queue": "orders",
            "measure": "depth",
            "above": 1,
            "notify": [{"pager": "ada"}],
            **given,
        }
        return await self.changing.create(ACCOUNT, fields)

    async def send(self, count: int, queue: str = "orders") -> None:
        found = await self.catalog.queue_named(ACCOUNT, queue)
        await Broker(self.store, self.clock, self.telemetry).send_batch(found, [Outgoing(body=b"1")] * count)

    async def purge(self, queue: str = "orders") -> None:
        found = await self.catalog.queue_named(ACCOUNT, queue)
        await self.store.purge(found.id, self.clock())

    async def bodies(self, queue: str) -> list[Any]:
        found = await self.catalog.queue_named(ACCOUNT, queue)
        received = await self.store.receive(found.id, 100, 1, self.clock())
        return [msgspec.json.decode(message.body) for message in received.messages]

    async def pages(self) -> list[tuple[str, str, float]]:
        return [(body["to"], body["notice"]["type"], body["notice"]["value"]) for body in await self.bodies("pages")]

    async def status(self, rule_id: str) -> str:
        kept = await self.store.read(lambda tx: storing.look(Work(tx, self.clock), ACCOUNT, rule_id))
        return kept.standing.status

    async def trail(self) -> list[Entry]:
        found = await self.store.read(lambda tx: audit.page(tx, ACCOUNT, 100))
        return [one.entry for one in reversed(found) if one.entry.act.startswith("alert.")]


@pytest.fixture
async def rooms(opener: Any, clock: ManualClock) -> AsyncIterator[Rooms]:
    made = await open_rooms(opener, clock)
    for name in ("orders", "pages"):
        await made.catalog.create(ACCOUNT, name, {}, consumer={"type": "http_pull", "settings": {}})
    yield made
    await made.store.close()


async def open_rooms(opener: Any, clock: ManualClock) -> Rooms:
    telemetry, told = Telemetry(), []
    telemetry.subscribe(lambda name, fields: told.append((name, fields)), "alert.fired", "alert.cleared", "push.failed")
    return Rooms(opener(clock), clock, told, {}, telemetry)


async def test_a_rule_tells_once_that_it_fires_and_once_that_it_cleared(rooms):
    rule = await rooms.make()
    await rooms.watch.step()
    await rooms.send(2)

    for _ in range(2):
        await rooms.watch.step()
    await rooms.purge()
    for _ in range(2):
        await rooms.watch.step()

    assert await rooms.pages() == [("ada", "alert.fired", 2), ("ada", "alert.cleared", 0)]
    facts = {"account_id": ACCOUNT, "queue": "orders", "rule": "full", "measure": "depth"}
    assert rooms.told == [("alert.fired", {**facts, "value": 2}), ("alert.cleared", {**facts, "value": 0})]
    assert await rooms.status(rule.id) == "ok"
    acts = [(entry.act, entry.object, entry.details.get("value")) for entry in await rooms.trail()]
    assert acts == [
        ("alert.created", "alert full", None),
        ("alert.fired", "alert full", 2),
        ("alert.cleared", "alert full", 0),
    ]


async def test_a_restart_neither_fires_again_nor_begins_the_wait_anew(rooms, opener, clock):
    await rooms.make(for_seconds=60)
    await rooms.send(2)
    await rooms.watch.step()

    clock.advance(60)
    after = await open_rooms(opener, clock)
    await after.watch.step()
    again = await open_rooms(opener, clock)
    await again.watch.step()

    assert await rooms.pages() == [("ada", "alert.fired", 2)]
    for one in (after, again):
        await one.store.close()


async def test_of_two_servers_that_judge_at_the_same_moment_one_tells(rooms):
    await rooms.make()
    await rooms.send(2)

    await asyncio.gather(*(rooms.watch.step() for _ in range(4)))

    assert len(await rooms.pages()) == 1
    assert len(rooms.told) == 1


async def test_a_rule_whose_target_cannot_be_told_stays_as_it_was_and_holds_no_other_up(rooms):
    await rooms.catalog.create(ACCOUNT, "other", {}, consumer={"type": "http_pull", "settings": {}})
    rules = [await rooms.make(name, queue=queue) for name, queue in (("a", "orders"), ("b", "other"))]
    await rooms.send(2)
    await rooms.send(2, "other")
    pages = await rooms.catalog.queue_named(ACCOUNT, "pages")
    await rooms.catalog.set_backlog_limits(ACCOUNT, pages.id, 1, None)

    with pytest.raises(BacklogFull):
        await rooms.watch.step()
    statuses = [await rooms.status(rule.id) for rule in rules]
    await rooms.bodies("pages")
    await rooms.catalog.set_backlog_limits(ACCOUNT, pages.id, None, None)
    await rooms.watch.step()

    assert statuses == ["firing", "ok"]
    assert [await rooms.status(rule.id) for rule in rules] == ["firing", "firing"]


async def test_the_age_of_the_oldest_message_is_a_measure(rooms, clock):
    rule = await rooms.make(measure="oldest_age_seconds", above=30)
    await rooms.send(1)
    clock.advance(30)
    await rooms.watch.step()
    before = await rooms.status(rule.id)

    clock.advance(1)
    await rooms.watch.step()

    assert (before, await rooms.status(rule.id)) == ("ok", "firing")


@pytest.mark.parametrize(("counted", "status"), [((2, 4), "ok"), ((3, 4), "firing"), ((3, 3), "ok"), ((0, 0), "ok")])
async def test_a_failure_rate_is_a_share_of_enough_jobs(rooms, counted, status):
    rule = await rooms.make(measure="failure_rate", above=0.5, minimum=4)
    rooms.rates["orders"] = counted

    await rooms.watch.step()

    assert await rooms.status(rule.id) == status


async def test_a_queue_that_is_missing_is_an_empty_one(rooms):
    rule = await rooms.make(queue="later")

    await rooms.watch.step()

    assert await rooms.status(rule.id) == "ok"


async def test_an_account_has_so_many_rules_and_a_name_once(rooms, monkeypatch):
    monkeypatch.setattr(limits, "ALERT_RULES", 2)
    await rooms.make("a")

    with pytest.raises(Conflict, match="an alert 'a' already"):
        await rooms.make("a")
    other = await rooms.make("b")
    with pytest.raises(Conflict, match="has 2 alert rules, as many as it may"):
        await rooms.make("c")
    await rooms.changing.delete(ACCOUNT, other.id)

    assert (await rooms.make("c")).name == "c"


async def test_what_cannot_be_told_is_refused_when_the_rule_is_made_and_nothing_is_sent(rooms):
    with pytest.raises(InvalidInput, match=r"notify\[0\]\.pager: nobody has no pager"):
        await rooms.make(notify=[{"pager": "nobody"}])
    with pytest.raises(OutboundRefused):
        await rooms.make(notify=[{"webhook": "http://10.0.0.1/"}])
    await rooms.make(notify=[{"pager": "ada"}])

    assert await rooms.bodies("pages") == []


async def test_a_rule_that_is_replaced_stands_where_it_stood(rooms):
    rule = await rooms.make(notify=[{"webhook": HOOK}])
    await rooms.send(2)
    await rooms.watch.step()
    fields = {"name": "fuller", "queue": "orders", "measure": "depth", "above": 5, "notify": [{"pager": "ada"}]}

    await rooms.changing.replace(ACCOUNT, rule.id, fields)
    status = await rooms.status(rule.id)
    await rooms.watch.step()

    assert (status, await rooms.status(rule.id)) == ("firing", "ok")
    assert await rooms.pages() == [("ada", "alert.cleared", 2)]
    details = next(entry.details for entry in await rooms.trail() if entry.act == "alert.changed")
    assert details["after"] == {"name": "fuller", "above": 5, "clear_below": 5, "notify": ["pager"]}
    assert details["before"]["notify"] == ["webhook hooks.example.com"]


async def test_rules_of_another_account_are_not_there(rooms):
    rule = await rooms.make()

    with pytest.raises(AlertNotFound):
        await rooms.changing.delete("another", rule.id)
    with pytest.raises(AlertNotFound):
        await rooms.changing.replace("another", rule.id, {"name": "a", "queue": "q", "measure": "depth", "above": 1})


async def fire(rooms: Rooms, *urls: str) -> Any:
    """Have a rule fire that has webhooks, and give it."""
    rule = await rooms.make(notify=[{"webhook": url} for url in urls])
    await rooms.send(2)
    await rooms.watch.step()
    return rule


async def deliver(rooms: Rooms) -> list[Any]:
    """Hand the notices that wait to their handler, and give the outcomes."""
    found = await rooms.catalog.queue_named(ACCOUNT, QUEUE)
    received = await rooms.store.receive(found.id, 10, 1, rooms.clock())
    batch: MessageBatch[Posting] = MessageBatch(QUEUE, received.messages)
    outbound = Outbound(["127.0.0.1"])
    webhooks = Webhooks(rooms.store, rooms.clock, lambda: round(now_s() * 1000), outbound, rooms.telemetry, ACCOUNT)
    await webhooks.handler()(batch, None)
    await outbound.aclose()
    rooms.clock.advance(60)
    return batch.outcomes(Ack())


async def test_a_webhook_gets_the_notice_signed(rooms):
    async with receiving() as receiver:
        rule = await fire(rooms, receiver.url)
        outcomes = await deliver(rooms)

    [got] = receiver.requests
    assert outcomes == [Ack()]
    assert verify(rule.notify[0].secret, got.headers, got.body, now_s())
    assert got.json == {
        "type": "alert.fired",
        "rule": "full",
        "rule_id": rule.id,
        "queue": "orders",
        "measure": "depth",
        "value": 2,
        "above": 1,
        "at": "2023-11-14T22:13:20.000Z",
    }


async def test_a_webhook_that_fails_gets_the_same_notice_again(rooms):
    statuses = [500, 302, 204]
    async with receiving(lambda request: answer(statuses.pop(0))) as receiver:
        await fire(rooms, receiver.url)
        outcomes = [(await deliver(rooms))[0] for _ in range(3)]

    sentences = [f"the webhook answered {status}; expected 2xx" for status in (500, 302)]
    assert outcomes == [Retry(reason=sentences[0]), Retry(reason=sentences[1]), Ack()]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert [fields["reason"] for name, fields in rooms.told if name == "push.failed"] == sentences


async def test_a_notice_for_nobody_is_dropped_and_one_that_is_none_is_rejected(rooms):
    async with receiving() as receiver:
        rule = await fire(rooms, receiver.url)
        await rooms.changing.delete(ACCOUNT, rule.id)
        await rooms.send(1, QUEUE)
        outcomes = await deliver(rooms)

    assert (receiver.requests, outcomes[0]) == ([], Ack())
    assert isinstance(outcomes[1], Reject)


async def test_a_notice_that_waits_holds_no_url_and_no_secret(rooms):
    rule = await fire(rooms, HOOK, "https://other.example.com/")

    waiting = await rooms.bodies(QUEUE)
    trail = await rooms.trail()

    for secret in ("hunter2", rule.notify[0].secret, "/a?"):
        assert secret not in repr(waiting) + repr(trail) + repr(rooms.told)
    assert len(waiting) == 2


async def test_a_queue_of_that_name_that_somebody_else_has_made_is_left_alone(rooms):
    own = {"type": "worker", "script_name": "app", "settings": {}, "applied_by": "--app"}
    await rooms.catalog.create(ACCOUNT, QUEUE, {}, consumer=own)

    with pytest.raises(Conflict, match="'alert-notices' is not the one that alert rules make"):
        await rooms.make(notify=[{"webhook": HOOK}])

    assert await rooms.store.read(accounts_told) == []


async def test_the_queue_of_notices_is_made_anew_where_somebody_has_deleted_it(rooms):
    await rooms.make(notify=[{"webhook": HOOK}])
    for name in (QUEUE, DEAD_LETTERS):
        await rooms.catalog.delete(ACCOUNT, (await rooms.catalog.queue_named(ACCOUNT, name)).id)
    await rooms.send(2)

    await rooms.watch.step()

    assert len(await rooms.bodies(QUEUE)) == 1
    assert (await rooms.catalog.queue_named(ACCOUNT, DEAD_LETTERS)).settings.message_retention_period is None
