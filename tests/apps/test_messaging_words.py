"""The pure parts of the providers: e-mails in bytes, replies and codes, and texts without addresses."""

from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.apps.messaging.jobs import EmailJob, SmsJob, read_job
from millrace.apps.messaging.providers.mime import sender_of, write_email
from millrace.apps.messaging.providers.scrub import TEXT_CHARACTERS, without_addresses, without_recipient
from millrace.apps.messaging.providers.smtp_replies import read_reply
from millrace.apps.messaging.providers.twilio_codes import CODES, REFUSED, RETRY, TROUBLE, verdict_of
from millrace.errors import BodyDoesNotFit, ConfigurationError

NOON_MS = 1_767_268_800_000
LINE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=300)


def email(**more: Any) -> EmailJob:
    given = {"recipient": "ada@example.com", "subject": "Hello", "content": "Text", "priority": "low"}
    return EmailJob(**{"message_id": "msg-1", **given, **more})


def read(letter: EmailJob, account_id: str = "local", mail_from: str = "queue@example.com") -> Any:
    return message_from_bytes(write_email(account_id, letter, mail_from, NOON_MS), policy=default)


def test_an_e_mail_has_the_headers_that_receivers_expect():
    message = read(email())

    assert message["Date"] == "Thu, 01 Jan 2026 12:00:00 +0000"
    assert message["Message-ID"].endswith("@example.com>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"


def test_a_message_has_one_message_id_and_shows_nothing_of_its_own():
    first, again = read(email())["Message-ID"], read(email(content="other"))["Message-ID"]
    others = {read(email(message_id="msg-2"))["Message-ID"], read(email(), account_id="other")["Message-ID"]}

    assert first == again
    assert first not in others
    assert len(others) == 2
    assert "msg-1" not in first


@pytest.mark.parametrize("field", ["subject", "recipient", "messageId"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x00", "\u2028", "\x85"])
def test_a_field_with_a_line_break_is_refused_by_name(field: str, end: str):
    job = {
        "type": "email_send",
        "messageId": "msg-1",
        "recipient": "ada@example.com",
        "subject": "Hello",
        "content": "Text",
        "priority": "low",
    }
    job[field] = f"{job[field]}{end}Bcc: eve@example.com"

    with pytest.raises(BodyDoesNotFit, match=field):
        read_job(job)


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?Hi=0D=0ABcc:_eve@example.com?=",
        "=?utf-8?b?SGkNCkJjYzogZXZlQGV4YW1wbGUuY29t?=",
        "x" * 998,
        "ü" * 998,
        "Bcc: eve@example.com",
    ],
)
def test_a_subject_can_not_become_another_header(subject: str):
    raw = write_email("local", email(subject=subject), "queue@example.com", NOON_MS)

    message = message_from_bytes(raw, policy=default)
    assert message["Subject"] == subject
    assert message["Bcc"] is None
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))


@given(subject=LINE, content=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=2_000))
def test_any_subject_and_text_arrive_as_they_were(subject: str, content: str):
    message = read(email(subject=subject, content=content))

    assert sorted(message.keys()) == sorted(read(email()).keys())
    assert message["Subject"].split() == subject.split()
    assert message.get_content() == content


@pytest.mark.parametrize("mail_from", ["", "nobody", "a@b\r\nBcc: eve@example.com", "ä@example.com"])
def test_a_sender_without_an_address_is_a_mistake_of_the_settings(mail_from: str):
    with pytest.raises(ConfigurationError, match="the sender of e-mails is"):
        sender_of(mail_from)


def test_a_sender_may_have_a_name():
    assert sender_of("Praxis Grün <queue@example.com>") == "queue@example.com"
    assert read(email(), mail_from="Praxis Grün <queue@example.com>")["From"] == "Praxis Grün <queue@example.com>"


@pytest.mark.parametrize(
    ("step", "code", "text", "kind"),
    [
        ("recipient", 550, "5.1.1 no such user", "refused"),
        ("recipient", 550, "no such user", "refused"),
        ("recipient", 553, "5.1.3 bad address", "refused"),
        ("recipient", 501, "5.5.4 bad address", "refused"),
        ("data", 554, "5.7.1 spam", "refused"),
        ("data", 552, "5.3.4 too big", "refused"),
        ("data", 552, "5.2.3 too long", "refused"),
        ("recipient", 552, "5.2.2 full", "refused"),
        ("recipient", 552, "full", "refused"),
        ("recipient", 452, "4.2.2 full", "retry"),
        ("recipient", 450, "4.2.1 busy", "retry"),
        ("data", 451, "4.7.1 greylisted", "retry"),
        ("data", 452, "4.3.1 disk full", "trouble"),
        ("data", 421, "4.3.2 going down", "trouble"),
        ("data", 550, "5.3.5 set up wrongly", "trouble"),
        ("recipient", 530, "5.7.0 log in", "trouble"),
        ("recipient", 503, "5.5.1 wrong order", "trouble"),
        ("sender", 553, "5.1.8 no such sender", "trouble"),
        ("auth", 535, "5.7.8 wrong", "trouble"),
        ("connection", 554, "no", "trouble"),
        ("data", 250, "what", "trouble"),
        ("recipient", 450, "5.3.4 too big, says a muddled server", "retry"),
    ],
)
def test_a_reply_means_what_rfc_5321_and_3463_say(step: Any, code: int, text: str, kind: str):
    assert read_reply(step, code, text).kind == kind


def test_each_code_of_twilio_stands_in_one_table():
    assert len(CODES) == len(REFUSED) + len(RETRY) + len(TROUBLE)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (21211, 400, "refused"),
        (21610, 400, "refused"),
        (21611, 429, "retry"),
        (30001, None, "retry"),
        (30003, None, "retry"),
        (30005, None, "refused"),
        (20003, 401, "trouble"),
        (None, 401, "trouble"),
        (None, 403, "trouble"),
        (None, 400, "refused"),
        (None, 429, "trouble"),
        (None, 500, "trouble"),
        (21211, 503, "trouble"),
        (29999, 400, "refused"),
        (39999, None, "retry"),
    ],
)
def test_twilios_codes_and_statuses_have_their_verdicts(code: int | None, status: int | None, kind: str):
    assert verdict_of(code, status).kind == kind


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<ada@example.com>: unknown", "<(address)>: unknown"),
        ("mailbox of ada%40example.com=full", "mailbox of (address)"),
        ("bounce+ada=40example.com is full", "(address) is full"),
        ("jörg@bücher.example has moved", "(address) has moved"),
        ("call +1 (500) 555-0010 now", "call (number) now"),
        ("try again in 300 seconds, error 30005", "try again in 300 seconds, error 30005"),
        ("two\r\nlines\x00\udcff and\tmore", "two lines and more"),
    ],
)
def test_texts_of_others_lose_their_addresses(text: str, left: str):
    assert without_addresses(text) == left


def test_the_recipients_name_goes_without_its_host_too():
    sms = SmsJob(message_id="msg-1", recipient="+15005550010", content="x", priority="low")

    assert without_recipient("<Ada>: adamant Ada is unknown", email()) == "<(address)>: adamant (address) is unknown"
    assert without_recipient("no route to 15005550010", sms) == "no route to (number)"


def test_a_server_that_quotes_the_subject_or_a_key_is_not_quoted():
    letter = email(subject="Your  results are in")

    said = without_recipient("spam: 'your results are in' in see https://x.example/?token=abc123", letter)

    assert said == "spam: '(subject)' in see https://x.example/?token=(secret)"


@given(before=st.text(max_size=700), after=st.text(max_size=700))
def test_no_address_is_left_wherever_the_text_is_cut(before: str, after: str):
    left = without_addresses(f"{before} grace.hopper@example.com {after}")

    assert len(left) <= TEXT_CHARACTERS
    assert "grace" not in left
    assert left.isprintable()
