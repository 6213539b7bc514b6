"""Uploads as a client app and an agent see them. The row ids stand for the requirements that a test holds."""

import json
import re
import time
from urllib.parse import parse_qs, parse_qsl

import jwt
import pytest
from pytest_httpserver import HTTPServer

from millrace.apps.jobs import uploads
from millrace.apps.jobs.signing import path_of as path_of_ticket
from millrace.apps.jobs.upload_routes import UploadRoutes, UploadRules
from millrace.apps.jobs.uploads import Announced
from millrace.errors import Forbidden
from millrace.http.request import Head, Request
from millrace.resources.objects.files import FileObjects
from tests.apps.job_rooms import ACCOUNT, open_rooms
from tests.http.wire import Wire, assert_refusal
from tests.support import KEY, Server

SECRET = "the-secret-that-backend-and-agent-share"
MAX_BYTES = 200_000
ANNOUNCED = {"contentType": "application/pdf", "filename": "report.pdf", "tenantId": "acme"}
PDF = b"%PDF-1.7 and what follows"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    environ = {"JWT_SECRET": SECRET, "UPLOAD_MAX_BYTES": str(MAX_BYTES)}
    with Server(tmp_path_factory.mktemp("uploads") / "data", environ=environ) as running:
        running.key = SECRET
        yield running


def create(server, **more):
    return server.call("POST", "/uploads/create", {**ANNOUNCED, **more})


def path_of(server, reply):
    return reply.json["uploadUrl"].removeprefix(server.url)


def put(server, path, body=PDF, content_type="application/pdf", **more):
    return server.call("PUT", path, body, key=None, headers={"Content-Type": content_type}, **more)


def stored(server):
    """Give the names of the files that are kept or arrive."""
    return sorted(path.name for path in (server.data / "objects").rglob("*") if path.is_file())


def test_an_upload_has_a_run_a_job_and_a_url(server):
    """S2-18, S2-17, X11, X63: the job is there before the bytes are."""
    before = server.call("GET", "/jobs/stats").json["stats"]["pending"]

    reply = create(server)

    assert reply.status == 201
    assert list(reply.json) == ["success", "runId", "jobId", "r2Key", "uploadUrl"]
    run = reply.json["runId"]
    assert reply.json["r2Key"] == f"uploads/acme/{run}/report.pdf"
    assert server.call("GET", "/jobs/stats").json["stats"]["pending"] == before + 1
    jobs = server.call("POST", "/jobs/pull", {"max": 100}).json["jobs"]
    [job] = [job for job in jobs if job["id"] == reply.json["jobId"]]
    assert (job["runId"], job["tenantId"], job["r2Key"]) == (run, "acme", reply.json["r2Key"])
    state = server.call("GET", f"/runs/{run}").json
    assert (state["status"], state["jobId"], state["objectBytes"]) == ("leased", reply.json["jobId"], None)


def test_the_url_leads_to_where_the_request_came_to(server):
    """S2-18."""
    created = create(server)

    assert created.json["uploadUrl"].startswith(f"{server.url}/uploads/{created.json['runId']}/content?")


def test_what_is_put_to_the_url_without_a_key_is_what_the_agent_reads(server):
    """S2-19."""
    created = create(server)
    body = bytes(range(256)) * 700

    stored_ = put(server, path_of(server, created), body)
    read = server.call("GET", f"/uploads/{created.json['runId']}/content")

    assert stored_.status == 200, stored_.body
    assert (stored_.json["success"], stored_.json["size"], stored_.json["r2Key"]) == (
        True,
        179_200,
        created.json["r2Key"],
    )
    assert (read.status, read.headers["content-type"], read.body) == (200, "application/pdf", body)
    assert read.headers["content-disposition"] == "attachment"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert server.call("GET", f"/runs/{created.json['runId']}").json["objectBytes"] == 179_200


def test_an_upload_that_is_not_there_yet_is_not_found(server):
    """X63."""
    run = create(server).json["runId"]

    assert_refusal(server.call("GET", f"/uploads/{run}/content"), 404, "NOT_FOUND")
    assert_refusal(server.call("GET", "/uploads/nothing/content"), 404, "NOT_FOUND")


def test_a_path_in_the_name_does_not_leave_the_prefix(server):
    """S2-21."""
    created = create(server, filename="../../../../x.pdf", tenantId="../up")

    key = created.json["r2Key"]
    assert re.fullmatch(rf"uploads/_up~[0-9a-f]{{16}}/{created.json['runId']}/x\.pdf", key)
    assert put(server, path_of(server, created)).status == 200
    assert (server.data / "objects" / "kept" / key).read_bytes() == PDF


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"contentType": "application/x-msdownload"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"contentType": ""}, 400, "VALIDATION_ERROR"),
        ({"size": 10_000_000_000}, 413, "PAYLOAD_TOO_LARGE"),
        ({"size": -1}, 400, "VALIDATION_ERROR"),
        ({"tenantId": ""}, 400, "VALIDATION_ERROR"),
        ({"filename": 1}, 400, "VALIDATION_ERROR"),
        ({"filename": "x" * 1025}, 400, "VALIDATION_ERROR"),
    ],
    ids=str,
)
def test_an_upload_that_is_not_allowed_is_refused_and_makes_no_job(server, change, status, code):
    """S2-21."""
    before = server.call("GET", "/jobs/stats").json["stats"]

    assert_refusal(create(server, **change), status, code)
    assert server.call("GET", "/jobs/stats").json["stats"] == before


def test_more_than_the_limit_is_refused_and_nothing_of_it_is_kept(server):
    """S2-21: told by its length, and told while it comes."""
    told, untold = path_of(server, create(server)), path_of(server, create(server))
    before = stored(server)

    by_length = put(server, told, b"x" * (MAX_BYTES + 1))
    with Wire(server) as wire:
        wire.send(f"PUT {untold} HTTP/1.1\r\nHost: here\r\nContent-Type: application/pdf\r\n".encode())
        wire.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            wire.send(b"c350\r\n" + b"x" * 50_000 + b"\r\n")
        status, _, body = wire.answer()

    assert_refusal(by_length, 413, "PAYLOAD_TOO_LARGE")
    assert (status, json.loads(body)["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert stored(server) == before


def test_an_upload_that_breaks_off_leaves_nothing(server):
    """S2-19."""
    path, before = path_of(server, create(server)), stored(server)

    with Wire(server) as wire:
        wire.send(
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: 900\r\n\r\nhalf".encode()
        )

    until = time.monotonic() + 5
    while stored(server) != before and time.monotonic() < until:
        time.sleep(0.02)
    assert stored(server) == before
    assert put(server, path).status == 200


def test_another_type_than_was_announced_is_refused(server):
    """S2-21."""
    path = path_of(server, create(server))

    assert_refusal(put(server, path, content_type="text/html"), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert put(server, path, content_type="application/PDF; version=1.7").status == 200


def test_a_url_that_was_changed_or_is_anothers_is_refused(server):
    """S2-19."""
    path, other = path_of(server, create(server)), path_of(server, create(server))
    route, query = path.split("?")
    pairs = dict(parse_qsl(query))

    answers = [
        put(server, f"{route}?expires={int(pairs['expires']) + 9}&signature={pairs['signature']}"),
        put(server, f"{route}?expires={pairs['expires']}&signature={pairs['signature'][:-1]}0x"),
        put(server, f"{route}?expires={pairs['expires']}&signature="),
        put(server, f"{other.split('?')[0]}?{query}"),
        put(server, f"/uploads/nothing/content?{query}"),
        server.call("PUT", f"{route}?signature=x", PDF, headers={"Content-Type": "application/pdf"}),
    ]

    for reply in answers:
        assert_refusal(reply, 403, "FORBIDDEN")
    assert put(server, route).status == 401
    assert put(server, f"{route}?xsignature={pairs['signature']}").status == 401
    assert server.call("GET", path, key=None).status == 401


async def test_a_url_holds_for_an_hour(tmp_path):
    """S2-19: then it is refused, whoever has it."""
    async with open_rooms(tmp_path) as rooms:
        rules = UploadRules(("application/pdf",), MAX_BYTES, None, ACCOUNT)
        door = UploadRoutes(rooms.platform, FileObjects(tmp_path / "objects"), rules, None)
        announced = Announced(tenant_id="acme", content_type="application/pdf", filename="a.pdf", max_bytes=MAX_BYTES)
        created = await rooms.do(lambda work: uploads.create(work, ACCOUNT, announced))

        rooms.clock.advance(3_599)
        in_time = await door.put_content(None, a_put(path_of_ticket(created.ticket)))
        rooms.clock.advance(1)

        assert in_time.status == 200
        with pytest.raises(Forbidden, match="has expired"):
            await door.put_content(None, a_put(path_of_ticket(created.ticket)))


def a_put(path):
    """Make the request of a PUT as the door hands it on."""

    async def receive():
        return {"type": "http.request", "body": PDF}

    route, query = path.split("?")
    head = Head(None, len(PDF), b"", "", None)
    return Request(None, route, query.encode(), {"runId": route.split("/")[2]}, head, receive)


def test_a_key_uploads_without_a_signature_what_it_may_see(server):
    """S2-57."""
    route = path_of(server, create(server, tenantId="globex")).split("?")[0]
    tokens = {
        tenant: jwt.encode({"role": "producer", "tenant": tenant, "exp": time.time() + 60}, SECRET)
        for tenant in ("acme", "globex")
    }
    headers = {"Content-Type": "application/pdf"}

    answers = [server.call("PUT", route, PDF, headers=headers, key=key).status for key in (*tokens.values(), SECRET)]

    assert answers == [404, 200, 200]
    assert_refusal(server.call("PUT", "/uploads/nothing/content", PDF, headers=headers), 404, "NOT_FOUND")


def test_a_tenants_agent_reads_that_tenants_uploads_only(server):
    """S2-57: neither by itself nor by a run that an agent of all tenants would read the object for."""
    created = create(server, tenantId="globex")
    put(server, path_of(server, created))
    mine = jwt.encode({"role": "agent", "tenant": "acme", "exp": time.time() + 60}, SECRET)
    stealing = {"tenantId": "acme", "r2Key": created.json["r2Key"], "runId": "steals"}

    assert server.call("GET", f"/uploads/{created.json['runId']}/content", key=mine).status == 404
    assert server.call("POST", "/runs", stealing, key=mine).status == 403
    assert server.call("POST", "/jobs/enqueue", stealing, key=mine).status == 403
    assert server.call("POST", "/runs", {**stealing, "r2Key": "elsewhere/1.pdf"}, key=mine).status == 201


def test_a_producer_does_not_read_uploads(server):
    """X12."""
    producer = jwt.encode({"role": "producer", "exp": time.time() + 60}, SECRET)

    assert_refusal(server.call("GET", "/uploads/x/content", key=producer), 403, "FORBIDDEN")


ODD_ANSWERS = {
    "list": "[]",
    "page": "<html>",
    "deep": '{"success": true, "a": ' + "[" * 50_000,
    "text": '{"success": "true"}',
    "bytes": b"\xff",
}


@pytest.fixture(scope="module")
def turnstile(tmp_path_factory):
    """A server with Turnstile, and the siteverify that it asks: it likes one token."""
    with HTTPServer() as siteverify:
        siteverify.expect_request(
            "/siteverify", method="POST", data="secret=site-secret&response=good"
        ).respond_with_json({"success": True})
        for token, answer in ODD_ANSWERS.items():
            siteverify.expect_request("/siteverify", data=f"secret=site-secret&response={token}").respond_with_data(
                answer
            )
        siteverify.expect_request("/siteverify").respond_with_json({"success": False, "error-codes": ["invalid"]})
        environ = {
            "TURNSTILE_SECRET": "site-secret",
            "TURNSTILE_URL": siteverify.url_for("/siteverify"),
            "PUBLIC_URL": "https://jobs.example.com/",
        }
        with Server(tmp_path_factory.mktemp("turnstile") / "data", environ=environ, key=KEY) as running:
            yield running, siteverify


def test_with_turnstile_a_good_token_stands_for_a_key(turnstile):
    """S2-22, S2-54, X07."""
    server, siteverify = turnstile
    forms = [{"turnstileToken": "good"}, {"cf-turnstile-response": "good"}]

    replies = [server.call("POST", "/uploads/create", {**ANNOUNCED, **form}, key=None) for form in forms]

    assert [reply.status for reply in replies] == [201, 201]
    asked = [parse_qs(request.get_data(as_text=True)) for request, _ in siteverify.log[-2:]]
    assert asked == [{"secret": ["site-secret"], "response": ["good"]}] * 2
    assert replies[0].json["uploadUrl"].startswith("https://jobs.example.com/uploads/")


@pytest.mark.parametrize("token", [None, "", "bad", "x" * 2049, *ODD_ANSWERS])
def test_with_turnstile_a_missing_or_bad_token_is_refused(turnstile, token):
    """S2-22."""
    server, _ = turnstile
    form = {**ANNOUNCED, "turnstileToken": token}

    assert_refusal(server.call("POST", "/uploads/create", form, key=None), 403, "FORBIDDEN")
    assert "site-secret" not in server.text


def test_with_turnstile_a_key_needs_no_token_and_a_wrong_key_is_refused(turnstile):
    """S2-22."""
    server, siteverify = turnstile
    asked = len(siteverify.log)

    assert server.call("POST", "/uploads/create", ANNOUNCED).status == 201
    assert server.call("POST", "/uploads/create", ANNOUNCED, key="wrong").status == 401
    assert len(siteverify.log) == asked


def test_with_turnstile_out_of_reach_nobody_without_a_key_gets_in(turnstile):
    """S2-22."""
    server, siteverify = turnstile
    siteverify.clear()

    reply = server.call("POST", "/uploads/create", {**ANNOUNCED, "turnstileToken": "good"}, key=None)

    assert_refusal(reply, 503, "SERVICE_UNAVAILABLE")


def test_a_key_that_no_object_can_have_is_not_found(server):
    server.call("POST", "/runs", {"tenantId": "acme", "r2Key": "no/../key", "runId": "keyless"})

    assert_refusal(server.call("GET", "/uploads/keyless/content"), 404, "NOT_FOUND")
