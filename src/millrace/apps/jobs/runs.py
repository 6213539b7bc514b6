"""Runs: what a client follows. Each change of a run is a version of its state, written with the change itself."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from millrace.apps.jobs.statuses import Seen, look, status_of
from millrace.clock import iso_milliseconds
from millrace.coordination import states
from millrace.errors import Conflict, NotFound
from millrace.sql.transaction import Row
from millrace.work import Work

STATE = "run"  # the kind of the states


class Change(NamedTuple):
    """What became of a job. `status` is pending, leased, done or failed."""

    status: str
    attempts: int = 0
    error: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run in short, as its followers see it. Times are ISO 8601 in UTC; sizes None while there is nothing."""

    run_id: str
    tenant_id: str
    r2_key: str
    status: str
    job_id: str
    attempts: int
    error: str | None
    object_bytes: int | None
    text_bytes: int | None
    created_at: str
    updated_at: str


class Result(NamedTuple):
    """What an agent made of a run: its text, or the key of the object that the text is in; any JSON value."""

    text: str | None = None
    text_key: str | None = None
    json: bytes | None = None


class _Run(NamedTuple):
    id: str
    tenant_id: str
    r2_key: str
    job_id: str
    stage: str | None
    text_bytes: int | None
    object_bytes: int | None
    created_at_ms: int


def start(work: Work, account_id: str, *, run_id: str, tenant_id: str, r2_key: str, job_id: str) -> None:
    """Let a job be the latest of its run, which is made when it is not there.

    Raises:
        Conflict: the run is another tenant's.
    """
    bindings = {"account_id": account_id, "id": run_id, "r2_key": r2_key, "job_id": job_id}
    row = work.fetch_one("run_tenant", (account_id, run_id))
    if row is None:
        work.apply("insert_run", {**bindings, "tenant_id": tenant_id, "now_ms": work.now_ms})
        work.note(account_id, "run.created", f"run {run_id}", tenant=tenant_id, job=job_id)
    elif row[0] != tenant_id:
        raise Conflict(f"runId is {run_id!r}, a run of another tenant; choose another")
    else:
        work.apply("set_run_job", bindings)


def tell(work: Work, account_id: str, run_ids: Collection[str], changes: Mapping[str, Change]) -> None:
    """Tell the followers of runs what became of jobs, by their ids; a run follows the latest of its jobs."""
    ids = sorted(run_ids)
    if work.tx.shares:
        work.fetch("lock_runs", {"account_id": account_id, "run_ids": work.tx.array(ids)})
    changed = [run for run in _runs(work, account_id, ids) if run.job_id in changes]
    for run in changed:
        if run.stage is not None:
            work.apply("clear_stage", (account_id, run.id))
        _put(work, account_id, _summary(run, changes[run.job_id], work.now_ms))


def find(work: Work, account_id: str, run_id: str, tenant: str | None) -> Summary:
    """Give a run as it is now.

    Raises:
        NotFound: the account, or the tenant when there is one, has no such run.
    """
    run = _one(work, account_id, run_id, tenant)
    state = states.get(work.tx, account_id, STATE, run_id)
    return _summary(run, _present(work, account_id, run), state.at_ms if state else run.created_at_ms)


def result_of(work: Work, account_id: str, run_id: str) -> Result:
    """Give what was stored for a run."""
    row = work.fetch_one("run_result", (account_id, run_id))
    return Result() if row is None else Result(row[0], row[1], row[2] and row[2].encode())


def store_result(
    work: Work,
    account_id: str,
    run_id: str,
    tenant: str | None,
    *,
    stage: str | None,
    text_bytes: int | None,
    result: Result,
) -> Summary:
    """Keep what an agent says of a run and tell its followers; what is None stays as it was.

    Raises:
        NotFound: as for `find`.
    """
    run = _one(work, account_id, run_id, tenant)
    work.apply("set_run_result", (stage, text_bytes, account_id, run_id))
    work.apply(
        "save_run_result", (account_id, run_id, result.text, result.text_key, result.json and result.json.decode())
    )
    run = _one(work, account_id, run.id, tenant)
    return _put(work, account_id, _summary(run, _present(work, account_id, run), work.now_ms))


def object_arrived(work: Work, account_id: str, run_id: str, size: int) -> None:
    """Note the size of a run's object, and tell its followers."""
    work.apply("run_object_arrived", (size, account_id, run_id))
    run = _one(work, account_id, run_id, None)
    _put(work, account_id, _summary(run, _present(work, account_id, run), work.now_ms))


def _one(work: Work, account_id: str, run_id: str, tenant: str | None) -> _Run:
    for run in _runs(work, account_id, [run_id]):
        if tenant in (None, run.tenant_id):
            return run
    raise NotFound(f"run {run_id[:128]!r} does not exist")


def _runs(work: Work, account_id: str, run_ids: Collection[str]) -> list[_Run]:
    bindings = {"account_id": account_id, "run_ids": work.tx.array(run_ids)}
    rows: list[Row] = work.fetch("runs_with_ids", bindings)
    return [
        _Run(*row) for row in sorted(rows)
    ]  # in one order for all servers, so that none waits for another in a ring


def _present(work: Work, account_id: str, run: _Run) -> Change:
    """Look up what the run's job does now; while it is leased, the agent may have said more precisely."""
    seen: Seen = look(work, account_id, [run.job_id])[run.job_id]
    status = status_of(work, account_id, seen)
    shown = run.stage if status == "leased" and run.stage is not None else status
    return Change(shown, seen.attempts, seen.error)


def _summary(run: _Run, change: Change, updated_at_ms: int) -> Summary:
    return Summary(
        run_id=run.id,
        tenant_id=run.tenant_id,
        r2_key=run.r2_key,
        status=change.status,
        job_id=run.job_id,
        attempts=change.attempts,
        error=change.error,
        object_bytes=run.object_bytes,
        text_bytes=run.text_bytes,
        created_at=iso_milliseconds(run.created_at_ms),
        updated_at=iso_milliseconds(updated_at_ms),
    )


def _put(work: Work, account_id: str, summary: Summary) -> Summary:
    states.put(work.tx, account_id, STATE, summary.run_id, msgspec.to_builtins(summary), work.now_ms)
    return summary
