"""`/uploads/…`: announce an upload, put its bytes, read them."""

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from millrace.access.scopes import Scope
from millrace.apps.jobs import answers, runs, uploads
from millrace.apps.jobs.job_routes import check_tenant, write_jobs
from millrace.apps.jobs.jobs import QUEUE, Name, check_printable
from millrace.apps.jobs.signing import Ticket, is_signed, path_of
from millrace.apps.jobs.tokens import SIGNED_UPLOAD, TURNSTILE
from millrace.apps.jobs.turnstile import Turnstile
from millrace.apps.jobs.uploads import Announced, Upload
from millrace.errors import (
    BacklogFull,
    BodyDoesNotFit,
    BodyNotJson,
    Forbidden,
    InvalidInput,
    MediaTypeRefused,
    NotFound,
    ObjectNotFound,
    ObjectTooLarge,
    QueueUnavailable,
)
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route, Stream
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore

FILENAME_CHARACTERS = 1024
UNTOLD = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # what clients put by themselves
TEXT = {"type": "string"}
# What a client has sent is shown as a file and never run as a page of ours.
AS_FILE = ((b"content-disposition", b"attachment"), (b"x-content-type-options", b"nosniff"))


class UploadRules(NamedTuple):
    """What may be uploaded, and where clients find this server (None: where the request came to)."""

    types: tuple[str, ...]
    max_bytes: int
    public_url: str | None
    account_id: str  # whose the object store is


class CreateBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a client is going to upload; `size` if it is known."""

    content_type: Annotated[str, Meta(min_length=1, max_length=255)]
    filename: Annotated[str, Meta(max_length=FILENAME_CHARACTERS)]
    tenant_id: Name
    size: Annotated[int, Meta(ge=0)] | None = None
    turnstile_token: str | None = None
    form_token: str | None = msgspec.field(name="cf-turnstile-response", default=None)

    def __post_init__(self) -> None:
        check_printable(tenantId=self.tenant_id)


CREATE = Shape(CreateBody)


class UploadRoutes:
    """The routes of uploads."""

    def __init__(
        self, platform: Platform, objects: ObjectStore, rules: UploadRules, turnstile: Turnstile | None
    ) -> None:
        self._platform, self._objects, self._rules, self._turnstile = platform, objects, rules, turnstile

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        path = "/uploads/{runId}/content"
        return (
            Route(method="POST", path="/uploads/create", handle=self.create_upload, scope=Scope.SEND, takes=CREATE,
                  gives=answers.UploadCreated, status=201,
                  refuses=(BodyNotJson, BodyDoesNotFit, MediaTypeRefused, ObjectTooLarge, BacklogFull, QueueUnavailable)),
            Route(method="PUT", path=path, handle=self.put_content, scope=Scope.SEND, gives=answers.UploadArrived,
                  query={"expires": TEXT, "signature": TEXT}, streams=True, body_limit=self._rules.max_bytes,
                  refuses=(NotFound, MediaTypeRefused, ObjectTooLarge)),
            Route(method="GET", path=path, handle=self.read_content, scope=Scope.TAKE,
                  media_type="application/octet-stream", refuses=(NotFound,)),
        )  # fmt: skip

    async def create_upload(self, desk: Desk, request: Request) -> Answer:
        """Make a run with its job, and a URL that its object is put to within an hour."""
        body: CreateBody = CREATE.read(request.body)
        announced = self._announced(body)
        if request.key.id == TURNSTILE and self._turnstile is not None:
            await self._turnstile.check(body.turnstile_token or body.form_token or "")
        check_tenant(request, body.tenant_id)
        account_id = request.key.account_id
        created = await write_jobs(self._platform, account_id, lambda work: uploads.create(work, account_id, announced))
        answer = answers.UploadCreated(
            run_id=created.ticket.run_id,
            job_id=created.job_id,
            r2_key=created.r2_key,
            upload_url=self._base(request) + path_of(created.ticket),
        )
        return Answer(msgspec.json.encode(answer), 201)

    async def put_content(self, desk: Desk, request: Request) -> Answer:
        """Store the object of an upload; the signature of the URL may stand for a key."""
        upload = await self._permitted(request)
        ticket = upload.ticket
        stat = await self._objects.put(
            upload.r2_key,
            request.chunks(ticket.max_bytes),
            content_type=ticket.content_type,
            max_bytes=ticket.max_bytes,
        )
        await self._platform.write(lambda work: uploads.arrived(work, ticket, stat.size, stat.etag))
        answer = answers.UploadArrived(run_id=ticket.run_id, r2_key=upload.r2_key, size=stat.size, etag=stat.etag)
        return Answer(msgspec.json.encode(answer))

    async def read_content(self, desk: Desk, request: Request) -> Stream:
        """Give the bytes of a run's object."""
        key, run_id = request.key, request.params["runId"]
        key.check_queue(QUEUE)
        may_read_any = key.tenant is None and key.account_id == self._rules.account_id
        object_key, content_type = await self._platform.read(
            lambda work: uploads.key_to_read(work, key.account_id, run_id, key.tenant, may_read_any=may_read_any)
        )
        try:
            chunks = await self._objects.get(object_key)
        except InvalidInput as error:  # whoever enqueued the job may have named anything
            raise ObjectNotFound(f"run {run_id[:128]!r} has no object: {error}") from None
        return Stream(chunks, content_type=content_type.encode(), headers=AS_FILE)

    def _announced(self, body: CreateBody) -> Announced:
        """Hold what is announced against the rules.

        Raises:
            MediaTypeRefused: its type is not among those that are allowed.
            ObjectTooLarge: it is too large.
        """
        content_type = essence(body.content_type)
        if content_type not in self._rules.types:
            allowed = ", ".join(self._rules.types)
            raise MediaTypeRefused(f"contentType is {body.content_type[:80]!r}; expected one of {allowed}")
        if body.size is not None and body.size > self._rules.max_bytes:
            raise ObjectTooLarge(f"size is {body.size}; expected at most {self._rules.max_bytes} bytes")
        return Announced(
            tenant_id=body.tenant_id,
            content_type=content_type,
            filename=body.filename,
            max_bytes=self._rules.max_bytes,
        )

    async def _permitted(self, request: Request) -> Upload:
        """Give the upload that the URL, or else the key, stands for.

        Raises:
            Forbidden: the URL is not one that was given out, or has expired.
            NotFound: the key may see no such upload.
            MediaTypeRefused: another type was announced.
            ObjectTooLarge: the object is larger than the upload allows.
        """
        query, run_id = request.query, request.params["runId"]
        upload = await self._platform.read(lambda work: uploads.find(work, run_id))
        if "signature" in query or request.key.id == SIGNED_UPLOAD:
            expires, signature = query.get("expires", [""])[-1], query.get("signature", [""])[-1]
            _check_signature(upload, expires, signature, self._platform.clock())
        else:
            await self._check_key(request, upload)
        assert upload is not None
        _check_content(upload.ticket, request)
        return upload

    async def _check_key(self, request: Request, upload: Upload | None) -> None:
        key, run_id = request.key, request.params["runId"]
        key.check_queue(QUEUE)
        await self._platform.read(lambda work: runs.find(work, key.account_id, run_id, key.tenant))
        if upload is None or upload.ticket.account_id != key.account_id:
            raise NotFound(f"run {run_id[:128]!r} has no upload")

    def _base(self, request: Request) -> str:
        """Give where clients find this server; nothing when that is not known."""
        host = request.head.text(b"host")
        return self._rules.public_url or (f"http://{host}" if host else "")


def essence(content_type: str) -> str:
    """Give a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _check_signature(upload: Upload | None, expires: str, signature: str, now_ms: int) -> None:
    if upload is None or not is_signed(upload.ticket, "PUT", expires, signature):
        raise Forbidden("the signature of this URL is not valid; put the object to the uploadUrl as it was given")
    if now_ms >= upload.ticket.expires_at_ms:
        raise Forbidden("this upload URL has expired; create a new upload")


def _check_content(ticket: Ticket, request: Request) -> None:
    given = essence(request.head.text(b"content-type"))
    if given not in (ticket.content_type, *UNTOLD):
        raise MediaTypeRefused(f"Content-Type is {given[:80]!r}; expected {ticket.content_type}, as was announced")
    if request.head.content_length > ticket.max_bytes:
        raise ObjectTooLarge(f"the object has {request.head.content_length} bytes; expected at most {ticket.max_bytes}")
