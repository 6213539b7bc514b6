"""E-mails handed to an HTTP service, as a small server on this machine speaks Resend's API."""

from collections.abc import Iterator
from typing import Any

import pytest

from millrace.apps.messaging.jobs import EmailJob
from millrace.apps.messaging.providers.contract import Failed, Refused
from millrace.apps.messaging.providers.resend import ResendProvider
from millrace.apps.messaging.settings import ResendSettings
from millrace.resources.outbound import Outbound
from millrace.testing.clock import ManualClock
from tests.apps.sinks import ResendSink, serving
from tests.unit.receiver import never, receiving

FROM = "Clinic <queue@clinic.example>"


@pytest.fixture(scope="module")
def running() -> Iterator[ResendSink]:
    with serving(ResendSink()) as sink:
        yield sink


@pytest.fixture
def sink(running: ResendSink) -> ResendSink:
    running.recover()
    return running


def email(**more: Any) -> EmailJob:
    given = {"recipient": "ada@example.com", "subject": "Grüße", "content": "Tomorrow", "priority": "low"}
    return EmailJob(message_id="msg-1", **{**given, **more})


def provider_for(sink: ResendSink, *, url: str | None = None, key: str | None = None, seconds: float = 5):
    settings = ResendSettings(api_key=key or sink.api_key, api_base=url or sink.url)
    return ResendProvider(settings, FROM, Outbound(["127.0.0.1"]), ManualClock(), seconds=seconds)


async def failure(provider: ResendProvider) -> Failed | Refused:
    with pytest.raises((Failed, Refused)) as raised:
        await provider.send("local", email())
    return raised.value


async def test_an_e_mail_is_posted_with_all_its_fields(sink: ResendSink):
    handed = await provider_for(sink).send("local", email())

    sent = sink.emails["re-1"]
    assert (handed.provider_id, handed.status) == ("re-1", "sent")
    assert {name: sent[name] for name in ("from", "to", "subject", "text")} == {
        "from": FROM,
        "to": ["ada@example.com"],
        "subject": "Grüße",
        "text": "Tomorrow",
    }
    assert sent["headers"]["Message-ID"].endswith("@clinic.example>")


async def test_the_same_message_at_another_attempt_is_sent_once(sink: ResendSink):
    provider = provider_for(sink)

    first, second = await provider.send("local", email()), await provider.send("local", email())

    assert first.provider_id == second.provider_id
    assert len(sink.emails) == 1
    assert "msg-1" not in sink.requests[0].headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("status", "body", "error", "is_trouble"),
    [
        (422, {"name": "validation_error", "message": "Invalid `to` field: ada@example.com"}, Refused, None),
        (400, {"name": "validation_error", "message": "?"}, Refused, None),
        (409, {"name": "invalid_idempotent_request"}, Refused, None),
        (409, {"name": "concurrent_idempotent_requests"}, Failed, False),
        (422, {"name": "invalid_from_address"}, Failed, True),
        (403, {"name": "validation_error", "message": "The domain is not verified"}, Failed, True),
        (401, {"name": "missing_api_key"}, Failed, True),
        (429, {"name": "daily_quota_exceeded"}, Failed, True),
        (500, {"name": "application_error"}, Failed, True),
        (503, b"<html>", Failed, True),
        (200, b"<html>log in to the hotel</html>", Failed, True),
    ],
)
async def test_what_is_about_the_message_is_final_and_anything_else_is_not(
    sink: ResendSink, status: int, body: object, error: type[Exception], is_trouble
):
    sink.answer(status, body)

    failed = await failure(provider_for(sink))

    assert type(failed) is error
    assert getattr(failed, "is_trouble", None) is is_trouble
    assert failed.reason.startswith(f"resend {status}")
    assert "ada@example.com" not in failed.reason


async def test_a_wrong_key_is_the_fault_of_no_message(sink: ResendSink):
    failed = await failure(provider_for(sink, key="re_wrong"))

    assert isinstance(failed, Failed)
    assert failed.reason == "resend 403: invalid_api_key API key is invalid"


async def test_a_pause_that_is_asked_for_is_kept(sink: ResendSink):
    sink.answer(429, {"name": "rate_limit_exceeded", "message": "Too many requests"}, Retry_After="9")

    failed = await failure(provider_for(sink))

    assert isinstance(failed, Failed)
    assert failed.retry_after_seconds == 9


async def test_an_answer_that_breaks_off_means_taken_under_an_unknown_id(sink: ResendSink):
    sink.answer(200, b'{"id": "re-')

    handed = await provider_for(sink).send("local", email())

    assert (handed.status, handed.provider_id) == ("sent", None)
    assert "id is not known" in handed.note


async def test_no_answer_is_trouble(sink: ResendSink):
    async with receiving(never) as silent:
        failed = await failure(provider_for(sink, url=f"http://127.0.0.1:{silent.port}", seconds=0.2))

    assert isinstance(failed, Failed)
    assert failed.is_trouble
