"""A pull that is held until something is ready."""

import json
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.http.wire import PULL, Wire, a_name, eventually, pull, request
from tests.support import Reply, Server

POOL = ThreadPoolExecutor(40)


def waiting(server: Server, queue: str, seconds: float = 10, **more: Any) -> "Future[Reply]":
    """Begin a waiting pull in a thread."""
    return POOL.submit(
        server.v4, "POST", f"/queues/{queue}/messages/pull", {"wait_seconds": seconds, **more}, timeout=30
    )


def send(server: Server, queue: str, *bodies: Any, **more: Any) -> None:
    messages = [{"body": body, **more} for body in bodies]
    assert server.v4("POST", f"/queues/{queue}/messages/batch", {"messages": messages}).status == 200


def until_waiting(server: Server, queue: str, count: int) -> None:
    """Wait until so many pulls are held."""
    name = server.v4("GET", f"/queues/{queue}").result["queue_name"]
    line = f'millrace_waiting_pulls{{queue="{name}"}} {count}.0'
    eventually(lambda: line in server.call("GET", "/metrics").body.decode())


def bodies_of(reply: Reply) -> list[str]:
    return [message["body"] for message in reply.result["messages"]]


def hang_up_while_waiting(server: Server, queue: str) -> None:
    """Begin a waiting pull and close its connection."""
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"wait_seconds": 20}).encode()
    path = f"/client/v4/accounts/local/queues/{queue}/messages/pull"
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        until_waiting(server, queue, 1)


def test_a_waiting_pull_is_answered_when_a_message_is_sent(server: Server, pulled: str) -> None:
    answer = waiting(server, pulled)
    until_waiting(server, pulled, 1)

    send(server, pulled, "here", content_type="text")

    assert bodies_of(answer.result(5)) == ["here"]


def test_a_waiting_pull_is_answered_when_a_delay_is_over(server: Server, pulled: str) -> None:
    send(server, pulled, "later", content_type="text", delay_seconds=1)

    answer = waiting(server, pulled)

    assert bodies_of(answer.result(5)) == ["later"]


def test_a_waiting_pull_is_answered_when_a_lease_lapses(server: Server, pulled: str) -> None:
    send(server, pulled, "again", content_type="text")
    server.v4("POST", f"/queues/{pulled}/messages/pull", {"visibility_timeout_ms": 1000})

    message = waiting(server, pulled).result(5).result["messages"][0]

    assert (message["body"], message["attempts"]) == ("again", 2)


def test_a_waiting_pull_that_nothing_comes_for_is_answered_with_nothing(server: Server, pulled: str) -> None:
    began = time.monotonic()

    answer = waiting(server, pulled, 0.5).result(5)

    assert answer.result["messages"] == []
    assert 0.4 < time.monotonic() - began < 3


def test_as_many_waiters_are_answered_as_there_are_messages(server: Server, pulled: str) -> None:
    answers = [waiting(server, pulled, 3, batch_size=1) for _ in range(20)]
    until_waiting(server, pulled, 20)

    send(server, pulled, *range(8))

    counts = [len(answer.result(10).result["messages"]) for answer in answers]
    assert sorted(counts) == [0] * 12 + [1] * 8


def test_a_waiter_that_left_takes_nothing_and_costs_no_attempt(server: Server, pulled: str) -> None:
    for _ in range(3):
        hang_up_while_waiting(server, pulled)

    send(server, pulled, "mine", content_type="text")

    message = waiting(server, pulled, 2).result(5).result["messages"][0]
    assert (message["body"], message["attempts"]) == ("mine", 1)


def test_many_waiters_that_leave_at_once_cost_no_attempt(server: Server, pulled: str) -> None:
    wires = [Wire(server) for _ in range(150)]
    for wire in wires:
        wire.send(request("POST", f"/client/v4/accounts/local/queues/{pulled}/messages/pull", {"wait_seconds": 20}))
    until_waiting(server, pulled, 150)

    for wire in wires:
        wire.socket.close()
    send(server, pulled, *range(50))

    assert [message["attempts"] for message in pull(server, pulled, 100)] == [1] * 50


def test_a_waiting_pull_is_refused_when_the_queue_is_paused(server: Server, pulled: str) -> None:
    answer = waiting(server, pulled)
    until_waiting(server, pulled, 1)

    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_paused": True}})

    assert answer.result(5).code == 10252


def test_a_waiting_pull_is_refused_when_the_queue_is_deleted(server: Server, pulled: str) -> None:
    answer = waiting(server, pulled)
    until_waiting(server, pulled, 1)

    server.v4("DELETE", f"/queues/{pulled}")

    assert answer.result(5).code == 11000


def test_a_waiting_pull_goes_on_waiting_when_a_setting_changes(server: Server, pulled: str) -> None:
    answer = waiting(server, pulled)
    until_waiting(server, pulled, 1)
    server.v4("PATCH", f"/queues/{pulled}", {"settings": {"delivery_delay": 1}})

    send(server, pulled, "after", content_type="text")

    assert bodies_of(answer.result(5)) == ["after"]


@pytest.mark.parametrize("seconds", [-1, 20.5, "5", True])
def test_a_wait_is_0_to_20_seconds(server: Server, pulled: str, seconds: Any) -> None:
    reply = server.v4("POST", f"/queues/{pulled}/messages/pull", {"wait_seconds": seconds})

    assert (reply.status, reply.code) == (400, 10026)


def test_a_waiting_pull_needs_a_consumer_of_its_type(server: Server) -> None:
    queue = server.create_queue(a_name(), consumer={"type": "worker", "script_name": "shop"})

    assert waiting(server, queue).result(5).code == 10405


def test_who_stands_in_for_a_worker_gets_the_batches_of_its_window(server: Server) -> None:
    settings = {"batch_size": 3, "max_wait_time_ms": 700}
    queue = server.create_queue(a_name(), consumer={"type": "worker", "script_name": "shop", "settings": settings})
    first = waiting(server, queue, worker=True)
    until_waiting(server, queue, 1)

    send(server, queue, *range(4))

    began = time.monotonic()
    assert len(first.result(5).result["messages"]) == 3
    assert len(waiting(server, queue, worker=True).result(5).result["messages"]) == 1
    assert time.monotonic() - began > 0.3


def test_a_stopping_server_answers_its_waiters_at_once(stopped: Server) -> None:
    stopped.start()
    queue = stopped.create_queue("waited-for", consumer=PULL)
    answer = waiting(stopped, queue, 20)
    until_waiting(stopped, queue, 1)
    began = time.monotonic()

    assert stopped.stop() == 0

    assert answer.result(5).result["messages"] == []
    assert time.monotonic() - began < 5


def test_a_waiting_pull_of_a_key_that_is_revoked_gets_nothing(server: Server, pulled: str) -> None:
    key = server.call("POST", "/api/keys", {"role": "consumer"}).json
    body = {"wait_seconds": 10}
    answer = POOL.submit(server.v4, "POST", f"/queues/{pulled}/messages/pull", body, key=key["secret"], timeout=30)
    until_waiting(server, pulled, 1)
    server.call("DELETE", f"/api/keys/{key['id']}")

    send(server, pulled, "not for you", content_type="text")

    assert answer.result(5).status == 401
    assert [message["attempts"] for message in waiting(server, pulled, 2).result(5).result["messages"]] == [1]
