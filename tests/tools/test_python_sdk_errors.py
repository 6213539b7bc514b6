"""How the official Python SDK takes our errors: by class, and asked once when asking again is of no use."""

import uuid
from typing import Any

import cloudflare
import pytest

from tests.tools.sdk import ACCOUNT, new_client, pull

pytestmark = pytest.mark.xdist_group("cloudflare-tools")

NOWHERE = "0" * 32


def code_of(error: cloudflare.APIError) -> int:
    return error.errors[0].code


def test_a_wrong_token_is_an_authentication_error(server, requests):
    with (
        new_client(server, requests, token="wrong") as stranger,
        pytest.raises(cloudflare.AuthenticationError) as caught,
    ):
        stranger.queues.list(account_id=ACCOUNT)

    assert (caught.value.status_code, code_of(caught.value), len(requests)) == (401, 10000, 1)


def test_an_account_of_others_is_a_permission_error(client):
    with pytest.raises(cloudflare.PermissionDeniedError) as caught:
        client.queues.list(account_id="other")

    assert code_of(caught.value) == 10000


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda queues, _: queues.get(NOWHERE, account_id=ACCOUNT), 11000),
        (lambda queues, _: queues.messages.push(NOWHERE, account_id=ACCOUNT, body=1), 11000),
        (lambda queues, queue_id: queues.consumers.get(NOWHERE, account_id=ACCOUNT, queue_id=queue_id), 11005),
    ],
    ids=["queue", "queue of a push", "consumer"],
)
def test_what_does_not_exist_is_a_not_found_error(client, server, call, code):
    queue_id = server.create_queue(f"missing-{uuid.uuid4().hex}")

    with pytest.raises(cloudflare.NotFoundError) as caught:
        call(client.queues, queue_id)

    assert code_of(caught.value) == code


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda queues, _: queues.create(account_id=ACCOUNT, queue_name="Bad_Name"), 11003),
        (
            lambda queues, queue_id: queues.edit(queue_id, account_id=ACCOUNT, settings={"delivery_delay": 86401}),
            100128,
        ),
        (
            lambda queues, queue_id: queues.consumers.create(
                queue_id, account_id=ACCOUNT, type="worker", script_name=""
            ),
            10026,
        ),
        (
            lambda queues, queue_id: queues.consumers.create(
                queue_id, account_id=ACCOUNT, type="http_pull", settings={"batch_size": 101}
            ),
            100127,
        ),
        (
            lambda queues, queue_id: queues.messages.push(queue_id, account_id=ACCOUNT, body=1, content_type="text"),
            10203,
        ),
        (
            lambda queues, queue_id: queues.messages.push(queue_id, account_id=ACCOUNT, body=1, delay_seconds=86401),
            10203,
        ),
        (lambda queues, queue_id: queues.messages.push(queue_id, account_id=ACCOUNT), 10207),
        (
            lambda queues, queue_id: queues.messages.bulk_push(
                queue_id, account_id=ACCOUNT, delay_seconds=-1, messages=[{"body": 1}]
            ),
            10202,
        ),
        (
            lambda queues, queue_id: queues.purge.start(
                queue_id, account_id=ACCOUNT, delete_messages_permanently=False
            ),
            10026,
        ),
    ],
    ids=[
        "queue name",
        "queue setting",
        "worker without script",
        "consumer setting",
        "text that is no string",
        "delay",
        "push without body",
        "batch delay",
        "purge that is not meant",
    ],
)
def test_what_is_not_valid_is_a_bad_request_error(client, server, call, code):
    queue_id = server.create_queue(f"invalid-{uuid.uuid4().hex}")

    with pytest.raises(cloudflare.BadRequestError) as caught:
        call(client.queues, queue_id)

    assert code_of(caught.value) == code
    assert client.queues.get_metrics(queue_id, account_id=ACCOUNT).backlog_count == 0


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"body": "x" * 128_001, "content_type": "text"}], 10204),
        ([{"body": "x" * 100_000, "content_type": "text"}] * 3, 10205),
        ([{"body": 1}] * 101, 10206),
        ([], 10206),
    ],
    ids=["message", "bytes of a batch", "messages of a batch", "empty batch"],
)
def test_what_is_too_large_is_a_status_error_of_413(client, server, requests, messages, code):
    queue_id = server.create_queue(f"large-{uuid.uuid4().hex}")

    with pytest.raises(cloudflare.APIStatusError) as caught:
        client.queues.messages.bulk_push(queue_id, account_id=ACCOUNT, messages=messages)

    assert (caught.value.status_code, code_of(caught.value), len(requests)) == (413, code, 1)
    assert client.queues.get_metrics(queue_id, account_id=ACCOUNT).backlog_count == 0


def test_a_pull_without_a_pull_consumer_is_a_status_error_of_405(client, server, requests):
    queue_id = server.create_queue("unpullable")

    with pytest.raises(cloudflare.APIStatusError) as caught:
        pull(client, queue_id)

    assert (caught.value.status_code, len(requests)) == (405, 1)
    assert "messages cannot be pulled unless http_pull mode is enabled" in caught.value.message


def conflicting_name(queues: Any, queue_id: str) -> None:
    queues.create(account_id=ACCOUNT, queue_name=queues.get(queue_id, account_id=ACCOUNT).queue_name)


def second_consumer(queues: Any, queue_id: str) -> None:
    queues.consumers.create(queue_id, account_id=ACCOUNT, type="worker", script_name="second")


def paused_pull(queues: Any, queue_id: str) -> None:
    queues.edit(queue_id, account_id=ACCOUNT, settings={"delivery_paused": True})
    queues.messages.pull(queue_id, account_id=ACCOUNT)


@pytest.mark.parametrize(
    ("call", "code", "sentence"),
    [
        (conflicting_name, 11009, "is already taken. Please use a different name and try again."),
        (second_consumer, 11004, "workers.api.error.consumer_exists"),
        (paused_pull, 10252, "queue_delivery_paused"),
    ],
)
def test_a_conflict_is_told_at_once_and_not_asked_again(client, pullable, requests, call, code, sentence):
    queue_id = pullable(f"conflict-{code}")

    with pytest.raises(cloudflare.ConflictError) as caught:
        call(client.queues, queue_id)

    assert (code_of(caught.value), requests.count(requests[-1])) == (code, 1)
    assert sentence in caught.value.errors[0].message
    assert caught.value.response.headers["x-should-retry"] == "false"
