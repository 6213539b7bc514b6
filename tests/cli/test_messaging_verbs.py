"""`millrace messaging …` asks the routes as it is told, and shows what they answer; the server is a stand-in."""

import json
import re
from typing import Any, NamedTuple

import pytest
from werkzeug import Response

from tests.cli.commands import run

ANY = re.compile("")
MESSAGE = {
    "messageId": "m/1",
    "jobId": "job-1",
    "type": "email_send",
    "status": "sent",
    "priority": "high",
    "recipient": "ada@example.com",
    "subject": "Dear\x1b[2J",
    "content": "two\nlines\x1b[2J",
    "attempts": 1,
    "createdAt": "2026-11-22T17:00:00.000Z",
    "updatedAt": "2026-11-22T17:00:01.000Z",
    "scheduledFor": None,
    "reason": None,
    "provider": "smtp",
    "providerId": None,
}
CHANGE = {"at": "2026-11-22T17:00:01.000Z", "status": "sent", "attempt": 1, "reason": None, "actor": "key-1"}
CHANGE["provider"] = "smtp"
ARCHIVE = {"archiveId": "archive-1", "target": "audit_logs", "rows": 5, "bytes": 90, "restoredAt": None}
ARCHIVE |= {"olderThan": "2026-01-01T00:00:00.000Z", "createdAt": "2026-11-22T17:00:00.000Z", "sha256": "ab"}
EXPORT = {"exportId": "e", "status": "done", "format": "csv", "rows": 2, "bytes": None, "expiresAt": None}
EXPORT |= {"progress": {"rows": 4, "total": 4, "percentage": 100}, "createdAt": "2026-11-22T17:00:00.000Z"}
GROUP = {"type": "email_send", "reason": "smtp 550", "count": 2, "first": "f", "last": "l", "trend": [0, 2]}


class Case(NamedTuple):
    """What is typed, what is asked, what is answered, and what is seen then."""

    typed: str
    asked: str
    body: dict[str, Any] | None
    answer: Any
    seen: str


WRITTEN = {"type": "email_send", "messageId": "m", "recipient": "a@b.de", "content": "hi", "priority": "normal"}
JOB = {"success": True, "jobId": "job-1", "type": "cleanup", "status": "queued", "scheduledFor": None}
CASES = [
    Case(
        "send a@b.de --content hi --id m --subject S --at 2026-12-24T18:00:00+01:00",
        "POST /api/messages",
        {**WRITTEN, "direct": True, "subject": "S", "sendAt": "2026-12-24T17:00:00.000Z"},
        {"messageId": "m", "status": "queued", "jobId": "job-1"},
        "m is queued\n",
    ),
    Case(
        "draft +15005550006 --content-file - --id m --priority high",
        "POST /api/messages",
        {**WRITTEN, "type": "sms_send", "recipient": "+15005550006", "content": "stdin ä\n", "priority": "high"}
        | {"direct": False},
        {"messageId": "m", "status": "draft"},
        "m waits for a reviewer\n",
    ),
    Case("approve m/1", "POST /api/messages/m/1/approve", {}, {}, "m/1 is approved\n"),
    Case("reject m --reason no", "POST /api/messages/m/reject", {"reason": "no"}, {}, "m is rejected\n"),
    Case("cancel m", "POST /api/messages/m/cancel", {}, {}, "m is cancelled\n"),
    Case("redrive m", "POST /api/messages/m/redrive", {}, {}, "m is queued again\n"),
    Case(
        "reschedule m --at 2026-12-24T18:00:00Z",
        "POST /api/messages/m/reschedule",
        {"sendAt": "2026-12-24T18:00:00.000Z"},
        {},
        "m is to be sent at 2026-12-24T18:00:00.000Z\n",
    ),
    Case(
        "list --status failed --search ada --limit 5 --before c",
        "GET /api/messages?limit=5&status=failed&q=ada&before=c",
        None,
        {"messages": [MESSAGE], "next": "d"},
        "more with --before d\n",
    ),
    Case("list", "GET /api/messages?limit=50", None, {"messages": [], "next": None}, "no messages\n"),
    Case("show m", "GET /api/messages/m", None, MESSAGE, "\n\ntwo\nlines\\x1b[2J\n"),
    Case(
        "history m",
        "GET /api/messages/m/history",
        None,
        {"messageId": "m", "history": [CHANGE]},
        "2026-11-22T17:00:01.000Z  sent    1        key-1  smtp\n",
    ),
    Case(
        "failures --hours 1",
        "GET /api/messaging/failures?hours=1",
        None,
        {"hours": 1, "failed": 2, "ended": 8, "failureRate": 0.25, "groups": [GROUP]},
        "2 of 8 jobs failed in 1 hour: 25.0%\n",
    ),
    Case(
        "export --id e --format parquet --start-date 2026-01-01 --notify a@b.de",
        "POST /api/enqueue-job",
        {
            "type": "export_generation",
            "exportId": "e",
            "filters": {"startDate": "2026-01-01"},
            "userId": "command",
            "format": "parquet",
            "notifyEmail": "a@b.de",
        },
        JOB,
        "e\n",
    ),
    Case("exports", "GET /api/exports", None, {"exports": []}, "no exports\n"),
    Case("exports", "GET /api/exports", None, {"exports": [EXPORT]}, "e   done    csv     100%      2     -      2026"),
    Case("exports e", "GET /api/exports/e", None, EXPORT, "exportId: e\nstatus: done\n"),
    Case(
        "cleanup temp_files --older-than 2026-01-01",
        "POST /api/enqueue-job",
        {"type": "cleanup", "target": "temp_files", "olderThan": "2026-01-01"},
        JOB,
        "job-1 is queued\n",
    ),
    Case("archives", "GET /api/archives", None, {"archives": [ARCHIVE]}, "archive-1  audit_logs  5     90     2026-01"),
    Case(
        "restore archive-1",
        "POST /api/archives/archive-1/restore",
        None,
        {"archiveId": "archive-1", "rows": 5, "restored": 4},
        "restored 4 of 5 rows\n",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.typed)
def test_a_command_asks_its_route_and_shows_the_answer(httpserver, case):
    asked = []

    def answer(request):
        asked.append((f"{request.method} {request.full_path.rstrip('?')}", request.get_data()))
        return Response(json.dumps(case.answer))

    httpserver.expect_request(ANY).respond_with_handler(answer)

    done = run(*_typed(case, httpserver), stdin="stdin ä\n".encode())
    as_json = run(*_typed(case, httpserver), "--json", stdin="stdin ä\n".encode())

    (route, body), _ = asked
    assert (done.code, route) == (0, case.asked), done
    assert (json.loads(body) if body else None) == case.body
    assert case.seen in done.out
    assert case.answer.items() <= as_json.json.items()


def _typed(case, httpserver):
    return ["messaging", *case.typed.split(), "--url", httpserver.url_for("/"), "--token", "key"]


@pytest.mark.parametrize(("flags", "shown"), [([], ["sent"]), (["--follow"], ["sent", "delivered"])])
def test_what_becomes_of_a_message_is_shown_until_it_has_ended(httpserver, flags, shown):
    """S1-44."""
    changes = [CHANGE, {**CHANGE, "status": "delivered"}]
    stream = ": a comment\n\n" + "".join(f"event: line\ndata: {json.dumps(change)}\n\n" for change in changes)
    httpserver.expect_request("/api/messages/m/events").respond_with_data(stream, content_type="text/event-stream")

    done = run("messaging", "watch", "m", *flags, "--url", httpserver.url_for("/"), "--token", "key")

    rows = [f"2026-11-22T17:00:01.000Z  {status}  1  key-1  smtp" for status in shown]
    assert (done.code, done.out.splitlines()) == (0, rows)


def test_the_file_of_an_export_is_written_whole_or_not_at_all(httpserver, tmp_path):
    """S1-34."""
    file = tmp_path / "export.csv"
    file.write_text("before")
    httpserver.expect_request("/api/exports/e/download").respond_with_data(b"a,b\n" * 50_000)
    refused = {"error": {"code": "FORBIDDEN", "message": "it is another's"}}
    httpserver.expect_request("/api/exports/other/download").respond_with_json(refused, 403)
    where = ("--url", httpserver.url_for("/"), "--token", "key", "--output", file)

    other = run("messaging", "exports", "other", *where)
    before = file.read_text()
    done = run("messaging", "exports", "e", *where)

    assert (other.code, before) == (3, "before")
    assert (done.out, file.stat().st_size) == (f"{file}: 200000 bytes\n", 200_000)
    assert list(tmp_path.iterdir()) == [file]


USED_WRONGLY = [
    ("send a@b.de", "--content"),
    ("send a@b.de --content x --content-file y", "not allowed with"),
    ("send a@b.de --content x --at tomorrow", "expected a time with its offset"),
    ("reschedule m", "--at"),
    ("exports --output f", "give its ID"),
    ("cleanup everything --older-than 2026-01-01", "audit_logs"),
]


@pytest.mark.parametrize(("typed", "sentence"), USED_WRONGLY)
def test_wrong_use_exits_with_2_and_says_what_is_allowed(typed, sentence):
    done = run("messaging", *typed.split())

    assert (done.code, done.out) == (2, "")
    assert sentence in done.error


def test_a_file_that_cannot_be_read_is_named():
    done = run("messaging", "send", "a@b.de", "--content-file", "/no/such/file")

    assert done.code == 1
    assert "--content-file /no/such/file cannot be read" in done.error
