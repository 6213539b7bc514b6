"""`/runs/…`: start a run, look at it, follow it, store its result."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.access.keys import Key
from millrace.access.scopes import Scope
from millrace.apps.jobs import answers, jobs, runs
from millrace.apps.jobs.filenames import object_key
from millrace.apps.jobs.job_routes import check_tenant, write_jobs
from millrace.apps.jobs.jobs import QUEUE, JobBody, Name, ObjectKey, check_printable, check_run_id
from millrace.apps.jobs.runs import STATE, Result, Summary
from millrace.coordination import feed, states
from millrace.coordination.states import State
from millrace.errors import BacklogFull, BodyDoesNotFit, BodyNotJson, Conflict, NotFound, ObjectTooLarge
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Connection, Route, Socket, Stream
from millrace.ids import new_id
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.work import Work

TEXT_BYTES = 1_000_000  # a longer one becomes an object, and so does one that PostgreSQL has no text for
RESULT_BYTES = 1_000_000
RESULT_BODY_BYTES = 16 * 1024 * 1024
STAGE_CHARACTERS = 64
AFTER = {"type": "integer", "minimum": 0}
VERSION_DIGITS = 18


class StartBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Whose run it is; where its object lies or will lie; its id, if the caller has one."""

    tenant_id: Name
    r2_key: ObjectKey | None = None
    run_id: Name | None = None

    def __post_init__(self) -> None:
        check_printable(tenantId=self.tenant_id, r2Key=self.r2_key, runId=self.run_id)
        check_run_id(self.run_id or "")


class ResultBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of a run. What is left out stays as it was."""

    status: Annotated[str, Meta(max_length=STAGE_CHARACTERS, pattern=r"\S")] | None = None
    text: str | None = None
    result: msgspec.Raw | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_printable(status=self.status)


START, RESULT = Shape(StartBody), Shape(ResultBody)


class RunRoutes:
    """The routes and the socket of runs."""

    def __init__(self, platform: Platform, objects: ObjectStore) -> None:
        self._platform, self._objects = platform, objects

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        path, wrong = "/runs/{runId}", (BodyNotJson, BodyDoesNotFit)
        return (
            Route(method="POST", path="/runs", handle=self.start_run, scope=Scope.SEND, takes=START,
                  gives=answers.RunStarted, status=201, refuses=(*wrong, Conflict, BacklogFull)),
            Route(method="GET", path=path, handle=self.show_run, scope=Scope.READ, gives=answers.RunState,
                  refuses=(NotFound,)),
            Route(method="POST", path=path, handle=self.store_result, scope=Scope.TAKE, takes=RESULT, gives=Summary,
                  body_limit=RESULT_BODY_BYTES, refuses=(*wrong, NotFound, ObjectTooLarge)),
            Route(method="GET", path=path + "/text", handle=self.read_text, scope=Scope.READ,
                  media_type="text/plain", refuses=(NotFound,)),
            Route(method="GET", path=path + "/events", handle=self.stream_run, scope=Scope.READ, query={"after": AFTER},
                  media_type="text/event-stream", refuses=(BodyDoesNotFit, NotFound)),
        )  # fmt: skip

    def sockets(self) -> tuple[Socket, ...]:
        """Give the socket."""
        return (Socket(path="/runs/{runId}/ws", hold=self.hold_run, scope=Scope.READ),)

    async def start_run(self, desk: Desk, request: Request) -> Answer:
        """Make a run with its job."""
        body: StartBody = START.read(request.body)
        check_tenant(request, body.tenant_id, body.r2_key)
        account_id, run_id = request.key.account_id, body.run_id or new_id()
        r2_key = body.r2_key or object_key(body.tenant_id, run_id, "content")
        wanted = JobBody(run_id, body.tenant_id, r2_key)
        added = await write_jobs(self._platform, account_id, lambda work: jobs.add(work, account_id, wanted))
        answer = answers.RunStarted(run_id=run_id, job_id=added.id, r2_key=r2_key, status="pending")
        return Answer(msgspec.json.encode(answer), 201)

    async def show_run(self, desk: Desk, request: Request) -> Answer:
        """Show a run as it is now, with its text and result."""

        def read(work: Work) -> tuple[Summary, Result]:
            summary = self._find(work, request)
            return summary, runs.result_of(work, request.key.account_id, summary.run_id)

        summary, result = await self._platform.read(read)
        state = answers.RunState(
            **msgspec.structs.asdict(summary),
            text=result.text,
            text_path=None if result.text_key is None else f"{request.path.rstrip('/')}/text",
            result=msgspec.Raw(result.json or b"null"),
        )
        return Answer(msgspec.json.encode(state))

    async def store_result(self, desk: Desk, request: Request) -> Answer:
        """Store what an agent made of a run, and tell its followers."""
        body: ResultBody = RESULT.read(request.body)
        key, run_id = request.key, request.params["runId"]
        await self._platform.read(lambda work: self._find(work, request))  # before an object is written
        result = await self._kept(key.account_id, run_id, body)
        text_bytes = None if body.text is None else len(body.text.encode())
        summary = await self._platform.write(
            lambda work: runs.store_result(
                work,
                key.account_id,
                run_id,
                key.tenant,
                stage=body.status,
                text_bytes=text_bytes,
                result=result,
            )
        )
        return Answer(msgspec.json.encode(summary))

    async def read_text(self, desk: Desk, request: Request) -> Answer | Stream:
        """Give the text of a run, however long it is."""

        def read(work: Work) -> Result:
            return runs.result_of(work, request.key.account_id, self._find(work, request).run_id)

        result = await self._platform.read(read)
        if result.text_key is not None:
            return Stream(await self._objects.get(result.text_key), content_type=b"text/plain; charset=utf-8")
        if result.text is None:
            raise NotFound("the run has no text yet")
        return Answer(result.text.encode(), content_type=b"text/plain; charset=utf-8")

    async def stream_run(self, desk: Desk, request: Request) -> Stream:
        """Follow a run as Server-Sent Events: as it is now, or all after a version, and then each change."""
        return Stream(feed.sse(await self._follow(desk, request)))

    async def hold_run(self, desk: Desk, request: Request, connection: Connection) -> None:
        """Follow a run over a WebSocket: a text frame for each version, as for the events."""
        async with aclosing(await self._follow(desk, request)) as versions:
            async for state in versions:
                await connection.send(msgspec.json.encode({"version": state.version, **state.value}).decode())

    async def _follow(self, desk: Desk, request: Request) -> AsyncGenerator[State]:
        """Begin to follow a run that the key may see."""
        key: Key = request.key
        after = _after(request)

        def read(work: Work) -> tuple[str, int]:
            run_id = self._find(work, request).run_id
            state = states.get(work.tx, key.account_id, STATE, run_id)
            return run_id, state.version - 1 if state else 0

        run_id, before_last = await self._platform.read(read)
        return feed.follow(desk.store, key.account_id, STATE, run_id, before_last if after is None else after)

    def _find(self, work: Work, request: Request) -> Summary:
        request.key.check_queue(QUEUE)
        return runs.find(work, request.key.account_id, request.params["runId"], request.key.tenant)

    async def _kept(self, account_id: str, run_id: str, body: ResultBody) -> Result:
        """Put a long text where it does not burden the database."""
        json = None if isinstance(body.result, UnsetType) else bytes(body.result)
        if json is not None and len(json) > RESULT_BYTES:
            raise ObjectTooLarge(f"result has {len(json)} bytes; expected at most {RESULT_BYTES}")
        if body.text is None or _fits_a_row(body.text):
            return Result(text=body.text, json=json)
        key = f"texts/{sha256(f'{account_id}/{run_id}'.encode()).hexdigest()}.txt"
        await self._objects.put(key, _once(body.text.encode()), content_type="text/plain", max_bytes=RESULT_BODY_BYTES)
        return Result(text_key=key, json=json)


def _fits_a_row(text: str) -> bool:
    return "\0" not in text and (len(text) * 4 <= TEXT_BYTES or len(text.encode()) <= TEXT_BYTES)


def _after(request: Request) -> int | None:
    """Give the version of the query, if it names one."""
    text = request.query.get("after", [""])[-1]
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > VERSION_DIGITS:
        raise BodyDoesNotFit(f"after is {text[:40]!r}; expected the number of a version, 0 or more")
    return int(text)


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk
