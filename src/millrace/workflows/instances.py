"""Instances of workflows, as functions of an open transaction."""

import re
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import msgspec

from millrace import limits
from millrace.errors import InvalidInput, WorkflowNotFound
from millrace.handlers.attempts import to_json
from millrace.handlers.journal import StepNote
from millrace.message import Outgoing
from millrace.sql import queues
from millrace.sql.transaction import Row
from millrace.work import Work
from millrace.workflows.queues import queue_of

FORGOTTEN_AT_ONCE = 10
STEPS_FORGOTTEN_AT_ONCE = 90  # of each; the rest goes with the next chunk
ID = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.WORKFLOW_ID_CHARACTERS}}}")


class Created(NamedTuple):
    """The id of an instance, and whether it was created just now."""

    id: str
    is_new: bool


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance stands. `params`, `output` and the results of steps are JSON; times are epoch milliseconds."""

    id: str
    workflow: str
    status: Literal["queued", "running", "waiting", "complete", "errored", "terminated"]
    params: str
    output: str | None
    error: str | None
    created_at_ms: int
    modified_at_ms: int
    wakes_at_ms: int | None
    ended_at_ms: int | None
    steps: tuple[StepNote, ...] = ()


def create(work: Work, account_id: str, workflow: str, *, id: str | None = None, params: object = None) -> Created:
    """Create an instance together with the message that has it run; an id that exists stands for what is there.

    Raises:
        WorkflowNotFound: the account has no workflow of that name.
        InvalidInput: an id other than 1 to 100 of A-Z, a-z, 0-9, '_' and '-', or params that are no JSON.
    """
    queue = queues.named(work.tx, account_id, queue_of(workflow))
    if queue is None:
        raise WorkflowNotFound(f"workflow {workflow!r} does not exist in this account")
    instance_id = str(uuid4()) if id is None else _checked_id(id)
    key = _key(account_id, workflow, instance_id)
    if work.fetch_one("workflow", key) is not None:
        return Created(instance_id, is_new=False)
    (message,) = work.send(queue.id, [Outgoing(body=msgspec.json.encode({"id": instance_id}))])
    values = {"message_id": message.id, "params": to_json(params, "params"), "now_ms": work.now_ms}
    work.apply("insert_workflow", {**key, **values})
    return Created(instance_id, is_new=True)


def look(work: Work, account_id: str, workflow: str, id: str) -> Instance:
    """Give an instance with its steps, in the order in which they came to something first.

    Raises:
        WorkflowNotFound: there is none.
    """
    key = _key(account_id, workflow, id)
    row = work.fetch_one("workflow", key)
    if row is None:
        raise WorkflowNotFound(f"workflow {workflow[:80]!r} has no instance {id[:100]!r} in this account")
    names = ("params", "status", "version", "output", "error", "created_at_ms", "modified_at_ms", "wakes_at_ms")
    values: dict[str, Any] = dict(zip((*names, "ended_at_ms"), row, strict=True))
    del values["version"]
    return Instance(id=id, workflow=workflow, steps=steps_of(work, account_id, workflow, id), **values)


def steps_of(work: Work, account_id: str, workflow: str, id: str) -> tuple[StepNote, ...]:
    """Give what the steps of an instance came to."""
    rows = work.fetch("workflow_steps", _key(account_id, workflow, id))
    return tuple(
        StepNote(
            name=name,
            number=number,
            status=status,
            result=result,
            attempts=attempts,
            error=error,
            wakes_at_ms=wakes_at_ms,
        )
        for name, number, status, result, attempts, error, wakes_at_ms in rows
    )


def terminate(work: Work, account_id: str, workflow: str, id: str) -> bool:
    """End an instance where it stands, and say whether it had not ended before; a step under way is not remembered.

    Raises:
        WorkflowNotFound: there is none.
    """
    look(work, account_id, workflow, id)
    row = work.fetch_one("terminate_workflow", {**_key(account_id, workflow, id), "now_ms": work.now_ms})
    if row is not None:
        work.note(account_id, "workflow.terminated", f"workflow {workflow}/{id}")
    return row is not None


def forgettable(work: Work) -> list[Row]:
    """Give the keys of some of the instances that ended 30 days ago."""
    ended_before_ms = work.now_ms - limits.WORKFLOW_KEPT_SECONDS * 1000
    return work.fetch("ended_workflows", {"ended_before_ms": ended_before_ms, "limit": FORGOTTEN_AT_ONCE})


def forget_ended(work: Work) -> int:
    """Remove a chunk of the instances that ended 30 days ago, and give how many are gone."""
    gone = 0
    work.tx.hold("forgetting of workflows")  # else another server's might meet an instance that has the same id since
    for row in forgettable(work):
        steps = work.fetch("forget_workflow_steps", {**_key(*row), "limit": STEPS_FORGOTTEN_AT_ONCE})
        if len(steps) < STEPS_FORGOTTEN_AT_ONCE:
            work.apply("forget_workflow", _key(*row))
            gone += 1
    return gone


def _key(account_id: str, workflow: str, id: str) -> dict[str, Any]:
    return {"account_id": account_id, "workflow": workflow, "id": id}


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or ID.fullmatch(id) is None:
        raise InvalidInput(
            f"id is {str(id)[:120]!r}; expected 1 to {limits.WORKFLOW_ID_CHARACTERS} of A-Z, a-z, 0-9, '_' and '-'"
        )
    return id
