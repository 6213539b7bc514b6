"""What a report of a failure says, and what it leaves out."""

from typing import Any

import pytest

from millrace.errors import StoreUnavailable
from millrace.incidents import is_reported, report_of, step_of
from millrace.runtime.faults import error_of, fault_of
from millrace.stacks import FRAMES_MAX, exceptions_of

BODY = "order of alice@example.com"
JOB = {"account_id": "local", "queue": "slow", "type": "report", "job_id": "j-1", "attempt": 2, "duration_ms": 12.5}
TRAIL = [
    [1_000, "queued", None],
    [2_000, "processing", None],
    [3_000, "retry", "451 for bob@example.com"],
    [4_000, "failed", "550"],
]


def raised(error: Exception, cause: Exception | None = None) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def job_report(**fields: Any) -> dict[str, Any]:
    ended = {**JOB, "outcome": "failed", "reason": "550", "correlation_id": "c-1", "trail": TRAIL}
    return report_of("job.ended", {**ended, **fields}, [step_of(9_000, "message.sent", {"queue": "other"})])


def exception_in(report: dict[str, Any]) -> dict[str, Any]:
    return report["exception"]["values"][-1]


def deep(levels: int) -> None:
    if not levels:
        raise ValueError(BODY)
    deep(levels - 1)


@pytest.mark.parametrize(("outcome", "is_so"), [("failed", 1), ("retried", 1), ("done", 0), ("postponed", 0)])
def test_a_job_is_reported_when_it_failed_or_comes_again(outcome: str, is_so: int) -> None:
    assert is_reported("job.ended", {"outcome": outcome}) == bool(is_so)


def test_steps_are_no_failures() -> None:
    assert not is_reported("message.sent", {"queue": "orders"})


def test_a_job_has_its_own_trail_in_order() -> None:
    steps = job_report()["breadcrumbs"]["values"]

    assert [step["category"] for step in steps] == ["queued", "processing", "retry", "failed"]
    assert steps[0]["timestamp"] == "1970-01-01T00:00:01.000Z"
    assert steps[2]["message"] == "451 for (address)"


def test_a_job_says_which_it_is() -> None:
    report = job_report()

    known = {name: str(JOB[name]) for name in ("account_id", "queue", "type", "job_id", "attempt")}
    assert report["tags"] == {"event": "job.ended", "correlation_id": "c-1", "outcome": "failed", **known}
    assert (report["level"], report["message"]) == ("error", "Job failed: 550")
    assert report["extra"] == {"duration_ms": 12.5}


def test_a_job_that_comes_again_is_a_warning() -> None:
    report = job_report(outcome="retried", reason="451")

    assert (report["level"], report["message"]) == ("warning", "Job failed, and is tried again: 451")


def test_jobs_are_grouped_by_queue_type_and_reason() -> None:
    groups = [job_report(job_id=str(number), attempt=number)["fingerprint"] for number in (1, 2)]

    assert groups[0] == groups[1]
    assert groups[0] != job_report(reason="553")["fingerprint"]


def test_a_trail_without_end_is_cut_to_its_last_hundred() -> None:
    steps = job_report(trail=[[at, "retry", str(at)] for at in range(1_000)])["breadcrumbs"]["values"]

    assert [step["message"] for step in (steps[0], steps[-1])] == ["900", "999"]


def test_what_is_no_job_has_what_was_before() -> None:
    before = [step_of(1, "message.sent", {"queue": "orders", "count": 3, "body": BODY})]

    report = report_of("cron.failed", {"program": "p", "cron": "* * * * *", "error": "no such queue"}, before)

    assert report["breadcrumbs"]["values"] == [
        {"timestamp": "1970-01-01T00:00:00.001Z", "category": "message.sent", "data": {"queue": "orders", "count": 3}}
    ]
    assert report["message"] == "A run of a cron could not be sent: no such queue"


@pytest.mark.parametrize("name", ["handler.failed", "message.failed", "request.failed", "loop.failed"])
def test_the_text_of_anothers_exception_is_left_out(name: str) -> None:
    report = report_of(name, {"queue": "orders", "error": raised(ValueError(BODY), KeyError(BODY))}, [])

    kinds = [(each["type"], each["value"]) for each in report["exception"]["values"]]
    assert kinds == [("KeyError", "(left out)"), ("ValueError", "(left out)")]
    assert "alice" not in str(report)


def test_our_own_sentence_is_told_and_its_cause_only_named() -> None:
    error = raised(StoreUnavailable("the disk is full"), OSError(BODY))

    report = report_of("store.failed", {"error": error}, [])

    assert [each["value"] for each in report["exception"]["values"]] == ["(left out)", "the disk is full"]


def test_our_own_class_raised_by_a_handler_is_left_out() -> None:
    report = report_of("handler.failed", {"error": raised(StoreUnavailable(BODY))}, [])

    assert exception_in(report)["value"] == "(left out)"


def test_frames_name_file_function_and_line_and_nothing_else() -> None:
    [shown] = exceptions_of(raised(ValueError(BODY)))

    [frame] = shown["stacktrace"]["frames"]
    assert (frame["filename"], frame["function"]) == ("test_incidents.py", "raised")
    assert set(frame) == {"filename", "function", "lineno", "in_app", "module"}


def test_an_error_of_another_process_has_its_kind_and_frames() -> None:
    error = error_of(fault_of(raised(LookupError(f"{BODY}\nKeyError: x"))))

    shown = exception_in(report_of("handler.failed", {"error": error}, []))

    assert (shown["type"], shown["value"]) == ("LookupError", "(left out)")
    assert shown["stacktrace"]["frames"][-1]["function"] == "raised"


def test_a_deep_stack_keeps_its_last_frames() -> None:
    with pytest.raises(ValueError, match="order") as caught:
        deep(200)

    [shown] = exceptions_of(caught.value)

    assert [frame["function"] for frame in shown["stacktrace"]["frames"]] == ["deep"] * FRAMES_MAX


def test_an_error_that_causes_itself_comes_to_an_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    assert len(exceptions_of(first)) == 5


def test_a_failed_workflow_keeps_the_text_to_itself() -> None:
    report = report_of(
        "workflow.errored", {"workflow": "orders", "instance_id": "i", "error": f"ValueError: {BODY}"}, []
    )

    assert report["message"] == "Workflow instance failed: (left out)"
    assert report["tags"]["workflow"] == "orders"


def test_a_correlation_id_that_is_an_address_is_scrubbed() -> None:
    fields = {"correlation_id": "alice@example.com", "correlation_ids": ["alice@example.com"]}

    assert "alice" not in str(report_of("handler.failed", {**fields, "error": raised(ValueError())}, []))
