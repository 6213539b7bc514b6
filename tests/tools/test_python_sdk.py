"""The official Python SDK: every method it has for queues."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import cloudflare
import pytest

from tests.support import ON_BOTH_STORES
from tests.tools.sdk import ACCOUNT, pull, pull_one_in_time

pytestmark = [pytest.mark.xdist_group("cloudflare-tools"), ON_BOTH_STORES]


def names(queues: Any) -> list[str]:
    return [queue.queue_name for queue in queues]


def test_a_queue_is_created_listed_read_and_deleted(client, server):
    created = client.queues.create(account_id=ACCOUNT, queue_name="life", jurisdiction="eu")

    assert (created.queue_name, created.jurisdiction, created.consumers) == ("life", "eu", [])
    assert created.settings.message_retention_period == 345600
    assert "life" in names(client.queues.list(account_id=ACCOUNT))
    assert client.queues.get(created.queue_id, account_id=ACCOUNT) == created
    assert server.v4("GET", f"/queues/{created.queue_id}").result["queue_name"] == "life"

    assert client.queues.delete(created.queue_id, account_id=ACCOUNT).success is True
    assert server.v4("GET", f"/queues/{created.queue_id}").status == 404


def test_edit_merges_settings_and_update_returns_the_unnamed_ones_to_their_defaults(client, server):
    queue_id = server.create_queue("settings", delivery_delay=5, message_retention_period=600)

    edited = client.queues.edit(queue_id, account_id=ACCOUNT, settings={"delivery_paused": True})
    assert edited.settings.model_dump() == {
        "delivery_delay": 5,
        "delivery_paused": True,
        "message_retention_period": 600,
    }

    updated = client.queues.update(
        queue_id, account_id=ACCOUNT, queue_name="settings-2", settings={"delivery_delay": 9}
    )
    assert (updated.queue_id, updated.queue_name) == (queue_id, "settings-2")
    assert updated.settings.model_dump() == {
        "delivery_delay": 9,
        "delivery_paused": True,
        "message_retention_period": 345600,
    }
    assert server.v4("GET", f"/queues/{queue_id}").result["settings"]["delivery_delay"] == 9


def test_settings_of_a_queue_that_the_sdk_read_as_floats_can_be_written_back(client, server):
    queue_id = server.create_queue("floats", delivery_delay=5)
    settings = client.queues.get(queue_id, account_id=ACCOUNT).settings.model_dump()
    assert isinstance(settings["delivery_delay"], float)

    client.queues.update(queue_id, account_id=ACCOUNT, settings={**settings, "message_retention_period": 600.0})

    assert server.v4("GET", f"/queues/{queue_id}").result["settings"] == {
        "delivery_delay": 5,
        "delivery_paused": False,
        "message_retention_period": 600,
    }


def test_settings_of_a_consumer_that_the_sdk_read_as_floats_can_be_written_back(client, pullable):
    queue_id = pullable("consumer-floats")
    [consumer] = client.queues.consumers.list(queue_id, account_id=ACCOUNT)
    settings = consumer.settings.model_dump()
    assert isinstance(settings["batch_size"], float)

    written = client.queues.consumers.update(
        consumer.consumer_id, account_id=ACCOUNT, queue_id=queue_id, type="http_pull", settings=settings
    )

    assert written.settings.model_dump() == settings


def test_a_pull_and_a_peek_take_numbers_of_the_type_that_the_sdk_gives_them(client, pullable):
    queue_id = pullable("pull-floats")
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body=1, delay_seconds=0.0)

    assert len(client.queues.messages.peek(queue_id, account_id=ACCOUNT, batch_size=1.0).messages) == 1
    assert len(pull(client, queue_id, batch_size=1.0, visibility_timeout_ms=1000.0)) == 1


def test_queues_are_listed_by_exact_names_and_by_pages_oldest_first(client, server):
    for name in ("page-c", "page-a", "page-b", "page-a-more"):
        server.create_queue(name)

    named = client.queues.list(account_id=ACCOUNT, extra_query={"name": ["page-a", "page-c"]})
    assert names(named) == ["page-c", "page-a"]

    everything = names(client.queues.list(account_id=ACCOUNT))
    first = names(client.queues.list(account_id=ACCOUNT, extra_query={"per_page": 2}))
    second = names(client.queues.list(account_id=ACCOUNT, extra_query={"per_page": 2, "page": 2}))
    assert first + second == everything[:4]
    assert names(client.queues.list(account_id=ACCOUNT, extra_query={"page": 99})) == []


def test_a_worker_consumer_is_created_replaced_and_removed(client, server):
    queue_id = server.create_queue("worker")
    consumers = client.queues.consumers

    created = consumers.create(
        queue_id,
        account_id=ACCOUNT,
        type="worker",
        script_name="my-worker",
        dead_letter_queue="worker-dlq",
        settings={
            "batch_size": 20,
            "max_retries": 7,
            "max_wait_time_ms": 3000,
            "max_concurrency": 4,
            "retry_delay": 30,
        },
    )
    assert (created.type, created.script_name, created.dead_letter_queue) == ("worker", "my-worker", "worker-dlq")
    assert created.settings.max_wait_time_ms == 3000
    assert "worker-dlq" in names(client.queues.list(account_id=ACCOUNT))
    assert list(consumers.list(queue_id, account_id=ACCOUNT)) == [created]
    assert consumers.get(created.consumer_id, account_id=ACCOUNT, queue_id=queue_id) == created

    replaced = consumers.update(
        created.consumer_id,
        account_id=ACCOUNT,
        queue_id=queue_id,
        type="worker",
        script_name="my-worker",
        settings={"max_concurrency": None},
    )
    assert (replaced.consumer_id, replaced.dead_letter_queue) == (created.consumer_id, "")
    assert (replaced.settings.batch_size, replaced.settings.max_concurrency) == (10, None)

    removed = consumers.delete(created.consumer_id, account_id=ACCOUNT, queue_id=queue_id)
    assert removed.success is True
    assert server.v4("GET", f"/queues/{queue_id}").result["consumers"] == []


def test_a_pull_consumer_is_created_and_replaced(client, server):
    queue_id = server.create_queue("puller")
    created = client.queues.consumers.create(
        queue_id,
        account_id=ACCOUNT,
        type="http_pull",
        settings={"batch_size": 20, "max_retries": 5, "visibility_timeout_ms": 60000, "retry_delay": 7},
    )
    assert (created.type, created.settings.visibility_timeout_ms, created.settings.retry_delay) == (
        "http_pull",
        60000,
        7,
    )

    replaced = client.queues.consumers.update(
        created.consumer_id, account_id=ACCOUNT, queue_id=queue_id, type="http_pull", settings={"batch_size": 1}
    )
    assert (replaced.settings.batch_size, replaced.settings.visibility_timeout_ms) == (1, 30000)
    assert server.v4("GET", f"/queues/{queue_id}").result["consumers"][0]["settings"]["batch_size"] == 1


def test_json_comes_back_as_base64_and_text_as_it_is(client, pullable):
    queue_id = pullable("bodies")
    body = {"greeting": "hé", "n": [1, 2.5, None]}
    before_ms = time.time() * 1000

    pushed = client.queues.messages.push(queue_id, account_id=ACCOUNT, body=body, content_type="json")
    assert pushed.metadata.metrics.backlog_count == 1
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body="plain ☃", content_type="text")
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body="untyped")

    as_json, as_text, untyped = pull(client, queue_id, batch_size=10)
    assert json.loads(base64.b64decode(as_json.body)) == body
    assert as_json.metadata["CF-Content-Type"] == "json"
    assert (as_text.body, as_text.metadata["CF-Content-Type"]) == ("plain ☃", "text")
    assert (base64.b64decode(untyped.body), untyped.metadata["CF-Content-Type"]) == (b'"untyped"', "json")
    assert as_json.attempts == 1
    assert before_ms - 1 <= as_json.timestamp_ms <= time.time() * 1000 + 1


def test_a_bulk_push_lets_the_delay_of_an_item_win(client, pullable):
    queue_id = pullable("bulk")

    pushed = client.queues.messages.bulk_push(
        queue_id,
        account_id=ACCOUNT,
        delay_seconds=600,
        messages=[
            {"body": "now", "content_type": "text", "delay_seconds": 0},
            {"body": {"n": 1}, "content_type": "json"},
            {"body": "later", "content_type": "text", "delay_seconds": 60},
        ],
    )

    assert pushed.metadata.metrics.backlog_count == 3
    assert [message.body for message in pull(client, queue_id, batch_size=100)] == ["now"]
    metrics = client.queues.get_metrics(queue_id, account_id=ACCOUNT)
    assert (metrics.backlog_count, metrics.backlog_bytes) == (3, len('now{"n":1}later'))
    assert metrics.oldest_message_timestamp_ms > 0


def test_a_delayed_message_is_delivered_when_its_time_has_come(client, pullable):
    queue_id = pullable("delay")
    began = time.monotonic()
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body="later", content_type="text", delay_seconds=1)

    assert pull_one_in_time(client, queue_id).body == "later"
    assert time.monotonic() - began >= 0.99


def test_acks_remove_and_retries_deliver_again(client, pullable):
    queue_id = pullable("settle")
    bodies = ["acked", "again", "later"]
    client.queues.messages.bulk_push(
        queue_id, account_id=ACCOUNT, messages=[{"body": body, "content_type": "text"} for body in bodies]
    )
    acked, again, later = pull(client, queue_id)
    assert [acked.body, again.body, later.body] == bodies

    settled = client.queues.messages.ack(
        queue_id,
        account_id=ACCOUNT,
        acks=[{"lease_id": acked.lease_id}],
        retries=[{"lease_id": again.lease_id}, {"lease_id": later.lease_id, "delay_seconds": 600}],
    )

    assert (settled.ack_count, settled.retry_count, settled.warnings) == (1, 2, {})
    [redelivered] = pull(client, queue_id)
    assert (redelivered.id, redelivered.attempts) == (again.id, 2)
    assert redelivered.lease_id != again.lease_id
    assert client.queues.get_metrics(queue_id, account_id=ACCOUNT).backlog_count == 2


def test_a_lease_that_does_not_count_is_a_warning(client, pullable):
    queue_id = pullable("warnings")
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body=1)
    [message] = pull(client, queue_id)
    acks = [{"lease_id": message.lease_id}]
    client.queues.messages.ack(queue_id, account_id=ACCOUNT, acks=acks)

    settled = client.queues.messages.ack(queue_id, account_id=ACCOUNT, acks=acks, retries=[{"lease_id": "no lease"}])

    assert (settled.ack_count, settled.retry_count) == (0, 0)
    assert set(settled.warnings) == {message.lease_id, "no lease"}


def test_a_lease_ends_with_its_visibility_timeout(client, pullable):
    queue_id = pullable("lapse")
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body="x", content_type="text")

    began = time.monotonic()
    [first] = pull(client, queue_id, visibility_timeout_ms=500)
    second = pull_one_in_time(client, queue_id)

    assert time.monotonic() - began >= 0.49
    assert (second.id, second.attempts) == (first.id, 2)


def test_a_message_out_of_retries_is_found_in_the_dead_letter_queue(client, server, pullable):
    dead_letters = pullable("pull-dlq")
    consumer = {"type": "http_pull", "dead_letter_queue": "pull-dlq", "settings": {"max_retries": 0}}
    queue_id = server.create_queue("pull-source", consumer=consumer)
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body="poison", content_type="text")
    [message] = pull(client, queue_id)

    client.queues.messages.ack(queue_id, account_id=ACCOUNT, retries=[{"lease_id": message.lease_id}])

    [buried] = pull(client, dead_letters)
    assert (buried.id, buried.body, buried.attempts) == (message.id, "poison", 1)
    assert buried.timestamp_ms == message.timestamp_ms
    assert client.queues.get_metrics(queue_id, account_id=ACCOUNT).backlog_count == 0


def test_peek_takes_nothing_and_its_refs_purge_chosen_messages(client, server):
    queue_id = server.create_queue("peek")
    for body in ("a", "b", "c"):
        client.queues.messages.push(queue_id, account_id=ACCOUNT, body=body, content_type="text")

    first = client.queues.messages.peek(queue_id, account_id=ACCOUNT, batch_size=2).messages
    again = client.queues.messages.peek(queue_id, account_id=ACCOUNT, batch_size=2).messages
    assert [(message.body, message.attempts) for message in first] == [("a", 0), ("b", 0)]
    assert [message.id for message in again] == [message.id for message in first]

    refs = [{"ref": first[0].ref}, {"ref": "nothing"}]
    purged = client.queues.messages.purge(queue_id, account_id=ACCOUNT, refs=refs)
    assert (purged.errors, set(purged.warnings)) == ([], {"nothing"})
    left = client.queues.messages.peek(queue_id, account_id=ACCOUNT).messages
    assert [message.body for message in left] == ["b", "c"]


def test_a_purge_empties_the_queue_and_tells_when_it_was(client, pullable):
    queue_id = pullable("purge")
    before = client.queues.purge.status(queue_id, account_id=ACCOUNT)
    assert (before.started_at, before.completed) == (None, None)
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body=1)
    client.queues.messages.push(queue_id, account_id=ACCOUNT, body=2, delay_seconds=600)
    pull(client, queue_id)

    purged = client.queues.purge.start(queue_id, account_id=ACCOUNT, delete_messages_permanently=True)

    assert purged.queue_id == queue_id
    status = client.queues.purge.status(queue_id, account_id=ACCOUNT)
    assert datetime.fromisoformat(status.started_at) <= datetime.fromisoformat(status.completed) <= datetime.now(UTC)
    metrics = client.queues.get_metrics(queue_id, account_id=ACCOUNT)
    assert metrics.model_dump() == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}


def test_a_subscription_is_created_changed_and_deleted(client, server):
    queue_id = server.create_queue("events")
    destination = {"type": "queues.queue", "queue_id": queue_id}
    subscriptions = client.queues.subscriptions

    created = subscriptions.create(
        account_id=ACCOUNT,
        name="models",
        enabled=True,
        source={"type": "workersAi.model", "model_name": "m"},
        destination=destination,
        events=["batch.queued"],
    )
    assert (created.name, created.enabled, created.source.ai_model_name) == ("models", True, "m")
    assert created.created_at.tzinfo is not None

    changed = subscriptions.update(created.id, account_id=ACCOUNT, enabled=False, events=["a", "b"])
    assert (changed.name, changed.enabled, changed.events) == ("models", False, ["a", "b"])
    shown = subscriptions.get(created.id, account_id=ACCOUNT)
    assert (shown.enabled, shown.destination.queue_id, shown.modified_at) == (False, queue_id, changed.modified_at)

    assert subscriptions.delete(created.id, account_id=ACCOUNT).id == created.id
    assert server.v4("GET", f"/event_subscriptions/subscriptions/{created.id}").status == 404


def test_subscriptions_are_read_page_by_page_until_one_is_empty(client, server):
    queue_id = server.create_queue("many-events")
    for name in ("page-2", "page-3", "page-1"):
        client.queues.subscriptions.create(
            account_id=ACCOUNT,
            name=name,
            enabled=True,
            source={"type": "kv"},
            destination={"type": "queues.queue", "queue_id": queue_id},
            events=["namespace.created"],
        )

    found = client.queues.subscriptions.list(
        account_id=ACCOUNT, per_page=1, order="name", direction="desc", extra_query={"queue_id": queue_id}
    )

    assert [subscription.name for subscription in found] == ["page-3", "page-2", "page-1"]


async def test_the_asynchronous_client_pushes_pulls_and_acks(server, pullable):
    queue_id = pullable("async")
    async with cloudflare.AsyncCloudflare(api_token=server.key, base_url=f"{server.url}/client/v4") as client:
        messages = client.queues.messages
        await messages.push(queue_id, account_id=ACCOUNT, body="hello", content_type="text")
        pulled = await messages.pull(queue_id, account_id=ACCOUNT)
        lease_id = pulled.messages[0].lease_id
        settled = await messages.ack(queue_id, account_id=ACCOUNT, acks=[{"lease_id": lease_id}])

    assert (pulled.messages[0].body, settled.ack_count) == ("hello", 1)
    assert server.v4("GET", f"/queues/{queue_id}/metrics").result["backlog_count"] == 0
