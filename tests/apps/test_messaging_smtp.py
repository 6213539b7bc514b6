"""E-mails handed to a real mail server, which takes them or has troubles."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace.apps.messaging.jobs import EmailJob
from millrace.apps.messaging.providers import smtp_connections
from millrace.apps.messaging.providers.contract import Away, Failed, Refused
from millrace.apps.messaging.providers.smtp import SmtpProvider
from millrace.apps.messaging.settings import SmtpSettings
from millrace.testing.clock import ManualClock
from tests.apps.sinks import DROP, HANG, MailSink

FROM = "Clinic <queue@clinic.example>"
CONNECTIONS = SmtpSettings(host="").connections


def email(message_id: str = "msg-1", recipient: str = "ada@example.com", **more: Any) -> EmailJob:
    return EmailJob(
        **{
            "message_id": message_id,
            "recipient": recipient,
            "subject": "Reminder",
            "content": "Tomorrow at 2 PM.\n.\nSee you",
            "priority": "normal",
            **more,
        }
    )


@asynccontextmanager
async def sending_to(
    port: int, *, host: str = "127.0.0.1", seconds: float = 10, trusts: Path | None = None, **settings: Any
) -> AsyncIterator[SmtpProvider]:
    tls = None if trusts is None else ssl.create_default_context(cafile=trusts)
    given = SmtpSettings(host=host, port=port, **settings)
    provider = SmtpProvider(given, FROM, ManualClock(), seconds=seconds, tls=tls)
    try:
        yield provider
    finally:
        await provider.aclose()


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with MailSink() as running:
        yield running


async def failure(provider: SmtpProvider, letter: EmailJob | None = None) -> Failed | Refused:
    with pytest.raises((Failed, Refused)) as raised:
        await provider.send("local", letter or email())
    return raised.value


async def test_an_e_mail_arrives_with_sender_recipient_subject_and_text(sink: MailSink):
    async with sending_to(sink.port) as provider:
        handed = await provider.send("local", email(subject="Grüße", content="Schöne Grüße\n.\nEnde"))

    mail = sink.mails[0]
    assert (mail.sender, mail.recipient) == ("queue@clinic.example", "ada@example.com")
    assert mail.message["From"] == FROM
    assert mail.message["To"] == "ada@example.com"
    assert mail.message["Subject"] == "Grüße"
    assert mail.message.get_content().strip().splitlines() == ["Schöne Grüße", ".", "Ende"]
    assert (handed.provider, handed.status, handed.provider_id) == ("smtp", "sent", mail.message["Message-ID"])
    assert handed.note == "2.0.0 Ok: queued as 1"


@pytest.mark.parametrize(
    ("step", "reply", "error", "is_trouble", "reason"),
    [
        ("RCPT", "550 5.1.1 <ada@example.com> no such user", Refused, None, "smtp 550 5.1.1: <(address)> no such user"),
        ("DATA_END", "554 5.7.1 blocked as spam", Refused, None, "smtp 554 5.7.1: blocked as spam"),
        ("DATA_END", "550 too many links", Refused, None, "smtp 550: too many links"),
        ("RCPT", "451 4.7.1 greylisted", Failed, False, "smtp 451 4.7.1: greylisted"),
        ("DATA_END", "451 4.3.0 try later", Failed, False, "smtp 451 4.3.0: try later"),
        ("RCPT", "552 5.2.2 quota of ada", Refused, None, "smtp 552 5.2.2: quota of (address)"),
        ("RCPT", "421 4.3.2 closing", Failed, True, "smtp 421 4.3.2: closing"),
        ("RCPT", "530 5.7.0 log in first", Failed, True, "smtp 530 5.7.0: log in first"),
        ("MAIL", "550 5.7.1 who are you", Failed, True, "smtp 550 5.7.1 (sender): who are you"),
        ("GREETING", "554 not you", Failed, True, "smtp 554 (connection): not you"),
        ("GREETING", "421 4.7.0 busy", Failed, True, "smtp 421 4.7.0 (connection): busy"),
    ],
)
async def test_a_refusal_of_the_message_is_final_and_any_other_is_not(
    sink: MailSink, step: str, reply: str, error: type[Exception], is_trouble, reason: str
):
    sink.replies[step] = reply
    async with sending_to(sink.port) as provider:
        failed = await failure(provider)

    assert type(failed) is error
    assert str(failed) == failed.reason == reason
    assert getattr(failed, "is_trouble", None) is is_trouble
    assert sink.mails == []


@pytest.mark.parametrize("step", ["DATA", "DATA_END"])
async def test_a_line_that_drops_in_the_middle_of_the_message_leaves_open_whether_it_was_taken(
    sink: MailSink, step: str
):
    sink.replies[step] = DROP
    async with sending_to(sink.port) as provider:
        failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert failed.reason == "smtp (data): the connection broke; the server may have taken the message"


@pytest.mark.parametrize(("step", "where"), [("EHLO", "greeting"), ("RCPT", "recipient"), ("DATA_END", "data")])
async def test_a_server_that_hangs_is_left_when_the_time_is_over(sink: MailSink, step: str, where: str):
    sink.replies[step] = HANG
    async with sending_to(sink.port, seconds=0.3) as provider:
        failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert failed.reason.startswith(f"smtp ({where}): no answer within 0.3 s")


async def test_nobody_listens():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with sending_to(port) as provider:
        failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert "no connection" in failed.reason


async def test_what_answers_speaks_no_smtp():
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, sending_to(server.sockets[0].getsockname()[1]) as provider:
        failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.reason == "smtp (connection): what answers there does not speak SMTP"


async def test_many_e_mails_share_a_few_connections(sink: MailSink):
    async with sending_to(sink.port) as provider:
        await asyncio.gather(*(provider.send("local", email(f"msg-{number}")) for number in range(60)))
        await provider.send("local", email("last"))

    assert len({mail.message["Message-ID"] for mail in sink.mails}) == 61
    assert sink.connections <= CONNECTIONS


async def test_after_a_refused_recipient_the_next_e_mail_goes_over_the_same_connection(sink: MailSink):
    sink.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if recipient.startswith("nobody") else None
    async with sending_to(sink.port) as provider:
        await failure(provider, email("msg-1", "nobody@example.com"))
        await provider.send("local", email("msg-2"))

    assert [mail.recipient for mail in sink.mails] == ["ada@example.com"]
    assert sink.connections == 1


async def test_a_connection_that_died_while_it_was_idle_is_replaced_without_a_failure(sink: MailSink):
    async with sending_to(sink.port) as provider:
        await provider.send("local", email("msg-1"))
        sink.replies["RSET"] = DROP
        await provider.send("local", email("msg-2"))

    assert len(sink.mails) == 2
    assert sink.connections == 2


async def test_idle_connections_are_closed(sink: MailSink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smtp_connections, "IDLE_SECONDS", 0)
    async with sending_to(sink.port) as provider:
        await provider.send("local", email("msg-1"))
        await asyncio.wait_for(sink.all_closed(), 5)
        await provider.send("local", email("msg-2"))

    assert sink.connections == 2


async def test_hundreds_of_failures_leave_no_connection_open(sink: MailSink):
    sink.replies["DATA_END"] = "451 4.3.0 try later"
    async with sending_to(sink.port) as provider:
        results = await asyncio.gather(
            *(provider.send("local", email(f"msg-{number}")) for number in range(200)), return_exceptions=True
        )
        assert sink.open <= CONNECTIONS
    await asyncio.wait_for(sink.all_closed(), 5)

    assert {type(result) for result in results} == {Failed}


async def test_who_gets_no_turn_because_others_hang_was_not_tried(sink: MailSink):
    sink.replies["RCPT"] = HANG
    async with sending_to(sink.port, seconds=0.3, connections=1) as provider:
        first, second = await asyncio.gather(
            provider.send("local", email("msg-1")), provider.send("local", email("msg-2")), return_exceptions=True
        )

    assert isinstance(first, Failed)
    assert isinstance(second, Away)


async def test_user_and_password_are_sent():
    with MailSink(users={"clinic": "secret"}) as sink:
        async with sending_to(sink.port, user="clinic", password="secret") as provider:
            await provider.send("local", email())

    assert sink.mails[0].user == "clinic"


async def test_a_wrong_password_is_the_fault_of_no_message():
    with MailSink(users={"clinic": "secret"}) as sink:
        async with sending_to(sink.port, user="clinic", password="wrong-one") as provider:
            failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert failed.reason.startswith("smtp 535 5.7.8 (auth)")
    assert "wrong-one" not in failed.reason


async def test_a_password_does_not_go_over_a_line_that_others_can_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(smtp_connections, "_is_private", lambda connection: False)  # 127.0.0.1 always is
    with MailSink(users={"clinic": "secret"}) as sink:
        async with sending_to(sink.port, user="clinic", password="secret") as provider:
            failed = await failure(provider)

    assert "offers no TLS" in failed.reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its own certificate for localhost, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    ("tls", "is_at_once"), [("auto", False), ("starttls", False), ("on", True)], ids=["auto", "starttls", "on"]
)
async def test_tls_protects_password_and_message(certificate: Path, tls: str, is_at_once):
    with MailSink(tls=server_tls(certificate), is_tls_at_once=is_at_once, users={"clinic": "secret"}) as sink:
        settings = {"host": "localhost", "trusts": certificate, "tls": tls, "user": "clinic", "password": "secret"}
        async with sending_to(sink.port, **settings) as provider:
            await provider.send("local", email())

    assert (sink.mails[0].is_tls, sink.mails[0].user) == (True, "clinic")


async def test_a_certificate_that_nobody_vouches_for_is_trouble(certificate: Path):
    with MailSink(tls=server_tls(certificate)) as sink:
        async with sending_to(sink.port, host="localhost") as provider:
            failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.is_trouble
    assert "(tls): the server's certificate is not trusted" in failed.reason


async def test_a_server_without_starttls_gets_nothing_when_tls_is_asked_for(sink: MailSink):
    async with sending_to(sink.port, tls="starttls") as provider:
        failed = await failure(provider)

    assert isinstance(failed, Failed)
    assert failed.reason.startswith("smtp (tls):")
    assert sink.tried == 0
