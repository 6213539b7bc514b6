"""Jobs over HTTP: taken under leases, settled, and told about."""

import random
import time
from collections.abc import Iterable, Mapping
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urljoin

import msgspec

from millrace.client.answers import read_answer
from millrace.client.retries import Retries
from millrace.client.sync_calls import Calls, Chance, Sleep
from millrace.client.wire import given, new_key, quoted
from millrace.edge_jobs.config import EdgeConfig
from millrace.edge_jobs.job import Content, Job, JobStats, Result, Upload
from millrace.edge_jobs.uploads import put_file
from millrace.errors import NotFound, ObjectNotFound

T = TypeVar("T")

ANSWER_SECONDS = 30
RETRIES = Retries(count=12, base_seconds=0.25, cap_seconds=8, total_seconds=60)


class EdgeJobClient:
    """The jobs of one server, with one token.

    Calls are made again for up to a minute when the connection failed, the server was busy or had an error of its own
    (`Retries`). Threads may share a client.

    All methods raise:
        ServerUnreachable: the server cannot be reached.
        Unauthenticated, Forbidden: the token is refused.
        MillraceError: the server refuses for another reason; the nearest class there is, with its status and code.
    """

    def __init__(
        self,
        config: EdgeConfig,
        *,
        retries: Retries = RETRIES,
        timeout_seconds: float = ANSWER_SECONDS,
        chance: Chance = random.random,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._config = config
        self._calls = Calls(
            config.base_url,
            config.api_token,
            None,
            retries=retries,
            timeout_seconds=timeout_seconds,
            chance=chance,
            sleep=sleep,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def pull(self, max: int | None = None, visibility_seconds: int | None = None) -> list[Job]:
        """Take jobs under leases.

        Args:
            max: At most so many, 1 to 100; None is BATCH_SIZE, 10 by default.
            visibility_seconds: How long the leases last; None is VISIBILITY_TIMEOUT, 60 by default.
        """
        body = {
            "max": self._config.batch_size if max is None else max,
            "visibilitySeconds": self._config.visibility_timeout if visibility_seconds is None else visibility_seconds,
        }
        return self._post("/jobs/pull", body, _Jobs).jobs

    def ack(
        self,
        ids: Iterable[str],
        status: Literal["done", "failed"] = "done",
        error: str | None = None,
        lease_ids: Iterable[str | None] | None = None,
        *,
        postpone_seconds: int | None = None,
    ) -> list[Result]:
        """Settle jobs: `done`, or `failed`, after which they are pending again until their attempts are used up.

        Args:
            ids: The jobs' ids.
            status: What became of them.
            error: What went wrong.
            lease_ids: The jobs' leases, in the same order; a job whose lease is another one by now is not settled.
            postpone_seconds: Have failed jobs come back after so long, without an attempt, while their runs are young.
        """
        leases = None if lease_ids is None else list(lease_ids)
        more = given(error=error, leaseIds=leases, postponeSeconds=postpone_seconds)
        return self._post("/jobs/ack", {"ids": list(ids), "status": status, **more}, _Results).results

    def extend(self, ids: Iterable[str], seconds: int, lease_ids: Iterable[str | None] | None = None) -> list[Result]:
        """Let leases end so many seconds from now, while the work goes on."""
        leases = None if lease_ids is None else list(lease_ids)
        body = {"ids": list(ids), "visibilitySeconds": seconds, **given(leaseIds=leases)}
        return self._post("/jobs/extend", body, _Results).results

    def stats(self) -> JobStats:
        """Count the jobs."""
        return read_answer(self._calls.call("GET", "/jobs/stats"), _Stats).stats

    def enqueue(self, run_id: str, tenant_id: str, r2_key: str, idempotency_key: str | None = None) -> str:
        """Add a job about an object; give its id. The same key, at most 255 characters, adds no second one."""
        body = {"runId": run_id, "tenantId": tenant_id, "r2Key": r2_key}
        headers = {"idempotency-key": new_key(idempotency_key)}  # so that a repeat after a lost answer adds none either
        return self._post("/jobs/enqueue", body, _Enqueued, headers=headers).job_id

    def download(self, job: Job) -> Content:
        """Give the object that a job is about.

        Raises:
            ObjectNotFound: it is not uploaded yet.
        """
        try:
            answer = self._calls.call("GET", f"/uploads/{quoted(job.run_id)}/content")
        except NotFound as error:
            raise ObjectNotFound(f"the upload of run {job.run_id} is not there: {error}") from None
        return Content(body=answer.content, content_type=answer.headers.get("content-type", ""))

    def store_result(self, run_id: str, text: str | None = None, result: Mapping[str, Any] | None = None) -> None:
        """Store the text of a run's object and what was found in it."""
        self._calls.call("POST", f"/runs/{quoted(run_id)}", given(text=text, result=result))

    def upload(self, path: Path, tenant_id: str, content_type: str | None = None) -> Upload:
        """Make a run of a file: announce it, and put its bytes where the server says.

        `content_type` None goes by the file's name.
        """
        kind = content_type or guess_type(path.name)[0] or "application/octet-stream"
        body = {"contentType": kind, "filename": path.name, "tenantId": tenant_id, "size": path.stat().st_size}
        made = self._post("/uploads/create", body, Upload, once=True)
        put_file(urljoin(f"{self._calls.url}/", made.upload_url), path, kind)
        return made

    def _post(self, path: str, body: Mapping[str, Any], type: type[T], **more: Any) -> T:
        return read_answer(self._calls.call("POST", path, body, **more), type)


class _Jobs(msgspec.Struct, frozen=True):
    jobs: list[Job]


class _Results(msgspec.Struct, frozen=True):
    results: list[Result]


class _Stats(msgspec.Struct, frozen=True):
    stats: JobStats


class _Enqueued(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str
