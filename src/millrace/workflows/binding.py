"""What answers for the bindings and the runs of a workflow, wherever they are."""

from typing import Any

import msgspec

from millrace.handlers.asking import Ask, answering
from millrace.handlers.journal import Journal, Pause, StepNote
from millrace.workflows import instances
from millrace.workflows.writes import Writes


def workflow_ask(writes: Writes, account_id: str, workflow: str) -> Ask:
    """Make what answers for a `WorkflowBinding`."""

    async def create(id: str | None, params: Any) -> dict[str, Any]:
        created = await writes.write(lambda work: instances.create(work, account_id, workflow, id=id, params=params))
        return created._asdict()

    async def status(id: str) -> dict[str, Any]:
        found = await writes.read(lambda work: instances.look(work, account_id, workflow, id))
        output = None if found.output is None else msgspec.json.decode(found.output)
        return {"status": found.status, "output": output, "error": found.error}

    async def terminate(id: str) -> None:
        await writes.write(lambda work: instances.terminate(work, account_id, workflow, id))

    return answering(create=create, status=status, terminate=terminate)


def journal_ask(journal: Journal) -> Ask:
    """Make what answers for the journal of runs that are in another process."""

    async def begin(id: str, message_id: str) -> Any:
        return msgspec.to_builtins(await journal.begin(id, message_id))

    async def note(id: str, version: int, step: dict[str, Any]) -> bool:
        return await journal.note(id, version, msgspec.convert(step, StepNote))

    async def end(id: str, version: int, pause: dict[str, Any]) -> bool:
        return await journal.end(id, version, msgspec.convert(pause, Pause))

    return answering(begin=begin, note=note, end=end)
