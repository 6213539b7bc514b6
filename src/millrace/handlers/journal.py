"""What a workflow's run reads and writes: where it stands, the results of its steps, and its end."""

from typing import Literal, Protocol

import msgspec

from millrace.handlers.asking import Ask


class StepNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a step came to. `result` is JSON; a step that waits sleeps, or has failed and is to be tried again.

    `number` tells steps of one name apart, from 1.
    """

    name: str
    number: int
    status: Literal["waiting", "complete", "errored"]
    result: str | None = None
    attempts: int = 0
    error: str | None = None
    wakes_at_ms: int | None = None


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as its run finds it. `version` is this run's; `params` is JSON."""

    version: int
    params: str
    created_at_ms: int
    now_ms: int
    steps: tuple[StepNote, ...] = ()


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: for good, or until `wakes_at_ms`. `output` is JSON. `steps` are noted together with it."""

    status: Literal["queued", "waiting", "complete", "errored"]
    output: str | None = None
    error: str | None = None
    wakes_at_ms: int | None = None
    steps: tuple[StepNote, ...] = ()


class Journal(Protocol):
    """The instances of one workflow, as their runs see them."""

    async def begin(self, id: str, message_id: str) -> Begun | None:
        """Begin a run, which fences off every earlier one; None when there is nothing left to run.

        Only the message that was sent with the instance has it run: two would fence each other off for ever.
        """
        ...

    async def note(self, id: str, version: int, step: StepNote) -> bool:
        """Write what a step came to; False when this run does not count any more."""
        ...

    async def end(self, id: str, version: int, pause: Pause) -> bool:
        """Write how a run ended; False when it does not count any more."""
        ...


class AskedJournal:
    """The journal of a server, for runs in another process. See `Journal` for what each verb does."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def begin(self, id: str, message_id: str) -> Begun | None:
        """Begin a run."""
        return msgspec.convert(await self._ask("begin", {"id": id, "message_id": message_id}), Begun | None)

    async def note(self, id: str, version: int, step: StepNote) -> bool:
        """Write what a step came to."""
        return bool(await self._ask("note", {"id": id, "version": version, "step": msgspec.to_builtins(step)}))

    async def end(self, id: str, version: int, pause: Pause) -> bool:
        """Write how a run ended."""
        return bool(await self._ask("end", {"id": id, "version": version, "pause": msgspec.to_builtins(pause)}))
