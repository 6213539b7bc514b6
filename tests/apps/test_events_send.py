"""`send_event_to_queue` gives a result whatever happens."""

import asyncio
from types import SimpleNamespace

import pytest

from millrace.apps.events import send_event_to_queue
from millrace.bindings import Env, QueueBinding
from millrace.errors import BacklogFull, StoreUnavailable
from millrace.message import Backlog
from millrace.telemetry import Telemetry

EVENT_ID = "7ad1bd9f-7a4a-4bd1-8df0-2b6e2f8a5b0c"
CORRELATION_ID = "11111111-2222-4333-8444-555555555555"


def env_with(sent=None, error=None):
    """Make a user's env whose queue takes messages into a list, or raises."""

    async def send(messages, delay_seconds):
        if error is not None:
            raise error
        sent.extend(messages)
        return Backlog(1, 1, 1)

    return Env({"EVENT_QUEUE": QueueBinding(send)})


async def test_success_is_a_result_and_the_message_has_the_format():
    """S4-08, S4-17, S4-46."""
    sent = []

    result = await send_event_to_queue(env_with(sent), EVENT_ID, {"a": [1, "é"]}, None, CORRELATION_ID)

    assert result == {"success": True}
    assert sent[0].body.decode().startswith(f'{{"event_id":"{EVENT_ID}","payload":{{"a":[1,"é"]}},"timestamp":"')
    assert b"metadata" not in sent[0].body
    assert CORRELATION_ID in sent[0].headers.values()


def test_bindings_that_are_not_async_give_the_result_at_once():
    """S4-17: a program with a `Client` has such bindings."""
    sent = []

    def refuse(event, headers):
        raise BacklogFull("full")

    env = SimpleNamespace(EVENT_QUEUE=SimpleNamespace(send=lambda event, headers: sent.append(event)))
    full = SimpleNamespace(EVENT_QUEUE=SimpleNamespace(send=refuse))

    assert send_event_to_queue(env, EVENT_ID, {"a": 1}, None, CORRELATION_ID) == {"success": True}
    assert send_event_to_queue(full, EVENT_ID, {}, None, CORRELATION_ID) == {"success": False, "error": "full"}
    assert [event.event_id for event in sent] == [EVENT_ID]


@pytest.mark.parametrize(
    "error",
    [
        BacklogFull("full"),
        StoreUnavailable("locked"),
        OSError("disk"),
        ValueError(),
        TimeoutError(),
        ExceptionGroup("g", [OSError()]),
    ],
)
async def test_whatever_the_queue_raises_is_a_result_too(error):
    """S4-17, S4-19."""
    result = await send_event_to_queue(env_with(error=error), EVENT_ID, {}, {}, CORRELATION_ID)

    assert result["success"] is False
    assert isinstance(result["error"], str)
    assert result["error"]


@pytest.mark.parametrize("env", [None, object(), SimpleNamespace(), SimpleNamespace(EVENT_QUEUE=None), Env({})])
async def test_an_env_without_the_binding_is_a_result_too(env):
    """S4-17."""
    assert (await send_event_to_queue(env, EVENT_ID, {}, None, CORRELATION_ID))["success"] is False


@pytest.mark.parametrize("payload", [{"a": object()}, {"a": "\ud800"}, {(1, 2): 3}])
async def test_a_payload_that_json_cannot_hold_is_a_result_too(payload):
    """S4-10, S4-17."""
    sent = []

    result = await send_event_to_queue(env_with(sent), EVENT_ID, payload, None, CORRELATION_ID)

    assert (result["success"], sent) == (False, [])


async def test_a_payload_that_holds_itself_is_a_result_too():
    """S4-17."""
    payload = {}
    payload["self"] = payload

    assert (await send_event_to_queue(env_with([]), EVENT_ID, payload, None, CORRELATION_ID))["success"] is False


async def test_telemetry_is_told_of_both_outcomes():
    """S4-33, S4-34."""
    told = []
    telemetry = Telemetry()
    telemetry.subscribe(lambda name, fields: told.append((name, fields)), "event.queued", "event.refused")

    await send_event_to_queue(env_with([]), EVENT_ID, {}, None, CORRELATION_ID, telemetry=telemetry)
    await send_event_to_queue(env_with(error=OSError("x")), EVENT_ID, {}, None, CORRELATION_ID, telemetry=telemetry)

    assert [name for name, _ in told] == ["event.queued", "event.refused"]
    assert all(fields["correlation_id"] == CORRELATION_ID and fields["event_id"] == EVENT_ID for _, fields in told)
    assert None not in [fields.get("timestamp", "the log's own") for _, fields in told]


async def test_cancelling_the_caller_is_not_swallowed():
    """S4-17."""
    with pytest.raises(asyncio.CancelledError):
        await send_event_to_queue(env_with(error=asyncio.CancelledError()), EVENT_ID, {}, None, CORRELATION_ID)
