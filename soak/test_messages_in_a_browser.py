"""The page of messages in a real browser: review, search, what becomes of a message, redrive; and how all of it looks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.apps.sinks import MailSink
from tests.support import Server

from soak.chromium import Chromium

STATUS = "document.querySelector('#status')?.innerText"
REASON = "document.querySelector('#review input[name=reason]')"
STEPS = "document.querySelectorAll('.timeline li').length"
SIZES = ((1280, 900), (390, 800))
LONG = "somebody.with-a-very-long-name.who.goes.on-and-on@mail.departments.of-a-large-organisation.example.com"
PAGES = {
    "list": "",
    "search": "?q=ada",
    "nothing": "?q=nobody",
    "failures": "/failures",
    "draft": "/draft-9",
    "scheduled": "/later",
    "sent": "/long",
    "failed": "/gone-9",
    "export": "/export-456",
}


@pytest.fixture(scope="module")
def sink() -> Iterator[MailSink]:
    with MailSink() as running:
        running.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if recipient.startswith("gone") else None
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink: MailSink) -> Iterator[Server]:
    environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "SMTP_TLS": "off"}
    with Server(tmp_path_factory.mktemp("data"), environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def log_in(chromium: Chromium, server: Server, role: str) -> None:
    """Log in with a new key, in the place of whoever was."""
    secret = server.call("POST", "/api/keys", {"role": role}).json["secret"]
    chromium.open(f"{server.url}/dashboard")
    if chromium.value("document.querySelector('.who button') !== null"):
        chromium.value("document.querySelector('.who').requestSubmit()")
    chromium.until("document.querySelector('input[name=key]') !== null")
    chromium.value(f"document.querySelector('input[name=key]').value = '{secret}'")
    chromium.value("document.querySelector('input[name=key]').form.requestSubmit()")
    chromium.until("document.querySelector('.who button') !== null")
    chromium.complaints.clear()  # of a form with a password and no name


def mail(message_id: str, **more: object) -> dict[str, Any]:
    return {"messageId": message_id, "recipient": "ada@example.com", "subject": "Appointment Reminder",
            "content": "Dear Ada,\n\ntomorrow at 2 PM.\n\nThe practice", "priority": "high", **more}  # fmt: skip


def drafted(server: Server, message_id: str, **more: object) -> None:
    assert server.call("POST", "/api/messages", mail(message_id, **more)).status == 201


def queued(server: Server, *jobs: dict[str, Any]) -> None:
    assert server.call("POST", "/api/enqueue-job", [{"type": "email_send", **job} for job in jobs]).status == 202


def press(chromium: Chromium, act: str) -> None:
    chromium.value(f"document.querySelector('button[value={act}]').click()")


def test_a_reviewer_approves_a_draft_and_sees_it_go(server: Server, chromium: Chromium, sink: MailSink) -> None:
    drafted(server, "draft-1", recipient="grace@example.com")
    log_in(chromium, server, "reviewer")
    chromium.until(
        "document.querySelector('#m-draft-1 a')?.click() === undefined && location.pathname.endsWith('draft-1')"
    )
    before = chromium.until(STATUS)

    press(chromium, "approve")

    assert before == "draft"
    assert "Approved" in chromium.until("document.querySelector('.said')?.innerText")
    assert chromium.until(f"{STATUS} === 'sent'")
    assert [taken.recipient for taken in sink.mails] == ["grace@example.com"]
    assert chromium.complaints == []


def test_what_a_reviewer_types_stays_while_the_page_follows(server: Server, chromium: Chromium) -> None:
    drafted(server, "draft-2")
    log_in(chromium, server, "reviewer")
    chromium.open(f"{server.url}/dashboard/messages/draft-2")
    chromium.value(f"{REASON}.value = 'not like'; {REASON}.focus()")

    server.call("POST", "/api/messages/draft-2/reschedule", {"sendAt": "2036-01-01T00:00:00Z"})
    chromium.until(f"{STEPS} === 2")
    chromium.value(f"{REASON}.value += ' this'")
    press(chromium, "reject")

    assert chromium.until(f"{STATUS} === 'rejected'")
    assert "not like this" in chromium.value("document.querySelector('.timeline').innerText")


def test_a_search_shows_what_was_looked_for_and_follows_it(server: Server, chromium: Chromium) -> None:
    queued(server, mail("needle-1", subject="Needle", sendAt="2036-01-01T00:00:00Z"), mail("hay-1"))
    log_in(chromium, server, "reviewer")
    chromium.open(f"{server.url}/dashboard/messages")
    chromium.value("(box => { box.value = 'NEEDLE'; box.form.requestSubmit() })(document.querySelector('[name=q]'))")
    chromium.until("location.search.includes('NEEDLE') && document.querySelectorAll('tbody tr').length === 1")

    chromium.value("document.querySelector('[name=q]').value = 'typed'")
    queued(server, mail("needle-2", subject="Another needle", sendAt="2036-01-01T00:00:00Z"))

    assert chromium.until("document.querySelectorAll('tbody tr').length === 2")
    assert chromium.value("document.querySelector('[name=q]').value") == "typed"


def test_an_operator_redrives_what_failed(server: Server, chromium: Chromium) -> None:
    queued(server, mail("gone-1", recipient="gone@example.com"))
    log_in(chromium, server, "operator")
    chromium.open(f"{server.url}/dashboard/messages/gone-1")
    chromium.until(f"{STATUS} === 'failed'")
    steps = chromium.value(STEPS)

    press(chromium, "redrive")

    assert "in the queue again" in chromium.until("document.querySelector('.said')?.innerText")
    assert chromium.until(f"{STATUS} === 'failed' && {STEPS} > {steps} + 1")


def test_no_page_is_wider_than_its_window(server: Server, chromium: Chromium, tmp_path: Path) -> None:
    """Leave pictures of all pages, in both schemes and sizes, for people to look at."""
    drafted(server, "draft-9", content="The letter goes on. " * 40)
    queued(server, mail("later", sendAt="2036-01-01T00:00:00Z"), mail("long", recipient=LONG, subject="Supercali" * 30),
           mail("gone-9", recipient="gone@example.com"), mail("tag", subject="<script>alert(1)</script>"),
           {"type": "export_generation", "exportId": "export-456", "filters": {}, "userId": "user-789",
            "format": "csv", "priority": "high"})  # fmt: skip
    log_in(chromium, server, "operator")
    chromium.open(f"{server.url}/dashboard/messages/export-456")
    chromium.until(f"{STATUS} === 'done'")

    wider = [
        (name, width)
        for width, height in SIZES
        for scheme in ("light", "dark")
        for name, path in PAGES.items()
        if look_at(chromium, f"{server.url}/dashboard/messages{path}", (width, height), scheme,
                   tmp_path / f"{name}-{scheme}-{width}.png") > 0
    ]  # fmt: skip

    print(f"pictures: {tmp_path}")
    assert wider == []
    assert chromium.complaints == []


def look_at(chromium: Chromium, address: str, size: tuple[int, int], scheme: str, picture: Path) -> int:
    """Take a picture of a page, and give by how much it is wider than its window."""
    chromium.look(width=size[0], height=size[1], scheme=scheme)
    chromium.open(address)
    chromium.screenshot(picture)
    return int(chromium.value("document.documentElement.scrollWidth - innerWidth"))
