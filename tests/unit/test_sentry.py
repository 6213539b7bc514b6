"""Reports reach a server that takes them, and cost nobody anything when it does not."""

import socket
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import sentry_sdk

from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.sentry import HEARD, WAITING_REPORTS, Reporter, make_reporter
from millrace.telemetry import Telemetry
from tests.sentry_sink import Sink

JOB = {"account_id": "local", "queue": "slow", "type": "report", "job_id": "j", "attempt": 1, "duration_ms": 1.0}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


class Hearing:
    """Telemetry with a reporter to a DSN, and what it tells itself."""

    def __init__(self, dsn: str) -> None:
        self.telemetry, self.told = Telemetry(), []
        self.reporter = reporter_for(dsn, self._tell)
        self.telemetry.subscribe(self.reporter, *HEARD)

    def _tell(self, name: str, **fields: Any) -> None:
        self.told.append((name, fields))

    def fail(self, **fields: Any) -> None:
        ended = {**JOB, "outcome": "failed", "reason": "550", "correlation_id": "c", "trail": []}
        self.telemetry.emit("job.ended", **{**ended, **fields})


def reporter_for(dsn: str, tell: Any = lambda name, **fields: None) -> Reporter:
    return make_reporter(dsn, "test", "millrace@1", lambda: 1_000, tell)


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def test_a_failure_arrives_with_release_and_environment_and_without_the_machines_name(sink):
    hearing = Hearing(sink.dsn)

    hearing.fail()
    hearing.reporter.close()

    [event] = sink.events
    assert (event["release"], event["environment"], event["message"]) == ("millrace@1", "test", "Job failed: 550")
    assert "server_name" not in event
    assert socket.gethostname().encode() not in sink.bodies[0]


def test_the_trail_of_a_job_arrives_in_order_and_whole(sink):
    hearing = Hearing(sink.dsn)

    hearing.fail(trail=[[at, "retry", f"reason {at}"] for at in range(60)])
    hearing.reporter.close()

    steps = sink.events[0]["breadcrumbs"]["values"]
    assert [step["message"] for step in steps] == [f"reason {at}" for at in range(60)]


def test_what_happened_in_the_queues_arrives_with_a_failure_of_the_store(sink):
    hearing = Hearing(sink.dsn)
    for name in ("message.sent", "message.received", "message.acked", "message.released"):
        hearing.telemetry.emit(name, account_id="local", queue="orders", count=1)

    hearing.telemetry.emit("store.failed", error=StoreUnavailable("the disk is full"))
    hearing.reporter.close()

    steps = sink.events[0]["breadcrumbs"]["values"]
    assert [step["category"].partition(".")[2] for step in steps] == ["sent", "received", "acked", "released"]


def test_of_a_failing_store_one_report_a_second_goes_out(sink):
    hearing = Hearing(sink.dsn)

    for _ in range(50):
        hearing.telemetry.emit("store.failed", error=StoreUnavailable("the disk is full"))
    hearing.reporter.close()

    assert len(sink.events) == 1


def test_a_thousand_failing_jobs_leave_no_more_than_a_hundred_steps_behind(sink):
    hearing = Hearing(sink.dsn)

    for number in range(1_000):
        hearing.fail(job_id=str(number), trail=[[number, "failed", "550"]])

    assert len(hearing.reporter._before) == 100
    assert all("trail" not in step["data"] for step in hearing.reporter._before)
    hearing.reporter.close()


def test_a_server_that_never_answers_holds_up_neither_events_nor_a_stop():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hearing = Hearing(f"http://key@127.0.0.1:{deaf.getsockname()[1]}/1")
        hearing.fail()
        began = monotonic()

        for _ in range(WAITING_REPORTS * 3):
            hearing.fail()
        hearing.reporter._client.close(0.1)

        assert monotonic() - began < 2
        assert [name for name, _ in hearing.told] == ["report.dropped"]


def test_a_server_that_is_away_is_told_of_once(caplog):
    hearing = Hearing(f"http://key@127.0.0.1:{free_port()}/1")

    for _ in range(5):
        hearing.fail()
    hearing.reporter.close()

    assert hearing.told == [("report.dropped", {"count": 1, "reason": "network"})]
    assert caplog.records == []


def test_nothing_is_sent_to_a_server_that_asks_for_a_pause(sink):
    sink.status = 429
    hearing = Hearing(sink.dsn)
    hearing.fail()
    hearing.reporter._client.flush(2)

    hearing.fail()
    hearing.reporter.close()

    assert len(sink.bodies) == 1
    assert hearing.told[0] == ("report.dropped", {"count": 1, "reason": "status_429"})


def test_a_failure_after_the_end_is_not_in_the_way(sink):
    hearing = Hearing(sink.dsn)
    hearing.reporter.close()

    hearing.fail()

    assert sink.events == []


@pytest.mark.parametrize(
    "dsn", ["secret-key", "http://secret-key/1", "http://secret-key@host/x", "ftp://secret-key@h/1"]
)
def test_a_dsn_that_is_none_is_refused_without_being_shown(dsn):
    with pytest.raises(ConfigurationError, match="SENTRY_DSN is not of the form") as refused:
        reporter_for(dsn)

    assert "secret-key" not in str(refused.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    with pytest.raises(ConfigurationError, match=r"install millrace\[sentry\]"):
        reporter_for("http://key@host/1")


def test_the_sdk_of_the_program_is_left_alone(sink):
    hook = sys.excepthook
    reporter_for(sink.dsn).close()

    assert not sentry_sdk.is_initialized()
    assert sys.excepthook is hook
