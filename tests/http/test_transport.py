import re

import pytest

from tests.http.wire import UUID4, Wire, assert_failure, assert_refusal, backlog, head, peek, request
from tests.support import KEY

LIMIT = 4 * 1024 * 1024
V4 = "/client/v4/accounts/local"


@pytest.mark.parametrize("key", [None, "wrong", f"{KEY}x", KEY.upper()])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{V4}/queues"),
        ("GET", "/client/v4/nowhere"),
        ("PUT", "/client/v4/user"),
        ("POST", f"{V4}/queues/unknown/messages"),
        ("GET", "/client/v4/accounts/another/queues"),
    ],
)
def test_without_a_valid_key_every_v4_path_answers_401_before_anything_else(server, method, path, key):
    reply = server.call(method, path, b"{not json", key=key)

    assert_failure(reply, 401, 10000)
    assert reply.json["errors"][0]["message"] == "Authentication error"


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/api/keys", "/events", "/nowhere", "/"])
def test_without_a_valid_key_every_other_path_answers_401_in_our_own_shape(server, path):
    assert_refusal(server.call("POST", path, b"{not json", key="wrong"), 401, "UNAUTHORIZED")
    assert_refusal(server.call("GET", path, key=None), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("authorization", ["Basic abc", "Bearer", f"Token {KEY}", KEY, "Bearer  "])
def test_another_authorization_scheme_is_no_key(server, authorization):
    reply = server.v4("GET", "/queues", key=None, headers={"Authorization": authorization})

    assert_failure(reply, 401, 10000)


def test_the_word_bearer_is_read_in_any_case(server):
    assert server.v4("GET", "/queues", key=None, headers={"Authorization": f"bearer {KEY}"}).status == 200


def test_the_old_pair_of_mail_and_key_is_not_accepted(server):
    reply = server.v4("GET", "/queues", key=None, headers={"X-Auth-Email": "a@b.c", "X-Auth-Key": KEY})

    assert_failure(reply, 401, 10000)


def test_a_key_of_one_account_is_forbidden_in_another(server):
    assert_failure(server.v4("GET", "/queues", account="another"), 403, 10000)
    assert_failure(server.v4("POST", "/queues", b"{not json", account="another"), 403, 10000)


def test_an_unknown_route_is_404_7003_and_a_wrong_method_405_7003(server, queue):
    assert_failure(server.v4("GET", "/nowhere"), 404, 7003)
    assert_failure(server.call("GET", "/client/v4"), 404, 7003)
    wrong = server.v4("DELETE", f"/queues/{queue}/messages")
    assert_failure(wrong, 405, 7003)
    assert wrong.headers["allow"] == "POST"


def test_outside_v4_an_unknown_route_and_a_wrong_method_answer_in_our_own_shape(server):
    assert_refusal(server.call("GET", "/nowhere"), 404, "NOT_FOUND")
    assert_refusal(server.call("GET", "/events"), 405, "METHOD_NOT_ALLOWED")


def test_a_wrong_method_on_an_open_route_is_405_too(server):
    assert_refusal(server.call("POST", "/health", {}), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", [f"{V4}//queues", "/client/v4//accounts//local//queues/", f"/{V4}/queues", "//health"])
def test_doubled_slashes_count_as_one(server, path):
    assert server.call("GET", path).status == 200


@pytest.mark.parametrize("path", ["//client/v4/accounts/local/queues/no", "/client//v4/accounts/local/queues/no"])
def test_an_error_behind_doubled_slashes_has_the_v4_envelope(server, path):
    assert_failure(server.call("GET", path), 404, 11000)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "image/png", "nonsense", ""],
)
def test_the_content_type_of_a_request_does_not_matter(server, queue, content_type):
    reply = server.v4("POST", f"/queues/{queue}/messages", {"body": 1}, headers={"Content-Type": content_type})

    assert reply.status == 200


def test_a_delete_may_say_that_its_missing_body_is_json(server, queue):
    reply = server.v4("DELETE", f"/queues/{queue}", headers={"Content-Type": "application/json"})

    assert reply.json == {"success": True, "errors": [], "messages": [], "result": None}


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_an_empty_body_is_an_empty_object_for_pull_and_peek(server, pulled, body):
    for route in ("pull", "peek"):
        assert server.v4("POST", f"/queues/{pulled}/messages/{route}", body).result["messages"] == []


def test_unknown_keys_are_ignored(server, queue):
    assert server.v4("POST", f"/queues/{queue}/messages", {"body": 1, "colour": {"deep": []}}).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
def test_an_encoded_body_is_refused_with_415(server, queue, encoding):
    reply = server.v4("POST", f"/queues/{queue}/messages", {"body": 1}, headers={"Content-Encoding": encoding})

    assert_failure(reply, 415, 10208)
    assert backlog(server, queue)["backlog_count"] == 0


def test_the_identity_encoding_is_none(server, queue):
    reply = server.v4("POST", f"/queues/{queue}/messages", {"body": 1}, headers={"Content-Encoding": "Identity"})

    assert reply.status == 200


def test_a_body_over_4_mib_is_refused_by_its_header_alone(server, queue):
    with Wire(server) as wire:
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", f"Content-Length: {LIMIT + 1}"))

        status, headers, body = wire.answer()

    assert (status, headers["connection"]) == (413, "close")
    assert b'"code":10204' in body


def test_a_client_that_waits_for_100_continue_gets_the_refusal_instead(server, queue):
    with Wire(server) as wire:
        lines = (f"Content-Length: {LIMIT + 1}", "Expect: 100-continue")
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", *lines))

        assert wire.answer()[0] == 413


def test_a_client_that_sends_all_of_an_oversized_body_sees_the_answer_and_no_reset(server, queue):
    reply = server.v4("POST", f"/queues/{queue}/messages", b" " * (LIMIT * 3))

    assert_failure(reply, 413, 10204)


def test_an_oversized_chunked_body_is_refused_while_it_comes(server, queue):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with Wire(server) as wire:
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", "Transfer-Encoding: chunked"))
        for _ in range(8):
            wire.send(chunk)
        wire.send(b"0\r\n\r\n")

        status, _, body = wire.answer()

    assert (status, b'"code":10204' in body) == (413, True)


def test_a_body_of_exactly_4_mib_is_read(server, queue):
    message = b'{"body":1}'

    assert server.v4("POST", f"/queues/{queue}/messages", message + b" " * (LIMIT - len(message))).status == 200
    assert_failure(server.v4("POST", f"/queues/{queue}/messages", b" " * (LIMIT + 1)), 413, 10204)


def test_a_refused_key_is_not_answered_by_reading_its_body(server):
    with Wire(server) as wire:
        wire.send(head("POST", f"{V4}/queues", "Content-Length: 1000000", key="wrong"))

        assert wire.answer()[0] == 401


def test_a_chunked_body_is_a_body(server, queue):
    with Wire(server) as wire:
        wire.send(head("POST", f"{V4}/queues/{queue}/messages", "Transfer-Encoding: chunked"))
        for part in (b'{"bo', b'dy":', b"7}"):
            wire.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        wire.send(b"0\r\n\r\n")

        assert wire.answer()[0] == 200
    assert [message["body"] for message in peek(server, queue)] == ["Nw=="]


def test_every_answer_has_a_correlation_id_of_its_own(server):
    paths = ["/health", f"{V4}/queues", f"{V4}/nowhere", "/nowhere", "/metrics"]
    ids = [server.call("GET", path).headers["x-correlation-id"] for path in paths * 2]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(UUID4, each) for each in ids)


def test_a_correlation_id_that_is_a_uuid_comes_back_and_another_word_does_not(server):
    mine = "0A1B2C3D-1111-2222-8333-444455556666"
    for path in ("/health", f"{V4}/queues", "/nowhere"):
        assert server.call("GET", path, headers={"X-Correlation-ID": mine}).headers["x-correlation-id"] == mine
        for other in ("mine", mine + "0", "", "é", "../../etc"):
            given = server.call("GET", path, headers={"X-Correlation-ID": other}).headers["x-correlation-id"]
            assert re.fullmatch(UUID4, given)


def test_answers_are_json_and_never_say_that_they_are_a_challenge(server):
    for path in ("/health", f"{V4}/queues", f"{V4}/nowhere", "/nowhere"):
        headers = server.call("GET", path).headers
        assert headers["content-type"] == "application/json"
        assert "cf-mitigated" not in headers


def test_refusals_that_cannot_succeed_later_tell_the_sdks_not_to_retry(server, queue):
    name = server.v4("GET", f"/queues/{queue}").result["queue_name"]
    taken = server.v4("POST", "/queues", {"queue_name": name})
    assert_failure(taken, 409, 11009)

    for reply in (taken, server.v4("GET", "/queues/unknown"), server.v4("GET", "/queues", key="wrong")):
        assert reply.headers["x-should-retry"] == "false"


def test_a_connection_serves_many_requests_and_goes_on_after_refusals(server, queue):
    path = f"{V4}/queues/{queue}/messages"
    with Wire(server) as wire:
        for body in ({"body": 1}, b"{not json", {"body": 2}, {}, b"", {"body": 3}):
            wire.send(request("POST", path, body))
            status, headers, _ = wire.answer()
            assert status in (200, 400)
            assert headers.get("connection") != "close"
    assert backlog(server, queue)["backlog_count"] == 3


def test_requests_sent_in_one_go_are_answered_in_order(server, queue):
    path = f"{V4}/queues/{queue}/messages"
    with Wire(server) as wire:
        wire.send(b"".join(request("POST", path, {"body": number}) for number in range(10)))

        counts = [b'"backlog_count":%d' % (number + 1) in wire.answer()[2] for number in range(10)]

    assert counts == [True] * 10


def test_a_request_that_offers_an_upgrade_is_served_without_it(server):
    with Wire(server) as wire:
        for _ in range(2):
            wire.send(request("GET", f"{V4}/queues", None, "Connection: Upgrade", "Upgrade: h2c"))
            assert wire.answer()[0] == 200
