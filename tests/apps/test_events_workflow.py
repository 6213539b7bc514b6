"""The way of an event to its subscriptions, step by step. The row ids stand for the requirements that a test holds."""

import pytest

from millrace.apps.events import subscriptions
from millrace.settlement import Reject
from millrace.workflows import instances
from tests.apps.databases import DATABASES
from tests.apps.event_rooms import ACCOUNT, open_rooms

HEADERS = {"X-Correlation-ID": "11111111-2222-4333-8444-555555555555"}


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as opened:
        yield opened


def an_event(number=1, event_id="one", **metadata):
    return {"event_id": event_id, "payload": {"n": number}, "timestamp": "2025-11-10T12:34:56.789Z"} | (
        {"metadata": metadata} if metadata else {}
    )


async def test_an_event_goes_to_those_who_want_it_and_to_nobody_else(rooms):
    """S4-37, S4-49."""
    everything, north = await rooms.subscribe(), await rooms.subscribe({"metadata.shop": "north"})

    await rooms.send(an_event(1, "one", shop="north"))
    await rooms.send(an_event(2, "two", shop="south"))
    await rooms.deliver()

    assert (len(await rooms.bodies(everything)), len(await rooms.bodies(north))) == (2, 1)
    steps = [step.name for step in (await rooms.look("two")).steps]
    assert steps == ["match", f"deliver-{everything.id}"]


async def test_an_event_that_nobody_wants_is_done(rooms):
    """S4-37."""
    await rooms.subscribe({"payload.n": 2})

    await rooms.send(an_event(1))
    await rooms.deliver()

    instance = await rooms.look("one")
    assert (instance.status, instance.output) == ("complete", '{"delivered":[]}')
    assert await rooms.messages("event-queue") == []


async def test_body_and_headers_arrive_as_they_were_sent(rooms):
    """S4-09, S4-35."""
    body = b'{"event_id":"one","payload":{ "big":12345678901234567890123,"f":1.0,"e":"\\u00e9" },"timestamp":"t"}'
    subscription = await rooms.subscribe()

    await rooms.send(body, headers=HEADERS)
    await rooms.deliver()

    (message,) = await rooms.messages(subscription.queue.name)
    assert (message.body, message.headers) == (body, HEADERS)


async def test_an_event_of_full_size_arrives(rooms):
    """S4-30."""
    body = b'{"event_id":"one","payload":{"a":"' + b"x" * 128_100 + b'"}}'
    subscription = await rooms.subscribe()

    await rooms.send(body)
    await rooms.deliver()

    assert await rooms.bodies(subscription) == [body]


async def test_a_step_that_is_repeated_after_a_crash_sends_no_second_time(rooms):
    """S4-37, S4-40."""
    one, two = await rooms.subscribe(), await rooms.subscribe()
    await rooms.send(an_event())
    await rooms.deliver()

    await rooms.forget_steps("one", f"deliver-{two.id}")
    rooms.clock.advance(3_600)
    await rooms.deliver()

    assert len((await rooms.look("one")).steps) == 3
    assert [len(await rooms.bodies(each)) for each in (one, two)] == [1, 1]


async def test_an_event_that_is_delivered_again_starts_no_second_workflow(rooms):
    """S4-40."""
    subscription = await rooms.subscribe()

    for _ in range(2):
        await rooms.send(an_event())
        await rooms.deliver()

    assert len(await rooms.bodies(subscription)) == 1
    assert await rooms.messages("event-queue") == []


async def test_a_subscription_that_is_gone_between_two_steps_is_passed_over(rooms):
    """S4-49."""
    gone, left = await rooms.subscribe(), await rooms.subscribe()
    await rooms.send(an_event())
    await rooms.deliver()
    await rooms.forget_steps("one", f"deliver-{gone.id}", f"deliver-{left.id}")

    await rooms.platform.write(lambda work: subscriptions.delete(work, ACCOUNT, gone.id))
    await rooms.deliver()

    instance = await rooms.look("one")
    assert (instance.status, instance.output) == ("complete", f'{{"delivered":["{left.id}"]}}')


async def test_a_subscription_whose_queue_was_deleted_holds_up_no_other(rooms):
    lost, left = await rooms.subscribe(), await rooms.subscribe()
    await rooms.platform.catalog.delete(ACCOUNT, lost.queue_id)

    await rooms.send(an_event())
    await rooms.deliver()

    assert len(await rooms.bodies(left)) == 1
    assert (await rooms.look("one")).status == "complete"


async def test_a_full_queue_of_one_subscription_holds_up_no_other_and_is_tried_again(rooms):
    """S4-19, S4-49."""
    full, free = await rooms.subscribe(), await rooms.subscribe()
    await rooms.platform.catalog.set_backlog_limits(ACCOUNT, full.queue_id, 0, None)
    await rooms.send(an_event())
    await rooms.deliver()
    waiting = await rooms.look("one"), [len(await rooms.bodies(each)) for each in (full, free)]

    await rooms.platform.catalog.set_backlog_limits(ACCOUNT, full.queue_id, None, None)
    rooms.clock.advance(11)
    await rooms.deliver()

    assert (waiting[0].status, waiting[1]) == ("waiting", [0, 1])
    assert [len(await rooms.bodies(each)) for each in (full, free)] == [1, 1]
    assert (await rooms.look("one")).status == "complete"


async def test_a_marked_event_goes_to_the_dead_letter_queue_at_once(rooms):
    """S4-24."""
    subscription = await rooms.subscribe()

    await rooms.send({"event_id": "one", "payload": {"_force_dlq": True}})
    await rooms.deliver()

    (buried,) = await rooms.messages("event-dlq")
    assert (buried.reason, await rooms.bodies(subscription)) == ("dlq_routing", [])


async def test_a_dead_letter_of_a_subscription_goes_back_to_it_by_itself(rooms):
    """S4-50."""
    subscription = await rooms.subscribe()
    await rooms.send(an_event())
    await rooms.deliver()
    received = await rooms.platform.broker.receive(subscription.queue, 10, 1000)
    await rooms.platform.broker.settle(subscription.queue, [(received.messages[0].lease, Reject("down"))])

    await rooms.redrive_by_itself(after_seconds=60)
    too_early = await rooms.bodies(subscription)
    rooms.clock.advance(61)
    await rooms.sweep()

    assert (too_early, len(await rooms.bodies(subscription))) == ([], 1)
    assert await rooms.messages("event-dlq") == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("text", "json"),
        (None, "json"),
        ([], "json"),
        ({}, "json"),
        ({"event_id": "one"}, "json"),
        ({"event_id": "one", "payload": []}, "json"),
        ({"event_id": 5, "payload": {}}, "json"),
        ({"event_id": "", "payload": {}}, "json"),
        ({"event_id": "o n e", "payload": {}}, "json"),
        ({"event_id": "x" * 101, "payload": {}}, "json"),
        (b'{"event_id": "one", "payload": {}}', "text"),
        (b"\xff", "bytes"),
    ],
)
async def test_what_is_no_event_is_a_dead_letter_and_holds_up_no_event_beside_it(rooms, body, kind):
    """S4-49."""
    subscription = await rooms.subscribe()

    await rooms.send(body, content_type=kind)
    await rooms.send(an_event())
    await rooms.deliver()

    (buried,) = await rooms.messages("event-dlq")
    assert buried.reason.startswith("no event; expected")
    assert len(await rooms.bodies(subscription)) == 1


async def test_an_instance_that_somebody_creates_without_an_event_fails(rooms):
    """S4-37."""
    await rooms.platform.write(lambda work: instances.create(work, ACCOUNT, "process-event", id="own", params={"a": 1}))
    await rooms.deliver()

    assert (await rooms.look("own")).status == "errored"
