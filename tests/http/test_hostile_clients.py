"""Clients that mean no good: endless headers, deep bodies, web pages, keys that reach for more."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import KEY, Server


def raw(server: Server, *parts: bytes) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        for part in parts:
            line.sendall(part)
        answer = b""
        try:
            while chunk := line.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


def test_endless_headers_are_refused_without_being_kept(server):
    lines = [b"x-%d: %s\r\n" % (n, b"a" * 1000) for n in range(60)]

    try:
        answer = raw(server, b"GET /livez HTTP/1.1\r\n", *lines, *lines, *lines)
    except (BrokenPipeError, ConnectionResetError):  # it was closed while we went on sending
        answer = b"HTTP/1.1 431"

    assert answer.startswith(b"HTTP/1.1 431")
    assert server.call("GET", "/livez", key=None).status == 200


def test_headers_of_a_sensible_size_pass(server):
    reply = server.call("GET", "/livez", headers={"x-much": "a" * 30_000}, key=None)

    assert reply.status == 200


def test_a_route_that_takes_no_body_refuses_a_big_one_unread(server):
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head)
        assert line.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(("depth", "status"), [(256, 200), (257, 400)])
def test_a_body_may_be_nested_to_a_fixed_depth(server, depth, status):
    queue_id = server.create_queue(f"deep-{depth}")
    body = b'{"body": ' + b"[" * depth + b"]" * depth + b"}"

    assert server.v4("POST", f"/queues/{queue_id}/messages", body).status == status


def test_brackets_in_strings_are_no_nesting(server):
    queue_id = server.create_queue("strings")
    body = b'{"body": "' + rb"[\"{" * 2000 + b'"}'

    assert server.v4("POST", f"/queues/{queue_id}/messages", body).status == 200


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets programs of this machine in without a key."""
    environ = {"AUTH_MODE": "local", "CLOUDFLARE_ENV": "local"}
    with Server(tmp_path_factory.mktemp("local"), environ=environ) as running:
        yield running


def test_in_local_mode_a_web_page_is_not_let_in_without_a_key(local: Server):
    assert local.v4("GET", "/queues", key=None).status == 200
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert local.v4("GET", "/queues", key=None, headers=headers).status == 401


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"])
def test_in_local_mode_what_a_proxy_passes_on_needs_a_key(local: Server, header: str):
    """X07: who stands behind a proxy of this machine may be anybody."""
    assert local.v4("GET", "/queues", key=None, headers={header: "192.0.2.1"}).status == 401


def test_a_limited_admin_sees_and_revokes_only_keys_within_its_limit(server):
    limited = server.call("POST", "/api/keys", {"role": "admin", "queues": ["alpha"]}).json
    within = server.call("POST", "/api/keys", {"role": "producer", "queues": ["alpha"]}).json
    wide = server.call("POST", "/api/keys", {"role": "producer"}).json
    secret = limited["secret"]

    shown = {key["id"] for key in server.call("GET", "/api/keys", key=secret).json["keys"]}
    assert shown == {limited["id"], within["id"]}
    assert server.call("DELETE", f"/api/keys/{wide['id']}", key=secret).status == 404
    assert server.call("DELETE", f"/api/keys/{within['id']}", key=secret).status == 200


def test_a_key_that_becomes_admin_token_goes_with_it(tmp_path: Path):
    with Server(tmp_path, key=None) as server:
        first = server.text.split("sk_live_")[1].split()[0]
    with Server(tmp_path, key=f"sk_live_{first}") as server:
        assert server.v4("GET", "/queues").status == 200
    with Server(tmp_path, key=KEY) as server:
        assert server.v4("GET", "/queues").status == 200
        assert server.v4("GET", "/queues", key=f"sk_live_{first}").status == 401


def test_the_data_directory_is_for_its_owner_only(tmp_path: Path):
    with Server(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert (tmp_path / "data" / "millrace.db").stat().st_mode & 0o077 == 0
