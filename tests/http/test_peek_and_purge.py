import re
import time

import pytest

from tests.http.wire import assert_failure, backlog, consumer_of, eventually, peek, pull, push, push_text, settle


def peek_with(server, queue, body):
    return server.v4("POST", f"/queues/{queue}/messages/peek", body)


def purge_refs(server, queue, *refs):
    return server.v4("POST", f"/queues/{queue}/messages/purge", {"refs": [{"ref": ref} for ref in refs]}).result


def test_a_peek_shows_messages_without_a_lease_and_counts_no_attempt(server, pulled):
    push(server, pulled, "hello", content_type="text")

    first, second = peek(server, pulled), peek(server, pulled)

    assert first == second
    assert set(first[0]) == {"id", "attempts", "body", "metadata", "ref", "timestamp_ms"}
    assert (first[0]["attempts"], first[0]["body"]) == (0, "hello")
    pulled_message = pull(server, pulled)[0]
    assert (pulled_message["id"], pulled_message["attempts"]) == (first[0]["id"], 1)
    assert pulled_message["timestamp_ms"] == first[0]["timestamp_ms"]


def test_a_peek_shows_waiting_delayed_and_leased_messages_oldest_first(server, pulled):
    push(server, pulled, "leased", content_type="text")
    pull(server, pulled)
    push(server, pulled, "delayed", content_type="text", delay_seconds=3600)
    push(server, pulled, "waiting", content_type="text")

    shown = peek(server, pulled)

    assert [(message["body"], message["attempts"]) for message in shown] == [
        ("leased", 1),
        ("delayed", 0),
        ("waiting", 0),
    ]


def test_a_peek_works_without_a_consumer_and_while_paused(server, queue):
    push(server, queue)
    assert len(peek(server, queue)) == 1

    server.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_paused": True}})

    assert len(peek(server, queue)) == 1


def test_a_cursor_pages_through_everything(server, queue):
    push_text(server, queue, *(str(number) for number in range(25)))

    seen, cursor = [], {}
    for _ in range(3):
        page = peek_with(server, queue, {"batch_size": 10, **cursor}).result
        seen += [message["body"] for message in page["messages"]]
        cursor = {"cursor": page["cursor"]} if "cursor" in page else {}

    assert (seen, cursor) == ([str(number) for number in range(25)], {})


@pytest.mark.parametrize(
    "body",
    [
        {"batch_size": 0},
        {"batch_size": 101},
        {"batch_size": "5"},
        {"cursor": 5},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": "f" * 17},
        [],
        5,
    ],
)
def test_a_peek_out_of_range_is_refused_with_10026(server, queue, body):
    assert_failure(peek_with(server, queue, body), 400, 10026)


def test_a_cursor_beyond_everything_gives_an_empty_page(server, queue):
    push(server, queue)

    for cursor in ("f" * 16, "7" + "f" * 15):
        assert peek_with(server, queue, {"cursor": cursor}).result == {"messages": []}


def test_a_purge_by_ref_deletes_the_chosen_messages_whatever_their_state(server, pulled):
    push(server, pulled, "leased", content_type="text")
    lease = pull(server, pulled)[0]["lease_id"]
    push(server, pulled, "delayed", content_type="text", delay_seconds=3600)
    push_text(server, pulled, "stays", "goes")
    refs = {message["body"]: message["ref"] for message in peek(server, pulled)}

    result = purge_refs(server, pulled, refs["leased"], refs["delayed"], refs["goes"])

    assert result == {"errors": [], "warnings": {}}
    assert [message["body"] for message in peek(server, pulled)] == ["stays"]
    assert (backlog(server, pulled)["backlog_count"], backlog(server, pulled)["backlog_bytes"]) == (1, 5)
    assert settle(server, pulled, [lease])["ackCount"] == 0


def test_an_unknown_ref_is_a_warning(server, pulled, queue):
    push(server, pulled)
    push(server, queue)
    ref, foreign = peek(server, pulled)[0]["ref"], peek(server, queue)[0]["ref"]
    unknown = ["", "x", "0" * 48, ref + "0", ref[:-1], foreign, "🎈", "\x00", "-" * 48, "f" * 48, "a" * 3000]

    result = purge_refs(server, pulled, ref, *unknown)

    assert set(result["warnings"]) == set(unknown)
    assert all(isinstance(text, str) for text in result["warnings"].values())
    assert (backlog(server, pulled)["backlog_count"], backlog(server, queue)["backlog_count"]) == (0, 1)


def test_a_ref_given_twice_is_purged_once_and_a_lease_is_no_ref(server, pulled):
    push_text(server, pulled, "a", "b")
    lease = pull(server, pulled, 1)[0]["lease_id"]
    ref = peek(server, pulled)[0]["ref"]

    purge_refs(server, pulled, ref, ref)
    assert list(purge_refs(server, pulled, lease)["warnings"]) == [lease]

    assert backlog(server, pulled)["backlog_count"] == 1


@pytest.mark.parametrize("body", [{}, {"refs": None}, {"refs": ["x"]}, {"refs": [{}]}, {"refs": [{"ref": 5}]}, []])
def test_a_purge_by_ref_has_a_list_of_refs(server, queue, body):
    assert server.v4("POST", f"/queues/{queue}/messages/purge", body).status == 400


def test_a_purge_of_the_queue_deletes_waiting_delayed_and_leased_messages(server, pulled):
    push_text(server, pulled, "a", "b")
    lease = pull(server, pulled, 1)[0]["lease_id"]
    push(server, pulled, "delayed", delay_seconds=3600)

    purged = server.v4("POST", f"/queues/{pulled}/purge", {"delete_messages_permanently": True}).result

    assert purged["queue_id"] == pulled
    assert purged["consumers"] == [consumer_of(server, pulled)]
    assert backlog(server, pulled) == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}
    assert (peek(server, pulled), pull(server, pulled)) == ([], [])
    assert settle(server, pulled, [lease], [lease])["ackCount"] == 0
    push(server, pulled, "after", content_type="text")
    assert [message["body"] for message in pull(server, pulled)] == ["after"]


@pytest.mark.parametrize("body", [None, {}, {"delete_messages_permanently": False}, [], "yes"])
@pytest.mark.parametrize("value", ["true", 1, None])
def test_a_purge_that_is_not_meant_deletes_nothing(server, queue, body, value):
    push(server, queue)
    given = {"delete_messages_permanently": value} if body == {} else body

    assert_failure(server.v4("POST", f"/queues/{queue}/purge", given), 400, 10026)

    assert backlog(server, queue)["backlog_count"] == 1
    assert server.v4("GET", f"/queues/{queue}/purge").result == {}


def test_the_status_of_a_purge_has_its_times(server, queue):
    assert server.v4("GET", f"/queues/{queue}/purge").result == {}
    server.v4("POST", f"/queues/{queue}/purge", {"delete_messages_permanently": True})

    status = eventually(lambda: server.v4("GET", f"/queues/{queue}/purge").result)

    assert set(status) == {"started_at", "completed"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", at) for at in status.values())


def test_metrics_are_exact_at_every_step(server, pulled):
    def shown():
        metrics = backlog(server, pulled)
        return metrics["backlog_count"], metrics["backlog_bytes"]

    assert backlog(server, pulled) == {"backlog_count": 0, "backlog_bytes": 0, "oldest_message_timestamp_ms": 0}
    push_text(server, pulled, "a", "bb", "ccc")
    assert shown() == (3, 6)
    push(server, pulled, "dddd", content_type="text", delay_seconds=3600)
    assert shown() == (4, 10)
    a, b, c = (message["lease_id"] for message in pull(server, pulled))
    assert shown() == (4, 10)
    settle(server, pulled, [a], [b])
    assert shown() == (3, 9)
    settle(server, pulled, [c])
    assert shown() == (2, 6)
    purge_refs(server, pulled, peek(server, pulled)[-1]["ref"])
    assert shown() == (1, 2)


def test_the_oldest_message_is_the_one_that_was_sent_first_and_is_still_there(server, pulled):
    push(server, pulled, "old")
    time.sleep(0.05)  # two messages of one millisecond would be equally old
    push(server, pulled, "young", delay_seconds=3600)
    old, young = (message["timestamp_ms"] for message in peek(server, pulled))
    assert old < young
    assert backlog(server, pulled)["oldest_message_timestamp_ms"] == old

    settle(server, pulled, [pull(server, pulled)[0]["lease_id"]])

    assert backlog(server, pulled)["oldest_message_timestamp_ms"] == young
