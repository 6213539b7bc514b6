"""The answers of the application's routes, as they are on the wire."""

from typing import Literal

import msgspec

from millrace.apps.jobs.runs import Summary
from millrace.apps.jobs.settling import Verdict


class Enqueued(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A job that is in the queue."""

    success: Literal[True] = True
    job_id: str
    run_id: str
    status: str


class PulledJob(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A job under a lease; `attempts` counts deliveries, this one included."""

    id: str
    run_id: str
    tenant_id: str
    r2_key: str
    attempts: int
    lease_id: str


class PulledJobs(msgspec.Struct, frozen=True):
    """The jobs that were leased."""

    jobs: list[PulledJob]


class JobResults(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each job, in the order of the ids."""

    success: Literal[True] = True
    results: list[Verdict]


class JobStats(msgspec.Struct, frozen=True):
    """How many jobs there are by status."""

    stats: dict[str, int]
    timestamp: str


class UploadCreated(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A run with its job, and where its object is to be put."""

    success: Literal[True] = True
    run_id: str
    job_id: str
    r2_key: str
    upload_url: str


class UploadArrived(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """That an object is on disk."""

    success: Literal[True] = True
    run_id: str
    r2_key: str
    size: int
    etag: str


class RunStarted(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A run that was made with its job."""

    success: Literal[True] = True
    run_id: str
    job_id: str
    r2_key: str
    status: str


class RunState(Summary, frozen=True, kw_only=True, rename="camel"):
    """A run with what came out of it. A long text is read from `textPath`."""

    text: str | None
    text_path: str | None
    result: msgspec.Raw
