import pytest

from tests.http.wire import (
    PULL,
    a_name,
    assert_failure,
    backlog,
    consumer_of,
    eventually,
    peek,
    pull,
    pull_within,
    push,
    push_text,
    settle,
)

GARBAGE = [
    "",
    "x",
    "0" * 32,
    "f" * 32,
    "🎈" * 16,
    "../../..",
    "a" * 5000,
    "A" * 32,
    " " * 32,
    "\u0661" * 32,
    "-" * 32,
    "\x00",
]


def ack_with(server, queue, body):
    return server.v4("POST", f"/queues/{queue}/messages/ack", body)


def lapsed(server, queue):
    """Lease the only message briefly and wait until the lease is over."""
    lease = pull(server, queue, lease_ms=0)[0]["lease_id"]
    assert len(peek(server, queue)) == 1
    return lease


@pytest.mark.parametrize("body", [{}, None, {"acks": [], "retries": []}, {"acks": None, "retries": None}])
def test_both_lists_are_optional(server, pulled, body):
    assert ack_with(server, pulled, body).result == {"ackCount": 0, "retryCount": 0, "warnings": {}}


def test_acks_remove_and_retries_bring_back(server, pulled):
    push_text(server, pulled, "a", "b", "c")
    a, b, c = pull(server, pulled)

    result = settle(server, pulled, [a["lease_id"], c["lease_id"]], [b["lease_id"]])

    assert result == {"ackCount": 2, "retryCount": 1, "warnings": {}}
    again = pull(server, pulled)
    assert [(message["id"], message["attempts"]) for message in again] == [(b["id"], 2)]
    assert again[0]["timestamp_ms"] == b["timestamp_ms"]
    assert again[0]["lease_id"] != b["lease_id"]


def test_any_number_of_leases_is_settled_in_one_call(server, pulled):
    leases = []
    for _ in range(4):
        push_text(server, pulled, *("x" * 100))
        leases += [message["lease_id"] for message in pull(server, pulled, 100)]

    assert settle(server, pulled, leases) == {"ackCount": 400, "retryCount": 0, "warnings": {}}


def test_a_double_ack_is_not_counted_and_is_no_error(server, pulled):
    push(server, pulled)
    lease = pull(server, pulled)[0]["lease_id"]
    settle(server, pulled, [lease])

    result = settle(server, pulled, [lease], [lease])

    assert (result["ackCount"], result["retryCount"]) == (0, 0)
    assert set(result["warnings"]) <= {lease}


def test_the_same_lease_twice_in_one_call_counts_once(server, pulled):
    push_text(server, pulled, "a", "b")
    a, b = (message["lease_id"] for message in pull(server, pulled))

    result = settle(server, pulled, [a, a, b], [b])

    assert (result["ackCount"], result["retryCount"]) == (2, 0)
    assert backlog(server, pulled)["backlog_count"] == 0


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_string_that_is_no_lease_is_a_warning(server, pulled, garbage):
    push(server, pulled)
    lease = pull(server, pulled)[0]["lease_id"]

    result = settle(server, pulled, [garbage, lease], [garbage])

    assert (result["ackCount"], result["retryCount"]) == (1, 0)
    assert list(result["warnings"]) == [garbage]
    assert isinstance(result["warnings"][garbage], str)


def test_a_lease_of_another_queue_changes_nothing(server, pulled):
    other = server.create_queue(a_name(), consumer=PULL)
    push(server, other)
    lease = pull(server, other)[0]["lease_id"]

    result = settle(server, pulled, [lease], [lease])

    assert (result["ackCount"], result["retryCount"], list(result["warnings"])) == (0, 0, [lease])
    assert backlog(server, other)["backlog_count"] == 1
    assert settle(server, other, [lease])["ackCount"] == 1


def test_a_lease_with_one_digit_changed_changes_nothing(server, pulled):
    push(server, pulled)
    lease = pull(server, pulled)[0]["lease_id"]
    forged = [lease[:-1] + ("0" if lease[-1] != "0" else "1"), lease[::-1], lease.upper() + "0", lease + "0"]

    result = settle(server, pulled, forged)

    assert (result["ackCount"], set(result["warnings"])) == (0, set(forged))
    assert settle(server, pulled, [lease])["ackCount"] == 1


def test_a_late_ack_counts_until_the_message_is_delivered_again(server, pulled):
    push(server, pulled)

    assert settle(server, pulled, [lapsed(server, pulled)]) == {"ackCount": 1, "retryCount": 0, "warnings": {}}
    assert backlog(server, pulled)["backlog_count"] == 0


def test_a_superseded_lease_changes_nothing_and_the_newer_holder_decides(server, pulled):
    push(server, pulled)
    old = lapsed(server, pulled)
    new = pull_within(server, pulled)[0]["lease_id"]

    result = settle(server, pulled, [old], [old])

    assert (result["ackCount"], result["retryCount"], list(result["warnings"])) == (0, 0, [old])
    assert backlog(server, pulled)["backlog_count"] == 1
    assert settle(server, pulled, [new])["ackCount"] == 1


def test_of_two_leases_of_one_message_in_one_call_only_the_newer_counts(server, pulled):
    push(server, pulled)
    old = lapsed(server, pulled)
    new = pull_within(server, pulled)[0]["lease_id"]

    result = settle(server, pulled, [old, new])

    assert (result["ackCount"], list(result["warnings"])) == (1, [old])


def test_a_retry_on_an_expired_lease_is_a_warning(server, pulled):
    push(server, pulled)
    old = lapsed(server, pulled)

    result = settle(server, pulled, [], [(old, 600)])

    assert (result["retryCount"], list(result["warnings"])) == (0, [old])
    assert pull_within(server, pulled)[0]["attempts"] == 2


@pytest.mark.parametrize("delay", [-1, 86401, 1e300, "5", True, []])
def test_a_delay_out_of_range_is_refused_and_nothing_of_the_call_is_applied(server, pulled, delay):
    push_text(server, pulled, "a", "b", "c")
    a, b, c = (message["lease_id"] for message in pull(server, pulled))

    body = {"acks": [{"lease_id": a}], "retries": [{"lease_id": b}, {"lease_id": c, "delay_seconds": delay}]}
    assert_failure(ack_with(server, pulled, body), 400, 10203)

    assert backlog(server, pulled)["backlog_count"] == 3
    assert settle(server, pulled, [a], [(b, 0), (c, 86400)]) == {"ackCount": 1, "retryCount": 2, "warnings": {}}


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        {"acks": "x"},
        {"acks": ["x"]},
        {"acks": [{}]},
        {"acks": [{"lease_id": 5}]},
        {"acks": [{"lease_id": None}]},
        {"retries": {}},
        {"retries": [{"delay_seconds": 5}]},
    ],
)
def test_a_body_of_another_shape_is_refused_with_10207(server, pulled, body):
    assert_failure(ack_with(server, pulled, body), 400, 10207)


def test_a_retry_waits_for_its_own_delay_else_for_that_of_the_consumer(server):
    queue = server.create_queue(a_name(), consumer=PULL | {"settings": {"retry_delay": 3600}})
    push_text(server, queue, "own 0", "as the consumer", "own 3600")
    own, default, later = (message["lease_id"] for message in pull(server, queue))

    settle(server, queue, [], [(own, 0), default, (later, 3600)])

    assert [message["body"] for message in pull(server, queue)] == ["own 0"]


def test_leases_are_settled_after_the_consumer_was_removed(server, pulled):
    push_text(server, pulled, "a", "b")
    a, b = (message["lease_id"] for message in pull(server, pulled))
    server.v4("DELETE", f"/queues/{pulled}/consumers/{consumer_of(server, pulled)['consumer_id']}")

    assert settle(server, pulled, [a], [b]) == {"ackCount": 1, "retryCount": 1, "warnings": {}}


def test_extending_a_lease_hides_its_message_for_longer(server, pulled):
    push(server, pulled)
    lease = pull(server, pulled, lease_ms=300)[0]["lease_id"]
    path = f"/queues/{pulled}/messages/extend"

    extended = server.v4("POST", path, {"lease_ids": [lease, "x"], "visibility_timeout_ms": 60000}).result

    assert (extended["extended"], list(extended["warnings"])) == (1, ["x"])
    shortened = server.v4("POST", path, {"lease_ids": [lease], "visibility_timeout_ms": 0}).result
    assert shortened["extended"] == 1
    assert eventually(lambda: pull(server, pulled))[0]["attempts"] == 2


def test_a_reject_buries_at_once_and_a_postpone_costs_no_attempt(server):
    dead = a_name("dead")
    queue = server.create_queue(a_name(), consumer={**PULL, "dead_letter_queue": dead})
    push_text(server, queue, "bad", "busy")
    bad, busy = pull(server, queue)

    settled = server.v4(
        "POST",
        f"/queues/{queue}/messages/ack",
        {
            "rejects": [{"lease_id": bad["lease_id"], "reason": "no such thing"}],
            "postpones": [{"lease_id": busy["lease_id"]}],
        },
    ).result

    assert settled == {"ackCount": 0, "retryCount": 0, "warnings": {}, "rejectCount": 1, "postponeCount": 1}
    assert [(message["body"], message["attempts"]) for message in pull(server, queue)] == [("busy", 1)]
    [buried] = server.v4("GET", f"/queues?name={dead}").result
    [message] = server.v4("POST", f"/queues/{buried['queue_id']}/messages/peek", {}).result["messages"]
    assert (message["body"], message["metadata"]["Millrace-Reason"]) == ("bad", "no such thing")
