"""`millrace messaging …` against a real server: a draft on its way to its reader."""

import time

import pytest

from tests.cli.commands import run


@pytest.fixture(scope="module")
def keys(server):
    """Keys of those who write and of those who review."""
    return {
        role: {"MILLRACE_URL": server.url, "MILLRACE_TOKEN": run("keys", "create", "--role", role, server=server).out}
        for role in ("author", "reviewer")
    }


def test_a_draft_is_approved_sent_and_followed(server, keys):
    """S1-41, S1-44."""
    write = ("messaging", "draft", "ada@example.com", "--subject", "Hello", "--content", "Dear Ada", "--id", "story")
    drafted = run(*write, "--priority", "high", environ=keys["author"])
    refused = run("messaging", "approve", "story", environ=keys["author"])
    approved = run("messaging", "approve", "story", environ=keys["reviewer"])
    status = _ended(server, "story")
    history = run("messaging", "history", "story", "--json", server=server).json["history"]

    assert drafted.out == "story waits for a reviewer\n"
    assert refused.code == 3
    assert (approved.code, approved.out) == (0, "story is approved\n")
    assert status == "stored"
    assert [change["status"] for change in history] == ["draft", "queued", "processing", "stored"]


def test_a_rejected_draft_is_never_sent(server, keys):
    """S1-41."""
    run("messaging", "draft", "+15005550006", "--content", "Hi", "--id", "no", environ=keys["author"])

    run("messaging", "reject", "no", "--reason", "too short", environ=keys["reviewer"])

    shown = run("messaging", "show", "no", "--json", server=server).json
    assert (shown["status"], shown["reason"]) == ("rejected", "too short")
    assert run("messaging", "approve", "no", environ=keys["reviewer"]).code == 1


def test_a_message_that_is_sent_later_is_moved_and_taken_back(server):
    """S1-42, S1-43."""
    run(
        "messaging",
        "send",
        "a@b.de",
        "--subject",
        "S",
        "--content",
        "x",
        "--id",
        "later",
        "--at",
        "2126-01-01T00:00:00Z",
        server=server,
    )
    moved = run("messaging", "reschedule", "later", "--at", "2127-01-01T00:00:00Z", server=server)
    scheduled = run("messaging", "show", "later", "--json", server=server).json
    cancelled = run("messaging", "cancel", "later", server=server)
    listed = run("messaging", "list", "--status", "cancelled", "--json", server=server).json

    assert (moved.code, cancelled.code) == (0, 0), (moved, cancelled)
    assert (scheduled["status"], scheduled["scheduledFor"]) == ("scheduled", "2127-01-01T00:00:00.000Z")
    assert [message["messageId"] for message in listed["messages"]] == ["later"]


def test_what_becomes_of_a_message_is_shown_to_its_end(server):
    """S1-44."""
    run(
        "messaging",
        "send",
        "a@b.de",
        "--subject",
        "S",
        "--content",
        "x",
        "--id",
        "seen",
        "--priority",
        "high",
        server=server,
    )

    done = run("messaging", "watch", "seen", server=server)

    assert [line.split()[1] for line in done.out.splitlines()] == ["queued", "processing", "stored"]


def _ended(server, message_id):
    until = time.monotonic() + 10
    while (status := server.call("GET", f"/api/messages/{message_id}").json["status"]) in ("queued", "processing"):
        assert time.monotonic() < until, status
        time.sleep(0.05)
    return status
