"""Answers that are sent as they come, bodies that are read as they come, and WebSockets."""

import asyncio
import http.client
import socket
from pathlib import Path

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support import KEY, Server

PROGRAM = f"{Path(__file__).parent}/streaming_program.py:app"
GUEST = {"Authorization": "Bearer the-rooms-own-word"}
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("streams") / "data", "--app", PROGRAM, "--config", "").start()
    yield server
    server.stop()


def connect(server, path, key=KEY, **more):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return websockets.connect(server.url.replace("http", "ws") + path, additional_headers=headers, **more)


def request(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, body, headers or {"Authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_a_stream_is_sent_in_chunks_until_it_ends(server):
    status, headers, body = request(server, "GET", "/streams/count")

    assert (status, headers["content-type"], headers["transfer-encoding"]) == (200, "text/event-stream", "chunked")
    assert body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert "x-correlation-id" in headers


def test_a_client_that_leaves_a_stream_leaves_the_server_well(server):
    with socket.create_connection(server.url.removeprefix("http://").split(":")) as line:
        line.sendall(f"GET /streams/drip HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
        assert b"200" in line.recv(1000)

    assert request(server, "GET", "/streams/count")[0] == 200
    assert b'"level":"error"' not in bytes(server.output)


def test_a_body_is_read_as_it_comes(server):
    assert request(server, "PUT", "/streams/size", b"x" * LIMIT)[2] == str(LIMIT).encode()
    assert request(server, "PUT", "/streams/size", iter([b"x" * 1000] * 5))[2] == b"5000"


def test_a_body_over_the_limit_is_refused_before_and_while_it_comes(server):
    announced = request(server, "PUT", "/streams/size", b"x" * (LIMIT + 1))
    unannounced = request(server, "PUT", "/streams/size", iter([b"x" * 100_000] * 11))

    assert (announced[0], unannounced[0]) == (413, 413)


def test_an_application_may_let_callers_in_below_its_own_path_only(server):
    assert request(server, "GET", "/streams/count", headers=GUEST)[0] == 200
    assert request(server, "GET", "/metrics", headers=GUEST)[0] == 401


async def test_frames_go_both_ways(server):
    async with connect(server, "/rooms/one/ws") as line:
        welcome = await line.recv()
        await line.send("hello")
        answer = await line.recv()

    assert welcome.startswith("welcome to one")
    assert answer == "HELLO"


async def test_a_browser_names_its_key_as_a_subprotocol(server):
    async with connect(server, "/rooms/one/ws", None, subprotocols=["millrace", f"bearer.{KEY}"]) as line:
        assert line.subprotocol == "millrace"
        assert (await line.recv()).startswith("welcome")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/rooms/one/ws", None, 401),
        ("/rooms/one/ws", "sk_live_unknown", 401),
        ("/rooms/none/ws", KEY, 404),
        ("/nowhere/ws", KEY, 404),
    ],
)
async def test_a_socket_is_refused_over_http(server, path, key, status):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server, path, key):
            pass

    assert refused.value.response.status_code == status
    assert b'"correlation_id"' in refused.value.response.body


async def test_a_frame_that_is_too_large_closes_the_line(server):
    async with connect(server, "/rooms/one/ws") as line:
        await line.recv()
        await line.send("x" * 70_000)
        with pytest.raises(ConnectionClosed):
            await line.recv()

    assert request(server, "GET", "/streams/count")[0] == 200


async def test_a_socket_whose_route_fails_is_closed_and_only_that_is_logged(server):
    with pytest.raises(InvalidStatus):
        await connect(server, "/rooms/one/ws", None)

    async with connect(server, "/rooms/broken/ws") as line:
        await line.recv()
        with pytest.raises(ConnectionClosed) as closed:
            await line.recv()

    assert closed.value.rcvd.code == 1011
    await asyncio.to_thread(server.wait_for_text, "the room is broken")
    assert "handshake" not in server.text


async def test_sockets_and_streams_end_when_the_server_stops(tmp_path):
    stopping = Server(tmp_path / "data", "--app", PROGRAM, "--config", "").start()
    async with connect(stopping, "/rooms/one/ws") as line:
        await line.recv()
        stream = await asyncio.to_thread(_open_stream, stopping)
        await asyncio.to_thread(stopping.stop)

        with pytest.raises(ConnectionClosed):
            await line.recv()
    assert await asyncio.to_thread(stream.read)


def _open_stream(server):
    """Give the answer of a stream that is under way, and that can be read to its end once it has one."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/streams/drip", headers={"Authorization": f"Bearer {KEY}"})
    return connection.getresponse()


async def test_pages_of_named_origins_may_call_and_others_may_not(tmp_path):
    page, stranger = {"Origin": "https://app.example"}, {"Origin": "https://else.example"}
    environ = {"CORS_ORIGINS": "https://app.example"}
    with Server(tmp_path / "data", "--config", "", environ=environ) as named:
        preflight = request(named, "OPTIONS", "/events", headers={**page, "Access-Control-Request-Method": "POST"})
        called = request(named, "GET", "/readyz", headers=page)
        refused = request(named, "OPTIONS", "/events", headers=stranger)

    assert (preflight[0], preflight[1]["access-control-allow-origin"]) == (204, "https://app.example")
    assert "authorization" in preflight[1]["access-control-allow-headers"]
    assert called[1]["access-control-allow-origin"] == "https://app.example"
    assert (refused[0], "access-control-allow-origin" in refused[1]) == (401, False)
