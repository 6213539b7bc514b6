"""The journal of a workflow's runs, kept in the store."""

from typing import Any

import msgspec

from millrace.handlers.journal import Begun, Pause, StepNote
from millrace.work import Work
from millrace.workflows.instances import steps_of
from millrace.workflows.writes import Writes


class StoredJournal:
    """The instances of one workflow of an account. See `millrace.handlers.journal.Journal` for what each verb does."""

    def __init__(self, writes: Writes, account_id: str, workflow: str) -> None:
        self._writes, self._account_id, self._workflow = writes, account_id, workflow

    async def begin(self, id: str, message_id: str) -> Begun | None:
        """Begin a run."""

        def begin(work: Work) -> Begun | None:
            values = {**self._key(id), "message_id": message_id, "now_ms": work.now_ms}
            row = work.fetch_one("begin_workflow", values)
            if row is None:
                return None
            version, params, created_at_ms = row
            return Begun(version=version, params=params, created_at_ms=created_at_ms, now_ms=work.now_ms)

        begun = await self._writes.write(begin)
        if begun is None:
            return None
        # No earlier run writes steps any more, and there may be thousands: reading them need not hold the writer.
        steps = await self._writes.read(lambda work: steps_of(work, self._account_id, self._workflow, id))
        return msgspec.structs.replace(begun, steps=steps)

    async def note(self, id: str, version: int, step: StepNote) -> bool:
        """Write what a step came to."""

        def note(work: Work) -> bool:
            return self._counts(work, id, version) and self._note(work, id, step)

        return await self._writes.write(note)

    async def end(self, id: str, version: int, pause: Pause) -> bool:
        """Write how a run ended; a failure is logged."""

        def end(work: Work) -> bool:
            if not self._counts(work, id, version):
                return False
            for step in pause.steps:
                self._note(work, id, step)
            has_ended = pause.status in ("complete", "errored")
            fields = msgspec.structs.asdict(pause)
            del fields["steps"]
            times = {"ended_at_ms": work.now_ms if has_ended else None}
            work.apply("end_workflow_run", {**self._key(id), **fields, **times})
            return True

        counts = await self._writes.write(end)
        if counts and pause.status == "errored":
            fields = {"account_id": self._account_id, "workflow": self._workflow, "instance_id": id}
            self._writes.telemetry.emit("workflow.errored", **fields, error=pause.error)
        return counts

    def _key(self, id: str) -> dict[str, Any]:
        return {"account_id": self._account_id, "workflow": self._workflow, "id": id}

    def _counts(self, work: Work, id: str, version: int) -> bool:
        return (
            work.fetch_one("touch_workflow", {**self._key(id), "version": version, "now_ms": work.now_ms}) is not None
        )

    def _note(self, work: Work, id: str, step: StepNote) -> bool:
        work.apply("note_workflow_step", {**self._key(id), **msgspec.structs.asdict(step), "now_ms": work.now_ms})
        return True
