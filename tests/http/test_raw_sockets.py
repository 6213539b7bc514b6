"""Clients that break HTTP, or use it slowly, and do not harm the others."""

import contextlib
import time

import pytest

from tests.http.wire import Wire, a_name, backlog, head, request

V4 = "/client/v4/accounts/local"
IDLE, SLOW, GOOD = 400, 50, 50


def still_serves(server):
    return server.v4("GET", "/queues?per_page=1").status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        b"POST /events HTTP/9.9\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"G\x00T / HTTP/1.1\r\n\r\n",
    ],
)
def test_broken_http_is_answered_with_400_or_closed_and_harms_nobody(server, raw):
    before = server.v4("GET", "/queues").result

    with Wire(server) as wire:
        wire.send(raw)
        try:
            status, _, _ = wire.answer()
        except (AssertionError, ConnectionResetError):
            status = None

    assert status in (None, 400, 401)
    assert server.v4("GET", "/queues").result == before


def test_a_bad_chunk_size_is_refused_and_nothing_is_stored(server, queue):
    with Wire(server) as wire:
        wire.send(
            head("POST", f"{V4}/queues/{queue}/messages", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n"
        )
        with contextlib.suppress(AssertionError, ConnectionResetError):
            assert wire.answer()[0] == 400

    assert backlog(server, queue)["backlog_count"] == 0
    assert still_serves(server)


def test_a_body_that_ends_early_stores_nothing(server, queue):
    with Wire(server) as wire:
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", "Content-Length: 100") + b'{"body":1}')

    assert backlog(server, queue)["backlog_count"] == 0
    assert still_serves(server)


def test_http_1_0_is_served_and_closed(server, queue):
    with Wire(server) as wire:
        body = b'{"body":1}'
        lines = (f"Content-Length: {len(body)}",)
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", *lines, version="1.0") + body)

        assert wire.answer()[0] == 200
        assert wire.is_closed()
    assert backlog(server, queue)["backlog_count"] == 1


def test_a_client_that_asks_to_close_is_obeyed(server):
    with Wire(server) as wire:
        wire.send(request("GET", f"{V4}/queues", None, "Connection: close"))

        assert wire.answer()[0] == 200
        assert wire.is_closed()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", [f"{V4}/queues", "/events", "/nowhere"])
def test_other_methods_are_refused_and_the_connection_goes_on(server, method, path):
    with Wire(server) as wire:
        wire.send(request(method, path, None))
        status, headers, body = wire.answer(to_head=method == "HEAD")
        assert status == (404 if path == "/nowhere" else 405)
        assert headers["content-type"] == "application/json"
        assert b"Authorization" not in body

        wire.send(request("GET", f"{V4}/queues"))
        assert wire.answer()[0] == 200


def test_headers_that_come_letter_by_letter_are_read(server):
    with Wire(server) as wire:
        for letter in request("GET", f"{V4}/queues?per_page=1"):
            wire.send(bytes([letter]))

        assert wire.answer()[0] == 200


def test_very_many_and_very_long_headers_are_answered_or_refused(server):
    for lines in ([f"X-{number}: 1" for number in range(2000)], ["X-Long: " + "x" * 60_000]):
        with Wire(server) as wire:
            wire.send(head("GET", f"{V4}/queues?per_page=1", *lines))
            with contextlib.suppress(ConnectionResetError):
                assert wire.answer()[0] in (200, 400, 431)
        assert still_serves(server)


def test_a_good_client_is_served_promptly_among_idle_and_slow_ones(server):
    queue = server.create_queue(a_name())
    path = f"{V4}/queues/{queue}/messages"
    body = b'{"body":1}'
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Wire(server)) for _ in range(IDLE)]
        slow = [stack.enter_context(Wire(server)) for _ in range(SLOW)]
        for wire in idle[::2]:
            wire.send(b"POST /events HTTP/1.1\r\nHost: x\r\nX-Slow:")
        for wire in slow:
            wire.send(head("POST", path, f"Content-Length: {len(body)}") + body[:1])
        good = stack.enter_context(Wire(server))
        times = []
        for number in range(GOOD):
            slow[number % SLOW].send(body[1:2])
            began = time.monotonic()
            good.send(request("POST", path, body))
            assert good.answer()[0] == 200
            times.append(time.monotonic() - began)
        assert backlog(server, queue)["backlog_count"] == GOOD
        for wire in slow:
            wire.send(body[2:])
        assert [wire.answer()[0] for wire in slow] == [200] * SLOW

    assert sorted(times)[GOOD // 2] < 0.25
    assert sum(times) < 10
    assert backlog(server, queue)["backlog_count"] == GOOD + SLOW
