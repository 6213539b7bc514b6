from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from millrace.client.retries import Retries
from millrace.edge_jobs import EdgeConfig, EdgeJobClient, Job, JobStats
from millrace.errors import InvalidInput, MillraceError, ObjectNotFound, ServerUnreachable, Unauthenticated

JOB = {"id": "job-1", "runId": "run-1", "tenantId": "acme", "r2Key": "uploads/acme/run-1/a.pdf", "attempts": 2}
REFUSAL = {"success": False, "error": {"code": "VALIDATION_ERROR", "message": "max is 0; expected 1 to 100"}}


def _client(server: HTTPServer | str, pauses: list[float] | None = None, **more: Any) -> EdgeJobClient:
    url = server if isinstance(server, str) else server.url_for("").rstrip("/")
    config = EdgeConfig(base_url=url, api_token="the-token", batch_size=7, visibility_timeout=90)
    return EdgeJobClient(config, chance=lambda: 1.0, sleep=(pauses if pauses is not None else []).append, **more)


def _sent(server: HTTPServer) -> list[Any]:
    return [request.get_json() for request, _ in server.log]


def test_a_pull_carries_token_batch_size_and_visibility(httpserver: HTTPServer) -> None:
    """S2-26, S2-27, S2-36."""
    bearer = {"Authorization": "Bearer the-token"}
    httpserver.expect_request("/jobs/pull", "POST", headers=bearer).respond_with_json({"jobs": [JOB]})

    [job] = _client(httpserver).pull()
    _client(httpserver).pull(max=1, visibility_seconds=5)

    assert _sent(httpserver) == [{"max": 7, "visibilitySeconds": 90}, {"max": 1, "visibilitySeconds": 5}]
    assert (job.id, job.run_id, job.tenant_id, job.r2_key, job.attempts) == tuple(JOB.values())
    assert (job.runId, job.tenantId, job.r2Key, job.leaseId) == ("run-1", "acme", JOB["r2Key"], None)


def test_an_ack_says_what_became_of_jobs(httpserver: HTTPServer) -> None:
    """S2-28."""
    results = [{"id": "a", "ok": True, "status": "done"}, {"id": "b", "ok": False, "reason": "unknown_id"}]
    httpserver.expect_request("/jobs/ack", "POST").respond_with_json({"success": True, "results": results})

    settled = _client(httpserver).ack(["a", "b"], status="done")
    _client(httpserver).ack(["a"], "failed", "no such page", ["lease"], postpone_seconds=5)

    assert [(result.id, result.ok, result.reason) for result in settled] == [
        ("a", True, None),
        ("b", False, "unknown_id"),
    ]
    assert _sent(httpserver) == [
        {"ids": ["a", "b"], "status": "done"},
        {"ids": ["a"], "status": "failed", "error": "no such page", "leaseIds": ["lease"], "postponeSeconds": 5},
    ]


def test_stats_are_numbers(httpserver: HTTPServer) -> None:
    stats = {"pending": 1, "leased": 2, "done": 3, "failed": 4}
    httpserver.expect_request("/jobs/stats").respond_with_json({"stats": stats, "timestamp": "2026-01-01T00:00:00Z"})

    assert _client(httpserver).stats() == JobStats(**stats)


def test_a_job_that_is_added_again_after_a_lost_answer_has_the_same_key(httpserver: HTTPServer) -> None:
    path = "/jobs/enqueue"
    httpserver.expect_ordered_request(path, "POST").respond_with_data("", status=502)
    httpserver.expect_ordered_request(path, "POST").respond_with_json({"success": True, "jobId": "job-1"})

    assert _client(httpserver).enqueue("run-1", "acme", "key") == "job-1"

    [first, second] = [request.headers["Idempotency-Key"] for request, _ in httpserver.log]
    assert first == second


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_that_is_busy_or_broken_is_asked_again(httpserver: HTTPServer, status: int) -> None:
    """S2-29."""
    pauses: list[float] = []
    for _ in range(3):
        httpserver.expect_ordered_request("/jobs/pull").respond_with_data("", status=status)
    httpserver.expect_ordered_request("/jobs/pull").respond_with_json({"jobs": []})

    assert _client(httpserver, pauses).pull() == []
    assert pauses == [0.25, 0.5, 1]


def test_what_the_server_asks_for_is_the_pause(httpserver: HTTPServer) -> None:
    pauses: list[float] = []
    httpserver.expect_ordered_request("/jobs/pull").respond_with_data("", status=429, headers={"Retry-After": "7"})
    httpserver.expect_ordered_request("/jobs/pull").respond_with_json({"jobs": []})

    _client(httpserver, pauses).pull()

    assert pauses == [7]


def test_a_token_that_is_refused_is_not_tried_again(httpserver: HTTPServer) -> None:
    """S2-29."""
    httpserver.expect_request("/jobs/pull").respond_with_json({"error": {"code": "UNAUTHORIZED", "message": "no"}}, 401)

    with pytest.raises(Unauthenticated):
        _client(httpserver).pull()

    assert len(httpserver.log) == 1


def test_a_refusal_is_the_error_it_stands_for(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/jobs/pull").respond_with_json(REFUSAL, 400)

    with pytest.raises(InvalidInput, match="max is 0"):
        _client(httpserver).pull(max=0)


def test_a_server_that_is_away_is_tried_for_a_bounded_time() -> None:
    pauses: list[float] = []

    with pytest.raises(ServerUnreachable):
        _client("http://127.0.0.1:9", pauses, retries=Retries(count=5, cap_seconds=2)).pull()

    assert pauses == [0.25, 0.5, 1, 2, 2]


def test_an_upload_that_is_not_there_is_told_by_its_own_error(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/uploads/run-1/content").respond_with_json(
        {"error": {"code": "NOT_FOUND", "message": "no object"}}, 404
    )
    job = Job(id="job-1", run_id="run-1", tenant_id="acme", r2_key="key")

    with pytest.raises(ObjectNotFound, match="run-1"):
        _client(httpserver).download(job)


def test_an_upload_is_announced_and_its_bytes_are_put_where_the_server_says(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    file = tmp_path / "Bericht.pdf"
    file.write_bytes(b"%PDF-" + b"x" * 100_000)
    made = {"runId": "run-1", "jobId": "job-1", "r2Key": "key", "uploadUrl": "/uploads/run-1/content?signature=s"}
    put: list[bytes] = []

    def take(request: Request) -> Response:
        put.append(request.get_data())
        return Response(status=200)

    httpserver.expect_request("/uploads/create", "POST").respond_with_json({"success": True, **made}, 201)
    httpserver.expect_request(
        "/uploads/run-1/content", "PUT", query_string="signature=s", headers={"Content-Type": "application/pdf"}
    ).respond_with_handler(take)

    upload = _client(httpserver).upload(file, "acme")

    assert upload.run_id == "run-1"
    assert put == [file.read_bytes()]
    assert httpserver.log[0][0].get_json() == {
        "contentType": "application/pdf",
        "filename": "Bericht.pdf",
        "tenantId": "acme",
        "size": 100_005,
    }


def test_bytes_that_are_refused_are_told_without_the_signature(httpserver: HTTPServer, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("x")
    url = httpserver.url_for("/put?signature=secret")
    made = {"runId": "run-1", "jobId": "job-1", "r2Key": "key", "uploadUrl": url}
    httpserver.expect_request("/uploads/create").respond_with_json(made, 201)
    httpserver.expect_request("/put").respond_with_data("no", status=403)

    with pytest.raises(MillraceError) as refused:
        _client(httpserver).upload(file, "acme")

    assert "secret" not in str(refused.value)
