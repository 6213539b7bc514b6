"""Jobs and what belongs to them, as the client gives them."""

import msgspec


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job under a lease. `attempts` counts its deliveries, this one included.

    The names of the wire (`runId` and so on) may be used, too.
    """

    id: str
    run_id: str
    tenant_id: str
    r2_key: str
    attempts: int = 1
    lease_id: str | None = None  # a server without lease ids settles by the job's id alone

    @property
    def runId(self) -> str:  # noqa: N802 - the name on the wire
        """The run's id."""
        return self.run_id

    @property
    def tenantId(self) -> str:  # noqa: N802 - the name on the wire
        """The tenant."""
        return self.tenant_id

    @property
    def r2Key(self) -> str:  # noqa: N802 - the name on the wire
        """The key of the object that the job is about."""
        return self.r2_key

    @property
    def leaseId(self) -> str | None:  # noqa: N802 - the name on the wire
        """The lease."""
        return self.lease_id


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one job of an ack or an extension; `reason` says why it is not `ok`."""

    id: str
    ok: bool
    status: str | None = None
    reason: str | None = None


class JobStats(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs are in which state."""

    pending: int
    leased: int
    done: int
    failed: int


class Upload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run and its job that wait for their bytes; `upload_url` is where these are put."""

    run_id: str
    job_id: str
    r2_key: str
    upload_url: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of an object. `content_type` is empty where nobody told."""

    body: bytes
    content_type: str = ""
