"""The steps of a workflow: each is run until it has a result, which is remembered; sleeps last over restarts."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from millrace import limits
from millrace.errors import InvalidInput
from millrace.handlers.attempts import Options, attempt
from millrace.handlers.durations import read_retries, read_seconds
from millrace.handlers.journal import StepNote
from millrace.handlers.runs import Run


class StepFailed(Exception):
    """A step of a workflow has failed for good; `step` is its name. The workflow may catch it."""

    def __init__(self, step: str, sentence: str) -> None:
        super().__init__(f"step {step!r} failed: {sentence}")
        self.step = step


class StepContext(msgspec.Struct, frozen=True):
    """What a step's function gets that has a parameter `ctx`: which attempt this is, from 1."""

    attempt: int


class WorkflowStep:
    """What a workflow's function does its work with.

    A step is known by its name, and by how often the name came before in the same run; so a run that is repeated
    must come to the same steps again.
    """

    def __init__(self, run: Run, unit_seconds: float = 1) -> None:
        self._run, self._unit_seconds = run, unit_seconds
        self._counts: Counter[str] = Counter()
        self._declared: dict[str, Callable[[], asyncio.Future[Any]]] = {}
        self._begun: dict[str, asyncio.Future[Any]] = {}

    def do(
        self,
        name: Any = None,
        fn: Callable[..., Any] | None = None,
        *,
        retries: Any = None,
        timeout_seconds: float | None = None,
        concurrent: bool = False,
        config: Any = None,
    ) -> Any:
        """Run a function once and remember its JSON result: `await step.do("name", fn)`, or `@step.do("name")`.

        A call that fails is repeated: `retries` times, or as a mapping with `limit`, `delay` and `backoff` says; each
        lasts at most `timeout_seconds`. A decorated function is called to run it; a parameter with the name of one
        that was decorated before gets its result, and several of them are run side by side if `concurrent`.

        Raises:
            StepFailed: no retry is left, or the function raised PermanentError.
            InvalidInput: a value that is out of its range.
        """
        options = self._options(retries, timeout_seconds, dict(config or {}), is_concurrent=concurrent)
        if fn is not None:
            return self._do(_checked_name(name), fn, options)
        if callable(name):
            return self._declare(name.__name__, name, options)
        return lambda function: self._declare(name or function.__name__, function, options)

    async def sleep(self, name: str, duration: float | str) -> None:
        """Wait so many seconds, or as words such as "10 minutes" say; no process waits with it."""
        seconds = read_seconds(duration, "duration", self._unit_seconds)
        await self._wait(_checked_name(name), self._run.now_ms() + round(seconds * 1000))

    async def sleep_until(self, name: str, at: datetime | float) -> None:
        """Wait for a time: a datetime with a zone, or epoch milliseconds."""
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise InvalidInput(f"the time of sleep_until is {at}; expected one with a time zone")
            at = at.timestamp() * 1000
        read_seconds(max(0, at - self._run.now_ms()) / 1000, "the time until then")
        await self._wait(_checked_name(name), round(at))

    def _options(self, retries: Any, seconds: float | None, config: dict[str, Any], *, is_concurrent: bool) -> Options:
        policy = read_retries(config.get("retries") if retries is None else retries, self._unit_seconds)
        if seconds is not None:
            seconds = read_seconds(seconds, "timeout_seconds")
        elif "timeout" in config:
            seconds = read_seconds(config["timeout"], "timeout", self._unit_seconds)
        most = limits.WORKFLOW_STEP_SECONDS if seconds is None else seconds
        return Options(retries=policy, seconds=most, is_concurrent=is_concurrent)

    def _declare(self, name: str, function: Callable[..., Any], options: Options) -> Callable[[], asyncio.Future[Any]]:
        _checked_name(name)

        def begin() -> asyncio.Future[Any]:
            doing = asyncio.ensure_future(self._do(name, function, options))
            self._begun[function.__name__] = self._run.hold(doing)
            return doing

        self._declared[function.__name__] = begin
        return begin

    def _open(self, name: str) -> StepNote:
        self._counts[name] += 1
        if self._counts.total() > limits.WORKFLOW_STEPS:
            raise InvalidInput(f"step {name!r} is one too many; at most {limits.WORKFLOW_STEPS} are allowed")
        return self._run.open(name, self._counts[name])

    async def _wait(self, name: str, wakes_at_ms: int) -> None:
        note = self._open(name)
        if note.status == "complete":
            return
        wakes_at_ms = wakes_at_ms if note.wakes_at_ms is None else note.wakes_at_ms
        await self._run.until(wakes_at_ms, replace(note, wakes_at_ms=wakes_at_ms))
        await self._run.note(replace(note, status="complete", wakes_at_ms=None))

    async def _do(self, name: str, function: Callable[..., Any], options: Options) -> Any:
        note = self._open(name)
        arguments = await self._arguments(function, note.attempts + 1, is_concurrent=options.is_concurrent)
        if note.status == "waiting":
            note = await self._try(note, partial(function, **arguments), options)
        if note.status == "errored":
            raise StepFailed(name, note.error or "")
        return msgspec.json.decode(note.result or "null")

    async def _try(self, note: StepNote, call: Callable[[], Any], options: Options) -> StepNote:
        """Try a step once, when it is time; one that is to be tried again does not come back from here."""
        if note.wakes_at_ms is not None:
            await self._run.until(note.wakes_at_ms)
        await self._run.breathe()
        with self._run.flight():
            note = self._run.check_room(await attempt(note, call, options, self._run.now_ms))
            if note.status != "waiting":
                await self._run.note(note)
        if note.wakes_at_ms is not None:
            await self._run.park(note.wakes_at_ms, note)
        return note

    async def _arguments(self, function: Callable[..., Any], attempt: int, *, is_concurrent: bool) -> dict[str, Any]:
        """Give what the function's parameters ask for: the results of steps decorated before, and `ctx`."""
        names = [name for name in _parameters(function) if name in self._declared]
        arguments: dict[str, Any] = {"ctx": StepContext(attempt)} if "ctx" in _parameters(function) else {}
        if is_concurrent:
            return arguments | dict(zip(names, await asyncio.gather(*map(self._result, names)), strict=True))
        for name in names:
            arguments[name] = await self._result(name)
        return arguments

    def _result(self, name: str) -> asyncio.Future[Any]:
        return asyncio.shield(self._begun.get(name) or self._declared[name]())


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= limits.WORKFLOW_STEP_CHARACTERS:
        raise InvalidInput(f"a step is named {name!r}; expected 1 to {limits.WORKFLOW_STEP_CHARACTERS} characters")
    return name


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Give the names of the parameters that have no default."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # of some functions written in C
        return []
    return [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
