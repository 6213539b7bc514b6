"""What a running server tells of jobs and failures: to its log, to Prometheus and to Sentry."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import wait_until
from tests.sentry_sink import Sink
from tests.support import KEY, Server

PROGRAM = f"{Path(__file__).parent}/reporting_program.py:app"
BODY = {"customer": "alice@example.com", "key": "sk_live_of_the_customer"}
JOB = {"account_id": "local", "queue": "slow", "type": "report", "job_id": "job-1", "correlation_id": "c-1"}
TRAIL = [[1_000, "queued", None], [2_000, "processing", None], [3_000, "retry", "451"], [4_000, "failed", "550"]]


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("reports") / "data"
    environ = {"SENTRY_DSN": sink.dsn, "SENTRY_ENVIRONMENT": "tests"}
    with Server(data, "--app", PROGRAM, "--config", "", environ=environ) as server:
        yield server


def tell(server: Server, *events: tuple[str, dict[str, Any]]) -> None:
    assert server.call("POST", "/told", list(events)).status == 200


def ended(outcome: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    reason = None if outcome == "done" else "550"
    return "job.ended", {**JOB, "attempt": 1, "duration_ms": 40.0, "outcome": outcome, "reason": reason, **fields}


def metrics(server: Server) -> list[str]:
    return server.call("GET", "/metrics").body.decode().splitlines()


def test_a_failing_handler_is_reported_with_what_went_before_and_without_the_body(server: Server, sink: Sink) -> None:
    queue_id = server.v4("GET", "/queues?name=orders").json["result"][0]["queue_id"]

    server.v4("POST", f"/queues/{queue_id}/messages", {"body": BODY})

    report = sink.wait_for("handler.failed")
    [exception] = report["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", "(left out)")
    assert exception["stacktrace"]["frames"][-1]["function"] == "bill"
    steps = [step["category"] for step in report["breadcrumbs"]["values"]]
    assert [step for step in steps if step.startswith("message.")][:2] == ["message.sent", "message.received"]
    assert report["environment"] == "tests"
    sent = b"".join(sink.bodies)
    assert [secret for secret in (b"alice", b"sk_live", KEY.encode()) if secret in sent] == []


def test_a_failed_job_is_reported_with_its_trail_and_who_it_is(server: Server, sink: Sink) -> None:
    tell(server, ended("failed", attempt=3, trail=TRAIL))

    report = sink.wait_for("job.ended")
    assert [step["category"] for step in report["breadcrumbs"]["values"]] == ["queued", "processing", "retry", "failed"]
    known = {tag: report["tags"][tag] for tag in ("queue", "type", "job_id", "attempt")}
    assert known == {"queue": "slow", "type": "report", "job_id": "job-1", "attempt": "3"}


def test_each_attempt_at_a_job_is_a_line_of_the_log_without_its_trail(server: Server) -> None:
    queued = {name: JOB[name] for name in ("account_id", "queue", "type", "job_id", "correlation_id")}

    tell(
        server,
        ("job.queued", queued),
        *[ended(how, trail=TRAIL, job_id="job-2") for how in ("done", "retried", "failed")],
    )

    wait_until(lambda: server.text.count('"job-2"') == 3, 5, "a line is missing")
    lines = [line for line in server.log_lines() if line.get("job_id") == "job-2"]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert lines[0]["message"] == "Job ended"
    assert (lines[2]["duration_ms"], lines[2]["reason"], "trail" in lines[2]) == (40.0, "550", False)
    assert any(line["event"] == "job.queued" for line in server.log_lines())


def test_jobs_are_counted_by_queue_type_and_outcome(server: Server) -> None:
    about = {"queue": "counted", "type": "sums", "trail": []}

    tell(
        server,
        ("job.queued", {**JOB, **about}),
        *[ended(how, **about) for how in ("done", "done", "retried", "postponed")],
        ended("failed", **{**about, "duration_ms": 20_000}),
    )

    lines = metrics(server)
    assert 'millrace_jobs_queued_total{queue="counted",type="sums"} 1.0' in lines
    for outcome, count in (("done", 2), ("retried", 1), ("postponed", 1), ("failed", 1)):
        assert f'millrace_jobs_total{{outcome="{outcome}",queue="counted",type="sums"}} {count}.0' in lines
    assert 'millrace_job_seconds_bucket{le="0.05",queue="counted",type="sums"} 4.0' in lines
    assert 'millrace_job_seconds_bucket{le="30",queue="counted",type="sums"} 5.0' in lines


def test_every_account_sees_which_servers_are_left_alone(server: Server) -> None:
    other = server.call("POST", "/api/keys", {"role": "consumer", "account_id": "other"}).json

    tell(server, ("target.opened", {"target": "printer", "seconds": 30}), ("target.closed", {"target": "copier"}))

    for key in (KEY, other["secret"]):
        lines = server.call("GET", "/metrics", key=key).body.decode().splitlines()
        assert 'millrace_target_open{target="printer"} 1.0' in lines
        assert 'millrace_target_open{target="copier"} 0.0' in lines
        assert 'millrace_target_opened_total{target="printer"} 1.0' in lines


def test_a_server_that_comes_back_is_shown_as_such(server: Server) -> None:
    tell(server, ("target.opened", {"target": "scanner", "seconds": 30}), ("target.closed", {"target": "scanner"}))

    lines = metrics(server)
    assert 'millrace_target_open{target="scanner"} 0.0' in lines
    assert 'millrace_target_opened_total{target="scanner"} 1.0' in lines


def test_a_full_disk_is_reported_besides_the_answer_of_503(server: Server, sink: Sink) -> None:
    queue_id = server.create_queue("full")
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1024, hard))
    try:
        answer = server.v4("POST", f"/queues/{queue_id}/messages", {"body": BODY})
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    report = sink.wait_for("store.failed")
    assert answer.status == 503
    assert report["exception"]["values"][-1]["type"] == "StoreUnavailable"
    wait_until(lambda: '"event":"store.failed"' in server.text, 5, "the log does not say so")
    assert b"alice" not in b"".join(sink.bodies)


def test_a_start_with_a_dsn_that_is_none_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", environ={"SENTRY_DSN": "http://the-secret-key@host"}).start(wait=False)

    code = server.process.wait(20)

    wait_until(lambda: "SENTRY_DSN" in server.text, 5, "nothing is said")
    assert code == 1
    assert "the-secret-key" not in server.text
