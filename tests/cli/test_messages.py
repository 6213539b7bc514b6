"""`millrace queues send|peek|pull|ack`: messages."""

import base64

import pytest

from tests.cli.commands import run

BODIES = [
    ("json", ['{"n": [1, 2.5, null, "ä€"]}'], b"", {"n": [1, 2.5, None, "ä€"]}),
    ("json", ["12345678901234567890123"], b"", 12345678901234567890123),
    ("json", ["-5"], b"", -5),
    ("json", ["-"], b' "from standard input"\n', "from standard input"),
    ("text", ["plain {text", "--text"], b"", "plain {text"),
    ("text", ["--text", "-"], b"two\nlines\n", "two\nlines\n"),
    ("text", ["--text", "--", "--looks-like-a-flag"], b"", "--looks-like-a-flag"),
    ("bytes", ["AAEC/w==", "--bytes"], b"", "AAEC/w=="),
    ("bytes", ["-", "--bytes"], base64.encodebytes(bytes(100)), base64.b64encode(bytes(100)).decode()),
]


@pytest.mark.parametrize(("content_type", "typed", "stdin", "body"), BODIES)
def test_what_is_sent_is_peeked_as_the_same_value(server, request, content_type, typed, stdin, body):
    queue = f"body-{BODIES.index((content_type, typed, stdin, body))}"
    server.create_queue(queue)

    sent = run("queues", "send", "--json", queue, *typed, stdin=stdin, server=server).json
    [message] = run("queues", "peek", queue, "--json", server=server).json

    assert sent["metadata"]["metrics"]["backlog_count"] == 1
    assert message["body"] == body
    assert message["content_type"] == content_type
    assert message["attempts"] == 0


def test_a_v8_body_is_peeked_as_base64(server):
    queue_id = server.create_queue("with-v8")
    server.v4("POST", f"/queues/{queue_id}/messages", {"body": "/w9vIgFh", "content_type": "v8"})

    [message] = run("queues", "peek", "with-v8", "--json", server=server).json

    assert (message["body"], message["content_type"]) == ("/w9vIgFh", "v8")


def test_json_is_stored_as_it_was_typed(server):
    server.create_queue("as-typed")

    run("queues", "send", "as-typed", '{ "b": 1.0,  "a": 2e3 }', server=server)

    queue_id = server.v4("GET", "/queues?name=as-typed").result[0]["queue_id"]
    [message] = server.v4("POST", f"/queues/{queue_id}/messages/peek").result["messages"]
    assert base64.b64decode(message["body"]) == b'{ "b": 1.0,  "a": 2e3 }'


def test_a_delayed_message_is_there_but_not_pulled(server):
    server.create_queue("later", consumer={"type": "http_pull"})

    run("queues", "send", "later", "1", "--delay", "600", server=server)

    assert run("queues", "pull", "later", "--json", server=server).json == []
    assert len(run("queues", "peek", "later", "--json", server=server).json) == 1


@pytest.mark.parametrize(("flags", "expected"), [([], 10), (["--limit", "205"], 205), (["--limit", "1000"], 250)])
def test_peek_turns_the_pages_up_to_its_limit(deep_queue, flags, expected):
    server, queue = deep_queue

    peeked = run("queues", "peek", queue, "--json", *flags, server=server).json

    assert [message["body"] for message in peeked] == list(range(expected))


@pytest.fixture(scope="module")
def deep_queue(server):
    queue_id = server.create_queue("deep")
    for first in range(0, 250, 50):
        batch = {"messages": [{"body": number} for number in range(first, first + 50)]}
        assert server.v4("POST", f"/queues/{queue_id}/messages/batch", batch).status == 200
    return server, "deep"


def test_the_table_shows_no_character_that_moves_a_terminals_cursor(server):
    server.create_queue("hostile")
    run("queues", "send", "hostile", "--text", "red\x1b[31m\nnext \x9b2J", server=server)

    text = run("queues", "peek", "hostile", server=server).out

    assert r"red\x1b[31m\nnext \x9b2J" in text


def test_output_fits_a_terminal_of_another_encoding(server):
    server.create_queue("narrow")
    run("queues", "send", "narrow", "--text", "ä€", server=server)

    text = run("queues", "peek", "narrow", server=server, environ={"PYTHONIOENCODING": "ascii"}).out

    assert r"\xe4\u20ac" in text


def test_an_empty_queue_says_so(server):
    server.create_queue("empty")

    assert run("queues", "peek", "empty", server=server).out == "no messages\n"


def test_pulled_messages_are_gone_once_acknowledged(server):
    server.create_queue("pulled", consumer={"type": "http_pull"})
    for number in range(3):
        run("queues", "send", "pulled", str(number), server=server)

    pulled = run("queues", "pull", "pulled", "--batch-size", "2", "--json", server=server).json
    leases = [message["lease_id"] for message in pulled]
    acked = run("queues", "ack", "pulled", *leases, "--json", server=server).json

    assert [(message["body"], message["attempts"]) for message in pulled] == [(0, 1), (1, 1)]
    assert acked == {"ackCount": 2, "retryCount": 0, "warnings": {}}
    assert [message["body"] for message in run("queues", "peek", "pulled", "--json", server=server).json] == [2]


def test_a_retried_message_comes_again_at_once_or_after_its_delay(server):
    server.create_queue("retried", consumer={"type": "http_pull"})
    run("queues", "send", "retried", "1", server=server)

    attempts = []
    for flags in ([], ["--delay", "600"]):
        [message] = run("queues", "pull", "retried", "--json", server=server).json
        attempts.append(message["attempts"])
        done = run("queues", "ack", "retried", message["lease_id"], "--retry", *flags, server=server)
        assert done.out == "retried 1 message\n"

    assert attempts == [1, 2]
    assert run("queues", "pull", "retried", "--json", server=server).json == []


def test_a_lease_of_no_length_lets_the_message_come_again(server):
    server.create_queue("short", consumer={"type": "http_pull"})
    run("queues", "send", "short", "1", server=server)

    run("queues", "pull", "short", "--visibility-timeout-ms", "0", server=server)

    [message] = run("queues", "pull", "short", "--json", server=server).json
    assert message["attempts"] == 2


def test_an_ack_that_does_not_count_fails_and_names_the_lease(server):
    server.create_queue("stale", consumer={"type": "http_pull"})
    run("queues", "send", "stale", "1", server=server)
    [message] = run("queues", "pull", "stale", "--json", server=server).json

    done = run("queues", "ack", "stale", message["lease_id"], "never-a-lease", server=server)

    assert done.code == 1
    assert done.out == "acknowledged 1 message\n"
    assert "never-a-lease: not a lease id" in done.error


def test_the_same_lease_twice_counts_once(server):
    server.create_queue("twice", consumer={"type": "http_pull"})
    run("queues", "send", "twice", "1", server=server)
    lease = run("queues", "pull", "twice", server=server).out.splitlines()[1].split()[0]

    assert run("queues", "ack", "twice", lease, lease, server=server).code == 0
