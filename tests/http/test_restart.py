"""What a stop, a kill and a start leave as it was."""

import pytest

from tests.http.wire import PULL, backlog, peek, pull, pull_within, push_text, settle


@pytest.fixture(params=["stop", "kill"])
def restart(request):
    def again(server):
        getattr(server, request.param)()
        server.start()

    return again


def test_messages_queues_and_consumers_are_still_there(stopped, restart):
    with stopped.start() as server:
        queue = server.create_queue("q", consumer=PULL | {"dead_letter_queue": "d", "settings": {"batch_size": 7}})
        push_text(server, queue, "a", "b", "c")
        shown, peeked, counted = server.v4("GET", "/queues").result, peek(server, queue), backlog(server, queue)

        restart(server)

        assert server.v4("GET", "/queues").result == shown
        assert peek(server, queue) == peeked
        assert backlog(server, queue) == counted


def test_a_lease_from_before_the_restart_hides_its_message_and_still_works(stopped, restart):
    with stopped.start() as server:
        queue = server.create_queue("q", consumer=PULL)
        push_text(server, queue, "acked", "retried", "not pulled")
        acked, retried = pull(server, queue, 2)

        restart(server)

        third = pull(server, queue)
        assert [message["body"] for message in third] == ["not pulled"]
        result = settle(server, queue, [acked["lease_id"]], [retried["lease_id"]])
        assert result == {"ackCount": 1, "retryCount": 1, "warnings": {}}
        assert [(message["id"], message["attempts"]) for message in pull(server, queue)] == [(retried["id"], 2)]


def test_a_lease_that_ends_while_the_server_is_away_is_over_afterwards(stopped, restart):
    with stopped.start() as server:
        queue = server.create_queue("q", consumer=PULL)
        push_text(server, queue, "a")
        old = pull(server, queue, lease_ms=100)[0]

        restart(server)

        new = pull_within(server, queue)[0]
        assert (new["id"], new["attempts"]) == (old["id"], 2)
        assert settle(server, queue, [old["lease_id"]])["ackCount"] == 0


def test_delays_pause_and_attempts_outlast_the_restart(stopped, restart):
    with stopped.start() as server:
        queue = server.create_queue("q", consumer=PULL | {"settings": {"max_retries": 1, "retry_delay": 0}})
        push_text(server, queue, "twice")
        lease = pull(server, queue)[0]["lease_id"]
        settle(server, queue, [], [lease])
        body = {"messages": [{"body": "later", "content_type": "text", "delay_seconds": 3600}]}
        assert server.v4("POST", f"/queues/{queue}/messages/batch", body).status == 200
        server.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_paused": True}})

        restart(server)

        assert server.v4("POST", f"/queues/{queue}/messages/pull", {}).status == 409
        server.v4("PATCH", f"/queues/{queue}", {"settings": {"delivery_paused": False}})
        assert [(message["body"], message["attempts"]) for message in pull(server, queue)] == [("twice", 2)]


def test_a_queue_that_was_purged_or_deleted_stays_so(stopped, restart):
    with stopped.start() as server:
        purged, deleted = server.create_queue("purged"), server.create_queue("deleted")
        for queue in (purged, deleted):
            push_text(server, queue, *("x" * 100))
        server.v4("POST", f"/queues/{purged}/purge", {"delete_messages_permanently": True})
        server.v4("DELETE", f"/queues/{deleted}")

        restart(server)

        assert (backlog(server, purged)["backlog_count"], peek(server, purged)) == (0, [])
        assert server.v4("GET", f"/queues/{deleted}").status == 404
        assert set(server.v4("GET", f"/queues/{purged}/purge").result) == {"started_at", "completed"}
