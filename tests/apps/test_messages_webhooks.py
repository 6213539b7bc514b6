"""Reports of providers over HTTP: who is believed, and what is read. The row ids stand for the requirements."""

import itertools
import json
import time
from base64 import b64encode
from urllib.parse import quote, urlencode

import pytest
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from millrace.access.signatures import sign
from millrace.apps.messaging.webhook_routes import urls_of
from millrace.apps.messaging.webhooks import is_of_twilio, resend_report, twilio_report, twilio_signature
from millrace.http.request import Head, Request
from tests.apps.message_rooms import email, sms
from tests.apps.sinks import MailSink, ResendSink, TwilioSink, serving
from tests.http.wire import assert_refusal, eventually
from tests.support import ON_POSTGRES, Server

RESEND_SECRET, DELIVERY_SECRET = ("whsec_" + b64encode(letter * 24).decode() for letter in (b"r", b"d"))
TOKEN = "twilio-token"
PATH = "/webhooks/delivery/"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def twilio():
    with serving(TwilioSink(auth_token=TOKEN)) as sink:
        yield sink


@pytest.fixture(scope="module")
def resend():
    with serving(ResendSink()) as sink:
        yield sink


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request, twilio, resend, tmp_path_factory):
    data = tmp_path_factory.mktemp("webhooks")
    if request.param == "postgres":
        ON_POSTGRES.add(data)
    environ = {
        "TWILIO_ACCOUNT_SID": twilio.account_sid,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_FROM_NUMBER": "+15005550006",
        "TWILIO_API_BASE": twilio.url,
        "RESEND_API_KEY": resend.api_key,
        "RESEND_API_BASE": resend.url,
        "RESEND_WEBHOOK_SECRET": RESEND_SECRET,
        "DELIVERY_WEBHOOK_SECRET": DELIVERY_SECRET,
        "FETCH_ALLOW": "127.0.0.1",
    }
    with Server(data, environ=environ) as running:
        yield running


def sent(server, job):
    """Send a message and give what is shown of it then."""
    assert server.call("POST", "/api/enqueue-job", job).status == 202
    return eventually(lambda: (shown := show(server, job["messageId"]))["status"] == "sent" and shown)


def show(server, message_id):
    return server.call("GET", f"/api/messages/{quote(message_id)}").json


def story(server, message_id):
    reply = server.call("GET", f"/api/messages/{quote(message_id)}/history")
    return [line["status"] for line in reply.json["history"]]


def a_sms():
    return sms(f"sms-{next(NUMBERS)}")


def an_email():
    return email(f"msg-{next(NUMBERS)}")


def post(server, provider, body, headers, query=""):
    return server.call("POST", f"{PATH}{provider}{query}", body, key=None, headers=headers)


def call_back(server, sid, status, token=TOKEN, query="", url=None, headers=None, **more):
    """Report as Twilio does."""
    form = {"MessageSid": sid, "MessageStatus": status, "To": "+15005550006", **more}
    signature = RequestValidator(token).compute_signature(url or f"{server.url}{PATH}twilio{query}", form)
    about = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return post(server, "twilio", urlencode(form).encode(), about, query)


def told_by(server, provider, secret, said, *, prefix="webhook-", once=None, at_s=None):
    """Report as those do who sign after Standard Webhooks."""
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    signed = sign(secret, once or f"evt-{next(NUMBERS)}", int(at_s or time.time()), raw)
    return post(server, provider, raw, {name.replace("webhook-", prefix): value for name, value in signed.items()})


def test_a_text_message_that_twilio_reports_is_delivered(server):
    """S1-29, S1-63."""
    shown = sent(server, a_sms())

    replies = [call_back(server, shown["providerId"], status) for status in ("sent", "delivered", "delivered")]

    assert [(reply.status, reply.body) for reply in replies] == [(204, b"")] * 3
    assert story(server, shown["messageId"]) == ["queued", "processing", "sent", "delivered"]
    history = server.call("GET", f"/api/messages/{shown['messageId']}/history").json["history"]
    assert (history[-1]["provider"], history[-1]["actor"]) == ("twilio", "webhook")


def test_a_code_of_twilio_says_why_it_was_not_delivered(server):
    """S1-29."""
    shown = sent(server, a_sms())

    call_back(server, shown["providerId"], "undelivered", ErrorCode="30003")

    after = show(server, shown["messageId"])
    assert (after["status"], after["reason"]) == (
        "undelivered", "twilio 30003: the phone cannot be reached now; it may be switched off")  # fmt: skip


def test_the_account_of_the_url_counts_and_is_part_of_what_is_signed(server):
    shown = sent(server, a_sms())

    other = call_back(server, shown["providerId"], "delivered", query="?account=nobodys")
    moved = call_back(server, shown["providerId"], "delivered", url=f"{server.url}{PATH}twilio?account=local")

    assert (other.status, moved.status) == (204, 401)
    assert show(server, shown["messageId"])["status"] == "sent"
    assert call_back(server, shown["providerId"], "delivered", query="?account=local").status == 204
    assert show(server, shown["messageId"])["status"] == "delivered"


def test_behind_a_proxy_the_forwarded_scheme_is_signed(server):
    host = server.url.removeprefix("http://")
    shown = sent(server, a_sms())

    reply = call_back(server, shown["providerId"], "delivered", url=f"https://{host}{PATH}twilio",
                      headers={"X-Forwarded-Proto": "https"})  # fmt: skip

    assert reply.status == 204
    assert show(server, shown["messageId"])["status"] == "delivered"


def test_a_wrong_signature_and_none_are_refused(server):
    """S1-63, S1-81."""
    shown = sent(server, a_sms())

    wrong = call_back(server, shown["providerId"], "delivered", token="another")
    none = post(server, "twilio", b"MessageSid=SM1&MessageStatus=delivered", {})
    forged = told_by(server, "resend", DELIVERY_SECRET, {"type": "email.delivered", "data": {"email_id": "re-1"}})
    with_a_key = server.call("POST", f"{PATH}email", {"messageId": "x", "status": "delivered"})

    for reply in (wrong, none, forged, with_a_key):
        assert_refusal(reply, 401, "UNAUTHORIZED")
    assert show(server, shown["messageId"])["status"] == "sent"


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_signature_that_is_too_old_or_from_the_future_is_refused(server, seconds):
    """S1-63."""
    reply = told_by(server, "resend", RESEND_SECRET, {"type": "email.sent", "data": {"email_id": "re-1"}},
                    at_s=time.time() + seconds)  # fmt: skip

    assert_refusal(reply, 401, "UNAUTHORIZED")


def test_an_event_of_resend_counts_once_in_either_spelling_of_its_headers(server):
    """S1-63."""
    shown = sent(server, an_email())
    said = {
        "type": "email.complained",
        "created_at": "2026-01-01",
        "data": {"email_id": shown["providerId"], "to": ["a"]},
    }

    replies = [told_by(server, "resend", RESEND_SECRET, said, once=f"evt-{shown['messageId']}", prefix=prefix)
               for prefix in ("svix-", "svix-", "webhook-")]  # fmt: skip
    told_by(server, "resend", RESEND_SECRET, {**said, "type": "email.delivered"}, prefix="svix-")

    assert [reply.status for reply in replies] == [204] * 3
    assert story(server, shown["messageId"]) == ["queued", "processing", "sent", "sent", "delivered"]


def test_a_relay_reports_by_our_id_and_its_reason_loses_addresses(server):
    """S1-63."""
    shown = sent(server, an_email())
    said = {"messageId": shown["messageId"], "status": "undelivered", "reason": "550 ada@example.com unknown"}

    reply = told_by(server, "email", DELIVERY_SECRET, {**said, "account": "local"})

    after = show(server, shown["messageId"])
    assert (reply.status, after["status"], after["reason"]) == (204, "undelivered", "550 (address) unknown")


def test_a_report_for_nobody_is_answered_like_any_other(server):
    assert call_back(server, "SM" + "f" * 32, "delivered").status == 204
    assert told_by(server, "email", DELIVERY_SECRET, {"messageId": "nobody's", "status": "failed"}).status == 204


@pytest.mark.parametrize(
    ("provider", "raw"),
    [
        ("resend", b"{"),
        ("resend", b"[]"),
        ("resend", b'{"type": "email.delivered", "data": {}}'),
        ("resend", b'{"type": "email.delivered", "data": {"email_id": "a\\u0000"}}'),
        ("email", b'{"status": "delivered"}'),
        ("email", b'{"status": "lost", "messageId": "a"}'),
        ("email", b'{"status": "delivered", "messageId": "a", "providerId": "b"}'),
        ("email", b'{"status": "delivered", "messageId": "a\\u0000"}'),
        ("email", b'{"status": "delivered", "messageId": "a\\ud800"}'),
        ("email", b'{"status": "delivered", "messageId": "a", "account": "\\u0000"}'),
        ("email", b"\xff"),
    ],
)
def test_what_is_signed_and_malformed_is_refused(server, provider, raw):
    """S1-83."""
    secret = {"resend": RESEND_SECRET, "email": DELIVERY_SECRET}[provider]

    assert_refusal(told_by(server, provider, secret, raw), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("raw", [b"{}", b"MessageSid", b"\xff=1"])
def test_what_is_no_form_is_refused(server, raw):
    assert_refusal(post(server, "twilio", raw, {"X-Twilio-Signature": "x"}), 400, "VALIDATION_ERROR")


def test_a_form_without_a_status_is_refused(server):
    signature = RequestValidator(TOKEN).compute_signature(f"{server.url}{PATH}twilio", {"MessageSid": "SM1"})

    assert_refusal(
        post(server, "twilio", b"MessageSid=SM1", {"X-Twilio-Signature": signature}), 400, "VALIDATION_ERROR"
    )


def test_a_body_over_64_kib_is_refused_unread(server):
    assert_refusal(post(server, "email", b"x" * 70_000, {}), 413, "PAYLOAD_TOO_LARGE")


def test_unknown_providers_and_other_paths_let_nobody_in(server):
    assert_refusal(post(server, "pigeon", b"", {}), 401, "UNAUTHORIZED")
    assert_refusal(server.call("GET", f"{PATH}twilio", key=None), 401, "UNAUTHORIZED")
    assert_refusal(server.call("POST", "/webhooks", b"", key=None), 401, "UNAUTHORIZED")


def test_a_provider_without_settings_takes_no_reports_and_a_bad_secret_stops_the_start(tmp_path):
    with MailSink() as sink:
        environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "PUBLIC_URL": "https://mail.example.com"}
        with Server(tmp_path / "data", environ=environ) as running:
            for provider in ("twilio", "resend", "email"):
                assert_refusal(post(running, provider, b"", {}), 401, "UNAUTHORIZED")
    refused = Server(tmp_path / "other", environ={"DELIVERY_WEBHOOK_SECRET": "not base64!"})
    with pytest.raises(AssertionError, match="DELIVERY_WEBHOOK_SECRET"):
        refused.start()


@pytest.mark.parametrize("status", ["queued", "sending", "accepted", "read", "canceled", "scheduled"])
def test_other_statuses_of_twilio_say_nothing_that_counts(status):
    assert twilio_report([("MessageSid", "SM1"), ("MessageStatus", status)]) is None


def test_other_events_of_resend_say_nothing_that_counts():
    assert resend_report(b'{"type": "contact.created", "data": {"id": "x"}}', "evt") is None


def test_a_bounce_says_why_without_the_address():
    bounce = {"type": "Permanent", "subType": "General", "message": "<ada@example.com>: no such user"}
    said = {"type": "email.bounced", "data": {"email_id": "re-1", "bounce": bounce}}

    report = resend_report(json.dumps(said).encode(), "evt")

    assert (report.event, report.reason) == ("undelivered", "resend: Permanent General <(address)>: no such user")


def test_our_signature_of_a_form_is_twilios_also_with_values_that_come_twice():
    url, form = "https://mail.example.com/webhooks/delivery/twilio?account=local", {"B": ["2", "1", "2"], "A": ["ä ="]}
    pairs = [(name, value) for name, values in form.items() for value in values]

    signature = RequestValidator(TOKEN).compute_signature(url, MultiDict(form))

    assert twilio_signature(TOKEN, url, pairs) == signature
    assert is_of_twilio(TOKEN, ["https://other.example.com", url], pairs, signature)
    assert not is_of_twilio(TOKEN, [url], pairs[1:2], signature)


@pytest.mark.parametrize(
    ("public_url", "headers", "urls"),
    [
        ("https://mail.example.com/m/", {b"host": b"inside:8787"}, ["https://mail.example.com/m/hook?a=b"]),
        (None, {b"host": b"x:1", b"x-forwarded-proto": b"https, http"}, ["https://x:1/hook?a=b", "https://x/hook?a=b"]),
        (None, {b"host": b"x"}, ["https://x/hook?a=b", "http://x/hook?a=b"]),
    ],
)
def test_the_url_that_was_called_is_the_public_one_or_the_requests_own(public_url, headers, urls):
    request = Request(None, "/hook", b"a=b", {}, Head(None, 0, b"", "id", None, headers=headers), None)

    assert urls_of(request, public_url) == urls
