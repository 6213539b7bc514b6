"""How a producer's jobs leave: by the server's route, where there is a client, else by a binding of their queue.

Either answers at once or when it is awaited. So what hands jobs over is written as generators, which yield what the one
or the other gave and go on with its result.
"""

from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from inspect import isawaitable
from typing import Any, Self, TypeVar, cast

import msgspec

from millrace.apps.messaging.given_jobs import Parcel
from millrace.apps.messaging.jobs import PRIORITY_DELAY_SECONDS, id_of, type_of
from millrace.clock import read_rfc_3339
from millrace.errors import ConfigurationError, UnexpectedAnswer

T = TypeVar("T")

ROUTE = "/api/enqueue-job"
BINDING = "MESSAGE_QUEUE"
Steps = Generator[Any, Any, T]


class Enqueued(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job that is on disk. It may be awaited, as it need not be.

    `job_id` is None where a binding took the job: the server gives it an id when it is delivered.
    """

    job_id: str | None = None
    type: str
    status: str = "queued"
    scheduled_for: datetime | None = None

    def __await__(self) -> Generator[None, None, Self]:
        yield from ()
        return self


class _Accepted(msgspec.Struct, frozen=True):
    """The server's answer to several jobs."""

    jobs: list[Enqueued]


HandOver = Callable[[Sequence[Parcel]], Steps[list[Enqueued]]]


def way_out_of(env: Any) -> HandOver:
    """Choose the way that an env has.

    Raises:
        ConfigurationError: it has none.
    """
    client, queue = (getattr(env, name, None) for name in ("_client", BINDING))
    if callable(getattr(client, "ask", None)):
        return lambda parcels: _by_route(client, parcels)
    if queue is None:
        raise ConfigurationError(
            f"env has no binding {BINDING}; bind it to the queue message-delivery in the wrangler file "
            "([[queues.producers]]), or take the bindings of a client: Client.from_env().bindings()"
        )
    return lambda parcels: _by_binding(queue, parcels)


def follow(steps: Steps[T]) -> T:
    """Go through the steps and give their result; from the first on that is to be awaited, give what is to be awaited."""
    try:
        given = next(steps)
        while not isawaitable(given):
            given = steps.send(given)
    except StopIteration as end:
        return cast(T, end.value)
    return cast(T, _awaited(steps, given))  # results can be awaited, too: for a type checker it is one


async def _awaited(steps: Steps[T], given: Any) -> T:
    try:
        while True:
            try:
                found = await given if isawaitable(given) else given
            except BaseException as error:  # noqa: BLE001 - the steps decide, as if it had been raised there
                given = steps.throw(error)
            else:
                given = steps.send(found)
    except StopIteration as end:
        return cast(T, end.value)


def _by_route(client: Any, parcels: Sequence[Parcel]) -> Steps[list[Enqueued]]:
    """Post jobs; each has its row, and so its place among those of the same id, when the answer comes."""
    bodies = [msgspec.Raw(parcel.body) for parcel in parcels]
    answer = yield client.ask("POST", ROUTE, bodies[0] if len(bodies) == 1 else bodies)
    try:
        return [msgspec.convert(answer, Enqueued)] if len(bodies) == 1 else msgspec.convert(answer, _Accepted).jobs
    except msgspec.ValidationError as error:
        raise UnexpectedAnswer(f"the server has not answered as agreed to {ROUTE}: {error}; which is it?") from None


def _by_binding(queue: Any, parcels: Sequence[Parcel]) -> Steps[list[Enqueued]]:
    """Send jobs as messages; a job's id keeps a second one of its type out for as long as the queue remembers it."""
    if len(parcels) == 1:
        yield queue.send(parcels[0].wire, **_options(parcels[0]))
    else:
        yield queue.send_batch([{"body": parcel.wire, **_options(parcel)} for parcel in parcels])
    return [Enqueued(type=type_of(parcel.job), scheduled_for=_send_at(parcel)) for parcel in parcels]


def _options(parcel: Parcel) -> dict[str, Any]:
    job_id, send_at = id_of(parcel.job), _send_at(parcel)
    options: dict[str, Any] = {"priority": parcel.job.priority}
    if job_id is not None:
        options["dedupe_key"] = f"{type_of(parcel.job)}:{job_id}"
    if send_at is not None:
        return {**options, "send_at": send_at}
    return {**options, "delay_seconds": PRIORITY_DELAY_SECONDS[parcel.job.priority]}


def _send_at(parcel: Parcel) -> datetime | None:
    return None if parcel.job.send_at is None else read_rfc_3339(parcel.job.send_at)
