"""The page of messages over HTTP: what it shows and to whom, what its forms do, and what is refused."""

from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import urlencode, urljoin

import pytest

from millrace.apps.messaging.jobs import TYPES
from millrace.apps.messaging.pages.failures_page import bars_of
from millrace.apps.messaging.pages.words import STATUSES, TYPE_WORDS, segment
from millrace.apps.messaging.rows import Status
from millrace.apps.messaging.shown import SCHEDULED
from tests.apps.sinks import MailSink
from tests.http.browser import OWN, Browser, Page, row_of
from tests.http.wire import a_name, eventually
from tests.support import Reply, Server

PAGE = "/dashboard/messages"
LATER = "2036-12-24T18:00:00Z"
HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with MailSink() as sink:
        sink.replies["RCPT"] = lambda recipient: "550 5.1.1 no such user" if recipient.startswith("gone") else None
        environ = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "SMTP_TLS": "off"}
        with Server(tmp_path_factory.mktemp("page") / "data", environ=environ) as running:
            yield running


@pytest.fixture
def browser(server: Server) -> Browser:
    """A browser in which a reviewer has logged in."""
    return logged_in(server, "reviewer")


def logged_in(server: Server, role: str, **more: object) -> Browser:
    secret = server.call("POST", "/api/keys", {"role": role, **more}).json["secret"]
    browser = Browser(server)
    assert browser.log_in(secret).status == 303
    return browser


def queued(server: Server, **more: object) -> str:
    """Put an e-mail into the queue; give its id."""
    job = {"type": "email_send", "messageId": a_name("message"), "recipient": "ada@example.com", "subject": "Reminder",
           "content": "Tomorrow at two.", "priority": "high", **more}  # fmt: skip
    assert server.call("POST", "/api/enqueue-job", job).status == 202
    return str(job["messageId"])


def drafted(server: Server, **more: object) -> str:
    """Write a draft; give its id."""
    body = {
        "messageId": a_name("draft"),
        "recipient": "ada@example.com",
        "subject": "Hello",
        "content": "Text",
        "priority": "high",
        **more,
    }
    assert server.call("POST", "/api/messages", body).status == 201
    return str(body["messageId"])


def message(server: Server, message_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = server.call("GET", f"/api/messages/{segment(message_id)}").json
    return shown


def until(server: Server, message_id: str, status: str) -> None:
    eventually(lambda: message(server, message_id)["status"] == status, 10)


def submitted(browser: Browser, message_id: str, act: str, **fields: str) -> Reply:
    """Press a button on the page of a message."""
    path = f"{PAGE}/{segment(message_id)}"
    return browser.submit(path, path, act=act, **fields)


def buttons(reply: Reply) -> list[str]:
    """Give what the buttons of a page do with the message."""
    return [
        attributes["value"] or ""
        for tag, attributes in Page(reply).tags
        if tag == "button" and attributes.get("name") == "act"
    ]


def rows(reply: Reply) -> list[str]:
    return [attributes["id"] or "" for tag, attributes in Page(reply).tags if tag == "tr" and "id" in attributes]


def test_a_reviewer_sees_this_page_alone_and_lands_on_it(browser: Browser) -> None:
    landed = browser.get("/dashboard")

    menu = [
        attributes["href"] for tag, attributes in Page(landed).tags if tag == "a" and "brand" not in attributes.values()
    ]
    assert "Messages" in Page(landed).text
    assert [browser.get(f"/dashboard/{name}").status for name in ("queues", "dead-letters", "audit")] == [403] * 3
    assert "../dashboard/queues" not in menu


@pytest.mark.parametrize(("role", "more"), [("producer", {}), ("author", {}), ("reviewer", {"queues": ["orders"]})])
def test_others_do_not_get_in(server: Server, role: str, more: dict[str, object]) -> None:
    secret = server.call("POST", "/api/keys", {"role": role, **more}).json["secret"]

    assert Browser(server).log_in(secret).status == 403
    assert server.call("GET", PAGE, key=secret).status == 403


def test_a_line_tells_of_a_message(server: Server, browser: Browser) -> None:
    message_id = queued(server, subject="Twelve o'clock")
    until(server, message_id, "sent")

    line = row_of(browser.get(PAGE), f"m-{message_id}")

    assert all(word in line for word in ("ada@example.com", "Twelve o'clock", "e-mail", "sent", "ago"))


def test_what_people_write_is_text_on_the_page(server: Server, browser: Browser) -> None:
    message_id = drafted(server, subject=HOSTILE, content=HOSTILE)

    pages = [
        browser.get(path)
        for path in (f"{PAGE}?q=script", f"{PAGE}/{message_id}", f"{PAGE}?{urlencode({'q': HOSTILE})}")
    ]

    for reply in pages:
        assert b"<script>alert" not in reply.body
        assert HOSTILE in Page(reply).text


def test_the_list_is_filtered_by_status_type_and_text(server: Server, browser: Browser) -> None:
    word = a_name("word")
    later = queued(server, subject=f"{word} later", sendAt=LATER)
    draft = drafted(server, subject=f"{word} draft")
    text = drafted(server, type="sms_send", messageId=f"{word}-sms", recipient="+15005550006", subject=None)

    found = [
        rows(browser.get(f"{PAGE}?{urlencode({'q': word, **more})}"))
        for more in ({}, {"status": "scheduled"}, {"status": "draft", "type": "email_send"}, {"type": "sms_send"})
    ]

    assert found == [[f"m-{text}", f"m-{draft}", f"m-{later}"], [f"m-{later}"], [f"m-{draft}"], [f"m-{text}"]]


def test_older_messages_stand_on_the_next_page(server: Server, browser: Browser) -> None:
    word = a_name("many")
    ids = [queued(server, subject=word, sendAt=LATER) for _ in range(27)]
    first = browser.get(f"{PAGE}?q={word}")
    older = next(href for href in Page(first).values("a", "href") if "before=" in href)

    second = browser.get(urljoin(f"{PAGE}?q={word}", older))

    assert rows(first) + rows(second) == [f"m-{one}" for one in reversed(ids)]
    assert 'hx-get="?' in second.body.decode()


def test_a_filter_that_is_none_is_refused_in_words(browser: Browser) -> None:
    reply = browser.get(f"{PAGE}?status=lost")

    assert reply.status == 400
    assert "status is 'lost'" in Page(reply).text


def test_the_page_of_a_message_shows_what_it_holds_and_what_became_of_it(server: Server, browser: Browser) -> None:
    message_id = queued(server, content="Two lines,\nas they were typed.")
    until(server, message_id, "sent")

    reply = browser.get(f"{PAGE}/{message_id}")

    words = ("Reminder", "e-mail to ada@example.com", "Two lines, as they were typed.", "attempt 1 · smtp · by system")
    assert all(word in Page(reply).text for word in words)
    assert buttons(reply) == []


@pytest.mark.parametrize("message_id", ["failures", "a/b?c#d", "ü%41 &<"])
def test_any_id_has_a_page(server: Server, browser: Browser, message_id: str) -> None:
    drafted(server, messageId=message_id, subject=f"Of {message_id}")
    [href] = [one for one in Page(browser.get(PAGE)).values("a", "href") if one.endswith(f"/{segment(message_id)}")]

    reply = browser.get(urljoin(PAGE, href))

    assert f"Of {message_id}" in Page(reply).text
    assert submitted(browser, message_id, "reject").status == 303


def test_a_message_that_is_not_there_is_told_in_words(browser: Browser) -> None:
    reply = browser.get(f"{PAGE}/nowhere")

    assert reply.status == 404
    assert "message 'nowhere' does not exist" in Page(reply).text


def test_a_reviewer_approves_a_draft(server: Server, browser: Browser) -> None:
    draft = drafted(server)

    reply = submitted(browser, draft, "approve")

    assert "Approved" in Page(browser.follow(f"{PAGE}/{draft}", reply)).text
    until(server, draft, "sent")
    [entry] = [one for one in server.call("GET", "/api/audit?limit=50").json["entries"]
               if (one["act"], one["object"]) == ("message.approved", f"message {draft}")]  # fmt: skip
    assert f"by {entry['actor']}" in Page(browser.get(f"{PAGE}/{draft}")).text


def test_a_reviewer_rejects_a_draft_with_a_reason(server: Server, browser: Browser) -> None:
    draft = drafted(server)

    reply = submitted(browser, draft, "reject", reason="not in this tone")

    page = Page(browser.follow(f"{PAGE}/{draft}", reply))
    assert "Rejected" in page.text
    assert "not in this tone" in page.text
    assert message(server, draft)["status"] == "rejected"


def test_a_scheduled_message_is_moved_and_cancelled(server: Server, browser: Browser) -> None:
    later = queued(server, sendAt=LATER)

    moved = submitted(browser, later, "reschedule", send_at="2036-12-31T23:30")
    was_due = message(server, later)["scheduledFor"]
    cancelled = submitted(browser, later, "cancel")

    assert (moved.status, cancelled.status) == (303, 303)
    assert was_due == "2036-12-31T23:30:00.000Z"
    assert message(server, later)["status"] == "cancelled"


def test_a_time_that_is_none_is_told_on_the_page(server: Server, browser: Browser) -> None:
    later = queued(server, sendAt=LATER)

    reply = submitted(browser, later, "reschedule", send_at="tomorrow")

    assert reply.status == 400
    assert "sendAt is 'tomorrow" in Page(reply).text


def test_a_conflict_is_told_in_plain_words(server: Server, browser: Browser) -> None:
    draft = drafted(server)
    path = f"{PAGE}/{draft}"
    seen = browser.get(path)
    server.call("POST", f"/api/messages/{draft}/reject", {})

    reply = browser.post(path, act="approve", token=Page(seen).values("input", "value")[0])

    assert reply.status == 409
    assert f"message '{draft}' is rejected; only a draft can be approved or rejected" in Page(reply).text


@pytest.mark.parametrize("token", [{}, {"token": "guessed"}])
def test_a_form_without_the_token_of_the_session_is_refused(
    server: Server, browser: Browser, token: dict[str, str]
) -> None:
    draft = drafted(server)

    reply = browser.post(f"{PAGE}/{draft}", OWN, act="approve", **token)

    assert reply.status == 403
    assert message(server, draft)["status"] == "draft"


def test_an_act_that_is_none_is_refused(server: Server, browser: Browser) -> None:
    draft = drafted(server)

    assert submitted(browser, draft, "explode").status == 400


def test_an_operator_redrives_what_failed(server: Server, browser: Browser) -> None:
    gone = queued(server, recipient="gone@example.com")
    until(server, gone, "failed")
    operator = logged_in(server, "operator")
    offered = buttons(browser.get(f"{PAGE}/{gone}")), buttons(operator.get(f"{PAGE}/{gone}"))

    reply = submitted(operator, gone, "redrive")

    assert offered == ([], ["redrive"])
    assert "in the queue again" in Page(operator.follow(f"{PAGE}/{gone}", reply)).text
    eventually(lambda: message(server, gone)["attempts"] > 1, 10)


def test_an_export_shows_its_file_to_those_who_may_have_it(server: Server, browser: Browser) -> None:
    export = a_name("export")
    job = {"type": "export_generation", "exportId": export, "filters": {}, "userId": "ada", "format": "csv"}
    server.call("POST", "/api/enqueue-job", {**job, "priority": "high"})
    until(server, export, "done")
    owner = Browser(server)
    owner.log_in()

    shown, hidden = owner.get(f"{PAGE}/{export}"), browser.get(f"{PAGE}/{export}")

    [address] = [href for href in Page(shown).values("a", "href") if "signature=" in href]
    file = server.call("GET", urljoin(f"{PAGE}/{export}", address), key=None)
    assert (file.status, file.body[:9]) == (200, b"messageId")
    assert "Download" not in Page(hidden).text
    assert "messages as csv" in Page(hidden).text


def test_a_clean_up_shows_what_it_did(server: Server, browser: Browser) -> None:
    job = {"type": "cleanup", "target": "temp_files", "olderThan": "2026-01-01", "priority": "high"}
    job_id = server.call("POST", "/api/enqueue-job", job).json["jobId"]
    until(server, job_id, "done")

    text = Page(browser.get(f"{PAGE}/{job_id}")).text

    assert all(word in text for word in ("Clean-up of temp_files", "2026-01-01", "0 removed"))


def test_failures_are_grouped_and_lead_to_their_messages(server: Server, browser: Browser) -> None:
    gone = queued(server, recipient=f"{a_name('gone')}@example.com")
    until(server, gone, "failed")

    failures = browser.get(f"{PAGE}/failures")

    [href] = [one for one in Page(failures).values("a", "href") if "reason=" in one]
    listed = browser.get(urljoin(f"{PAGE}/failures", href))
    assert f"m-{gone}" in rows(listed)
    assert "smtp 550 5.1.1: no such user" in Page(listed).text


def test_bars_count_what_falls_into_them_and_the_highest_is_full() -> None:
    bars = bars_of([0, 1, 0, 0, 5, 200], 2)

    assert [(bar.x, bar.height, bar.count) for bar in bars] == [(0, 2, 1), (4, 0, 0), (8, 24, 205)]


def test_the_form_offers_all_statuses_and_types() -> None:
    assert set(STATUSES) == {*get_args(Status), SCHEDULED}
    assert set(TYPE_WORDS) == set(TYPES)
