"""Events and their subscriptions on two servers that share a PostgreSQL database."""

import asyncio

import msgspec
import pytest

from millrace.apps.events import subscriptions
from millrace.apps.events.delivery import WORKFLOW
from millrace.errors import Conflict, SubscriptionNotFound
from millrace.workflows import instances
from tests.apps.event_rooms import ACCOUNT, open_servers

EVENTS = 40


@pytest.fixture
async def servers(tmp_path):
    async with open_servers(tmp_path) as made:
        yield made


def an_event(number):
    return {"event_id": f"event-{number}", "payload": {"n": number}, "timestamp": "2026-01-01T00:00:00.000Z"}


async def test_events_of_both_servers_are_delivered_once_each(servers):
    """Both hand out events and run their workflows; each subscription gets each event once."""
    one, two = await asyncio.gather(*[server.subscribe() for server in servers])

    await asyncio.gather(*[servers[number % 2].send(an_event(number)) for number in range(EVENTS)])
    await asyncio.gather(*[server.deliver() for server in servers])

    for subscription in (one, two):
        bodies = [msgspec.json.decode(body)["event_id"] for body in await servers[0].bodies(subscription)]
        assert sorted(bodies) == sorted(f"event-{number}" for number in range(EVENTS))


async def test_an_instance_that_both_servers_create_is_there_once(servers):
    def create(work):
        return instances.create(work, ACCOUNT, WORKFLOW, id="one", params={"event": an_event(1)})

    made = await asyncio.gather(*[server.platform.write(create) for server in servers * 4])

    assert sorted(one.is_new for one in made) == [False] * 7 + [True]
    assert len(await servers[0].messages("workflow-process-event")) == 1


async def test_of_an_instance_that_both_servers_end_one_says_that_it_did(servers):
    await servers[0].platform.write(
        lambda work: instances.create(work, ACCOUNT, WORKFLOW, id="one", params={"event": an_event(1)})
    )

    ended = await asyncio.gather(
        *[
            server.platform.write(lambda work: instances.terminate(work, ACCOUNT, WORKFLOW, "one"))
            for server in servers * 3
        ]
    )

    assert sorted(ended) == [False] * 5 + [True]


async def test_two_servers_together_add_no_more_subscriptions_than_one(servers, monkeypatch):
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", 5)

    made = await asyncio.gather(*[server.subscribe() for server in servers * 4], return_exceptions=True)

    assert [type(one) is Conflict for one in made].count(True) == 3
    found = await servers[0].platform.read(lambda work: subscriptions.of_account(work, ACCOUNT))
    assert len(found) == 5


async def test_a_subscription_that_both_servers_remove_was_there_for_one(servers):
    subscription = await servers[0].subscribe()

    def delete(work):
        return subscriptions.delete(work, ACCOUNT, subscription.id)

    ends = await asyncio.gather(*[server.platform.write(delete) for server in servers], return_exceptions=True)

    assert sorted(type(end) is SubscriptionNotFound for end in ends) == [False, True]
