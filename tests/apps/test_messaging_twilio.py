"""Text messages handed to Twilio's API, as a small server on this machine speaks it."""

from collections.abc import Iterator

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from millrace.apps.messaging.jobs import SmsJob
from millrace.apps.messaging.providers.contract import Failed, Handed, Refused
from millrace.apps.messaging.providers.twilio import TwilioProvider
from millrace.apps.messaging.providers.twilio_codes import CODES, verdict_of
from millrace.apps.messaging.settings import TwilioSettings
from millrace.resources.outbound import Outbound
from millrace.testing.clock import ManualClock
from tests.apps.sinks import TwilioSink, serving
from tests.unit.receiver import never, receiving

TO, FROM = "+15005550010", "+15005550006"


@pytest.fixture(scope="module")
def running() -> Iterator[TwilioSink]:
    with serving(TwilioSink()) as sink:
        yield sink


@pytest.fixture
def sink(running: TwilioSink) -> TwilioSink:
    running.recover()
    return running


def sms(message_id: str = "msg-1", content: str = "Tomorrow at 2 PM") -> SmsJob:
    return SmsJob(message_id=message_id, recipient=TO, content=content, priority="high")


def provider_for(
    sink: TwilioSink,
    *,
    url: str | None = None,
    sender: str = FROM,
    token: str | None = None,
    public_url: str | None = None,
    seconds: float = 5,
) -> TwilioProvider:
    settings = TwilioSettings(
        account_sid=sink.account_sid,
        auth_token=token or sink.auth_token,
        from_number=sender,
        api_base=url or sink.url,
    )
    return TwilioProvider(settings, public_url, Outbound(["127.0.0.1"]), ManualClock(), seconds=seconds)


async def failure(provider: TwilioProvider) -> Failed | Refused:
    with pytest.raises((Failed, Refused)) as raised:
        await provider.send("local", sms())
    return raised.value


async def test_a_text_message_is_posted_as_twilio_wants_it(sink: TwilioSink):
    provider = provider_for(sink, public_url="https://queue.example/")

    handed = await provider.send("acc 1", sms(content="Grüße & mehr"))

    form = sink.requests[0].form.to_dict()
    assert sink.requests[0].path == f"/2010-04-01/Accounts/{sink.account_sid}/Messages.json"
    assert form == {
        "To": TO,
        "From": FROM,
        "Body": "Grüße & mehr",
        "StatusCallback": "https://queue.example/webhooks/delivery/twilio?account=acc+1",
    }
    assert handed == Handed(provider="twilio", provider_id=[*sink.messages][-1], note="queued")


async def test_a_messaging_service_stands_in_the_place_of_a_number(sink: TwilioSink):
    service = "MG" + "1" * 32

    await provider_for(sink, sender=service).send("local", sms())

    form = sink.requests[0].form.to_dict()
    assert form == {"To": TO, "MessagingServiceSid": service, "Body": "Tomorrow at 2 PM"}


@pytest.mark.parametrize("code", [21211, 21610, 21614, 21408])
async def test_what_is_about_the_recipient_is_final(sink: TwilioSink, code: int):
    """S1-28."""
    sink.fail(code)

    failed = await failure(provider_for(sink))

    assert isinstance(failed, Refused)
    assert failed.reason == f"twilio {code}: {CODES[code].words}"


@pytest.mark.parametrize(
    ("code", "is_trouble"),
    [(30001, False), (30003, False), (21611, False), (20429, True), (20500, True), (21606, True)],
)
async def test_what_passes_or_is_the_fault_of_others_is_tried_again(sink: TwilioSink, code: int, is_trouble):
    """S1-28."""
    sink.fail(code)

    failed = await failure(provider_for(sink))

    assert isinstance(failed, Failed)
    assert failed.is_trouble is is_trouble


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        (418, b"<html>no teapot</html>", Refused, "twilio 418"),
        (400, {"code": 29999, "message": f"{TO} is odd"}, Refused, "twilio 29999: (number) is odd"),
        (502, b"<html>bad gateway</html>", Failed, "twilio 502: Twilio is busy or broken"),
        (500, {"code": 21211, "message": "?"}, Failed, "twilio 21211: Twilio is busy or broken"),
        (404, b"", Failed, "twilio 404: account, auth token or address is wrong"),
        (302, b"", Failed, "twilio 302: Twilio is busy or broken"),
        (201, b'{"sid": "SM1", ', Failed, "twilio 201: the answer cannot be read; it may have been sent"),
        (201, {"sid": "SM1", "status": "failed", "error_code": 30006}, Refused, f"twilio 30006: {CODES[30006].words}"),
    ],
)
async def test_odd_answers_are_classified_too(
    sink: TwilioSink, status: int, body: object, error: type[Exception], reason: str
):
    sink.answer(status, body)

    failed = await failure(provider_for(sink))

    assert type(failed) is error
    assert failed.reason == reason


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7), ("Thu, 01 Jan 2026 00:01:00 GMT", 60), ("soon", None)])
async def test_a_pause_that_is_asked_for_is_kept(sink: TwilioSink, asked: str, seconds: float | None):
    sink.fail(20429, Retry_After=asked)
    provider = provider_for(sink)
    provider._clock.now_ms = 1_767_225_600_000

    failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.retry_after_seconds == seconds
    assert failed.is_trouble


async def test_a_wrong_token_is_the_fault_of_no_message(sink: TwilioSink):
    failed = await failure(provider_for(sink, token="wrong"))

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert failed.reason == f"twilio 20003: {CODES[20003].words}"


async def test_a_text_that_was_not_answered_may_have_been_sent(sink: TwilioSink):
    async with receiving(never) as silent:
        url = f"http://127.0.0.1:{silent.port}"
        failed = await failure(provider_for(sink, url=url, seconds=0.2))

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert failed.reason.endswith("no complete answer within 0.2 s; it may have been sent")


async def test_a_text_that_found_no_connection_was_not_sent(sink: TwilioSink):
    async with receiving() as gone:
        url = f"http://127.0.0.1:{gone.port}"
    failed = await failure(provider_for(sink, url=url))

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert "no connection" in failed.reason
    assert "may have been sent" not in failed.reason


def test_a_report_says_nothing_final_with_a_code_that_is_not_known():
    assert verdict_of(39_999).kind == "retry"
    assert verdict_of(None).kind == "retry"
    assert verdict_of(30_005).kind == "refused"


class ToSink(TwilioHttpClient):
    """Lets Twilio's own library talk to a server on this machine."""

    def __init__(self, sink: TwilioSink) -> None:
        super().__init__()
        self._sink_url = sink.url

    def request(self, method: str, url: str, *args, **more):
        return super().request(method, url.replace("https://api.twilio.com", self._sink_url), *args, **more)


def test_twilios_own_library_reads_what_the_sink_answers(sink: TwilioSink):
    client = Client(sink.account_sid, sink.auth_token, http_client=ToSink(sink))

    made = client.messages.create(to=TO, from_=FROM, body="hello", status_callback="https://queue.example/x")
    sink.fail(21610)
    with pytest.raises(TwilioRestException) as raised:
        client.messages.create(to=TO, from_=FROM, body="hello")

    assert (made.status, made.to, made.direction) == ("queued", TO, "outbound-api")
    assert client.messages(made.sid).fetch().body == "hello"
    assert (raised.value.code, raised.value.status) == (21610, 400)


def test_the_sinks_reports_are_signed_as_twilio_signs_them(sink: TwilioSink):
    client = Client(sink.account_sid, sink.auth_token, http_client=ToSink(sink))
    made = client.messages.create(to=TO, from_=FROM, body="hello", status_callback="https://queue.example/x?account=a")

    url, form, headers = sink.report(made.sid, "undelivered", 30005)

    assert url == "https://queue.example/x?account=a"
    assert form["ErrorCode"] == "30005"
    assert RequestValidator(sink.auth_token).validate(url, form, headers["X-Twilio-Signature"])
