"""`millrace queues` for messages with a time, a priority, keys or headers, and for settings of ours."""

import pytest

from tests.cli.commands import run

AT = "2126-12-24T18:00:00+01:00"


def test_what_a_message_is_sent_with_is_peeked(server):
    server.create_queue("asked")
    flags = ["--priority", "high", "--ordering-key", "o", "--dedupe-key", "d", "--header", "A=b=c", "--header", "D="]

    run("queues", "send", "asked", "1", *flags, server=server)
    doubled = run("queues", "send", "asked", "2", "--dedupe-key", "d", "--json", server=server).json

    [message] = run("queues", "peek", "asked", "--json", server=server).json
    assert (message["priority"], message["ordering_key"]) == ("high", "o")
    assert message["headers"] == {"A": "b=c", "D": ""}
    assert doubled["metadata"]["metrics"]["backlog_count"] == 1


def test_a_message_that_asks_for_nothing_is_peeked_as_ever(server):
    server.create_queue("plain")
    run("queues", "send", "plain", "1", "--priority", "medium", server=server)

    [message] = run("queues", "peek", "plain", "--json", server=server).json

    assert not {"priority", "ordering_key", "headers"} & message.keys()


def test_a_scheduled_message_is_moved_and_taken_back(server):
    server.create_queue("planned")

    sent = run("queues", "send", "planned", "1", "--at", AT, "--json", server=server).json
    moved = run("queues", "reschedule", "planned", sent["ref"], "--at", "2127-01-01T00:00:00Z", server=server)
    cancelled = run("queues", "cancel", "planned", sent["ref"], sent["ref"], server=server)
    again = run("queues", "cancel", "planned", sent["ref"], "--json", server=server)

    assert moved.out.endswith("is sent at 2127-01-01T00:00:00+00:00\n")
    assert (cancelled.code, cancelled.out) == (0, "cancelled 1 message\n")
    assert again.code == 1
    assert "not scheduled" in again.error
    assert '"cancelled": 0' in again.out


def test_the_sentence_about_a_scheduled_message_says_how_to_take_it_back(server):
    server.create_queue("told")

    said = run("queues", "send", "told", "1", "--at", AT, server=server).out

    assert run(*said.partition("take it back: millrace ")[2].split(), server=server).out == "cancelled 1 message\n"


def test_a_chosen_message_is_discarded(server):
    server.create_queue("weeded")
    for number in range(2):
        run("queues", "send", "weeded", str(number), server=server)
    first, second = run("queues", "peek", "weeded", "--json", server=server).json

    discarded = run("queues", "discard", "weeded", first["ref"], server=server)

    assert discarded.out == "discarded 1 message\n"
    assert run("queues", "discard", "weeded", first["ref"], server=server).code == 1
    assert run("queues", "peek", "weeded", "--json", server=server).json == [second]


def test_settings_are_set_shown_and_taken_back(server):
    server.create_queue("settled")
    flags = ["--deduplication-seconds", "60", "--deduplicate-content", "on", "--forward-to", "a", "--forward-to", "b"]
    more = ["--forward-only", "on", "--auto-redrive-after", "60", "--auto-redrive-times", "3", "--delay-seconds", "5"]
    none = ["--no-forwards", "--no-auto-redrive", "--forward-only", "off", "--deduplicate-content", "off"]

    changed = run("queues", "set", "settled", *flags, *more, "--json", server=server).json["settings"]
    shown = run("queues", "info", "settled", server=server).out.splitlines()
    undone = run("queues", "set", "settled", *none, "--json", server=server).json["settings"]

    assert (changed["delivery_delay"], changed["deduplication_seconds"], changed["deduplicate_content"]) == (
        5,
        60,
        True,
    )
    assert (changed["forwards"], changed["forward_only"]) == ([{"queue": "a"}, {"queue": "b"}], True)
    assert changed["auto_redrive"] == {"after_seconds": 60, "max_times": 3}
    assert ["forwards", '[{"queue":"a"},{"queue":"b"}]'] in [line.split() for line in shown]
    assert ["deduplicate", "content", "on"] in [line.split() for line in shown]
    assert not {"forwards", "forward_only", "auto_redrive", "deduplicate_content"} & undone.keys()


def test_chosen_dead_letters_are_moved_back(server):
    consumer = {"type": "http_pull", "dead_letter_queue": "picked-dlq", "settings": {"max_retries": 0}}
    queue = server.create_queue("picked", consumer=consumer)
    for reason in ("one", "two"):
        run("queues", "send", "picked", "1", server=server)
        [message] = server.v4("POST", f"/queues/{queue}/messages/pull").result["messages"]
        rejects = [{"lease_id": message["lease_id"], "reason": reason}]
        server.v4("POST", f"/queues/{queue}/messages/ack", {"rejects": rejects})
    flags = ["--reason", "two", "--origin", "picked", "--sent-after", "2020-01-01T00:00:00Z", "--limit", "5"]

    shown = run("queues", "peek", "picked-dlq", server=server)
    chosen = run("queues", "redrive", "picked-dlq", *flags, "--per-second", "0.5", server=server)
    by_id = run("queues", "redrive", "picked-dlq", "--id", "0" * 32, "--sent-before", AT, server=server)

    assert [line.split()[1:] for line in shown.out.splitlines()] == [
        ["attempts", "type", "reason", "body"],
        ["0", "json", "one", "1"],
        ["0", "json", "two", "1"],
    ]
    assert chosen.out == "moved 1 message back\n"
    assert by_id.out == "moved 0 messages back\n"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["send", "q", "1", "--at", "tomorrow"], "--at is 'tomorrow'; expected a time with its offset"),
        (["send", "q", "1", "--at", "2126-12-24T18:00:00"], "with its offset"),
        (["send", "q", "1", "--at", AT, "--delay", "5"], "give one of them"),
        (["send", "q", "1", "--priority", "urgent"], "invalid choice: 'urgent'"),
        (["send", "q", "1", "--header", "name"], "--header is 'name'; expected NAME=VALUE"),
        (["reschedule", "q", "ref"], "--at"),
        (["redrive", "q", "--sent-after", "now"], "--sent-after is 'now'"),
        (["set", "q"], "no setting is given"),
        (["set", "q", "--forward-to", "a", "--no-forwards"], "not allowed with"),
        (["set", "q", "--auto-redrive-times", "2"], "goes with --auto-redrive-after"),
        (["set", "q", "--deduplication-seconds", "0"], "expected a whole number from 1 to 86400"),
    ],
)
def test_a_command_that_is_typed_wrongly_says_what_was_expected(typed, why):
    done = run("queues", *typed, environ={"MILLRACE_URL": "http://127.0.0.1:1"})

    assert done.code == 2
    assert why in done.error
