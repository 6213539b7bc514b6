"""Workflows over HTTP: an instance is created and looked at; `POST …/terminate` ends it."""

from typing import Any

import msgspec

from millrace.access.scopes import Scope
from millrace.clock import iso_milliseconds
from millrace.errors import InvalidInput, InvalidRequest, WorkflowExists, WorkflowNotFound
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Handle, Route
from millrace.workflows import instances
from millrace.workflows.instances import Instance
from millrace.workflows.queues import queue_of
from millrace.workflows.writes import Writes

PATH = "/api/workflows/{name}/instances"


class CreateInstance(msgspec.Struct, frozen=True):
    """A new instance; without an id it gets one."""

    id: str | None = None
    params: Any = None


class CreatedInstance(msgspec.Struct, frozen=True):
    """The id of an instance that was created."""

    id: str
    status: str = "queued"


class StepObject(msgspec.Struct, frozen=True, kw_only=True):
    """What a step came to; `wakes_at` is when one that waits goes on."""

    name: str
    number: int
    status: str
    attempts: int
    result: Any
    error: str | None
    wakes_at: str | None


class InstanceObject(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance stands."""

    id: str
    workflow: str
    status: str
    params: Any
    output: Any
    error: str | None
    created_at: str
    modified_at: str
    wakes_at: str | None
    ended_at: str | None
    steps: list[StepObject]


CREATE = Shape(CreateInstance, InvalidRequest)


def routes(writes: Writes) -> list[Route]:
    """Give the routes."""
    return [
        Route(
            method="POST",
            path=PATH,
            handle=_create(writes),
            scope=Scope.SEND,
            takes=CREATE,
            gives=CreatedInstance,
            refuses=(InvalidRequest, InvalidInput, WorkflowNotFound, WorkflowExists),
            status=201,
        ),
        Route(
            method="GET",
            path=PATH + "/{id}",
            handle=_look(writes),
            scope=Scope.PEEK,
            gives=InstanceObject,
            refuses=(WorkflowNotFound,),
        ),
        Route(
            method="POST",
            path=PATH + "/{id}/terminate",
            handle=_terminate(writes),
            scope=Scope.MANAGE,
            gives=InstanceObject,
            refuses=(WorkflowNotFound,),
        ),
    ]


def instance_object(instance: Instance) -> InstanceObject:
    """Show an instance."""
    return InstanceObject(
        id=instance.id,
        workflow=instance.workflow,
        status=instance.status,
        params=_value(instance.params),
        output=_value(instance.output),
        error=instance.error,
        created_at=iso_milliseconds(instance.created_at_ms),
        modified_at=iso_milliseconds(instance.modified_at_ms),
        wakes_at=_iso(instance.wakes_at_ms),
        ended_at=_iso(instance.ended_at_ms),
        steps=[
            StepObject(
                name=step.name,
                number=step.number,
                status=step.status,
                attempts=step.attempts,
                result=_value(step.result),
                error=step.error,
                wakes_at=_iso(step.wakes_at_ms),
            )
            for step in instance.steps
        ],
    )


def _create(writes: Writes) -> Handle:
    async def create_instance(desk: Desk, request: Request) -> Answer:
        """Create an instance of a workflow; it is on disk, and will be run, when this answers."""
        name, account_id = _name(request), request.key.account_id
        body: CreateInstance = CREATE.read(request.body)
        created = await writes.write(
            lambda work: instances.create(work, account_id, name, id=body.id, params=body.params)
        )
        if not created.is_new:
            raise WorkflowExists(f"workflow {name!r} has an instance {created.id!r} already")
        return Answer(msgspec.json.encode(CreatedInstance(created.id)), 201)

    return create_instance


def _look(writes: Writes) -> Handle:
    async def get_instance(desk: Desk, request: Request) -> Answer:
        """Tell where an instance of a workflow stands, with the results of its steps."""
        name, account_id, instance_id = _name(request), request.key.account_id, request.params["id"]
        instance = await writes.read(lambda work: instances.look(work, account_id, name, instance_id))
        return Answer(msgspec.json.encode(instance_object(instance)))

    return get_instance


def _terminate(writes: Writes) -> Handle:
    async def terminate_instance(desk: Desk, request: Request) -> Answer:
        """End an instance of a workflow where it stands."""
        name, account_id, instance_id = _name(request), request.key.account_id, request.params["id"]
        await writes.write(lambda work: instances.terminate(work, account_id, name, instance_id))
        instance = await writes.read(lambda work: instances.look(work, account_id, name, instance_id))
        return Answer(msgspec.json.encode(instance_object(instance)))

    return terminate_instance


def _name(request: Request) -> str:
    """Give the workflow that the path names, if the key reaches its queue."""
    name = request.params["name"]
    try:
        request.key.check_queue(queue_of(name))
    except InvalidInput:
        raise WorkflowNotFound(f"workflow {name[:80]!r} does not exist in this account") from None
    return name


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.Raw(text.encode())


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_milliseconds(at_ms)
