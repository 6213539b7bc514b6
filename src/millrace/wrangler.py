"""Wrangler's configuration files as plain values: wrangler.json, wrangler.jsonc and wrangler.toml.

Field paths and sentences are wrangler's own, so that what its users know or search for fits here, too.
"""

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace.errors import ConfigurationError
from millrace.jsonc import dumps, loads

FILE_NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")

# The file's spelling and the API's; max_batch_timeout alone changes its unit, too.
SETTINGS = {
    "max_batch_size": "batch_size",
    "max_batch_timeout": "max_wait_time_ms",
    "max_retries": "max_retries",
    "max_concurrency": "max_concurrency",
    "retry_delay": "retry_delay",
    "visibility_timeout_ms": "visibility_timeout_ms",
}
LIMITS = ("max_backlog_messages", "max_backlog_bytes")


class Producer(msgspec.Struct, frozen=True):
    """A binding through which a worker sends to a queue."""

    binding: str
    queue: str


class ConsumerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer as the file has it. Settings are in the API's spelling and units, and only those that are named."""

    queue: str
    type: Literal["worker", "http_pull"] = "worker"
    dead_letter_queue: str | None = None
    settings: dict[str, int]


class BacklogLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait in a queue; None is no limit."""

    queue: str
    max_backlog_messages: int | None = None
    max_backlog_bytes: int | None = None


class WranglerFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says for one environment. A variable that is not a string stands here as JSON text."""

    path: Path
    name: str | None
    variables: dict[str, str]
    producers: tuple[Producer, ...]
    consumers: tuple[ConsumerEntry, ...]
    limits: tuple[BacklogLimit, ...]
    crons: tuple[str, ...]
    warnings: tuple[str, ...]


class _Shape(msgspec.Struct, frozen=True):
    """The keys of an entry: one required string, optional ones of a kind, others that are not looked at yet."""

    required: str
    optional: dict[str, str]
    ignored: tuple[str, ...] = ()


SHAPES = {
    "producers": _Shape("binding", {"queue": "string", "delivery_delay": "number", "remote": "boolean"}),
    "consumers": _Shape(
        "queue",
        {"type": "string", "dead_letter_queue": "string", **dict.fromkeys(SETTINGS, "number")},
        ("handler", "backoff", "max_attempts", "flush_on"),
    ),
    "limits": _Shape("queue", dict.fromkeys(LIMITS, "number"), ("retention",)),
}
KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}


class _Section(msgspec.Struct, frozen=True):
    """The part of the file that counts: its top level, or one environment with the top level behind it."""

    top: dict[str, Any]
    own: dict[str, Any]
    environment: str | None

    @property
    def prefix(self) -> str:
        return f"env.{self.environment}." if self.environment else ""

    def inherited(self, key: str, default: Any) -> tuple[Any, str]:
        """Give the value and its path, from the environment or else from the top level."""
        return (self.own[key], self.prefix + key) if key in self.own else (self.top.get(key, default), key)


def find_wrangler(folder: Path) -> tuple[Path | None, str | None]:
    """Find the folder's file in wrangler's order, with a warning when several stand side by side."""
    found = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
    if len(found) < 2:
        return (found[0] if found else None), None
    names = " and ".join(path.name for path in found[1:])
    return found[0], f"{found[0]} is read; beside it, and not read: {names}."


def read_wrangler(path: Path, environment: str | None = None) -> WranglerFile:
    """Read the file for its top level or a named environment.

    Raises:
        ConfigurationError: it cannot be read or parsed, or holds errors; the message has one line for each.
    """
    section = _section(path, _parsed(path, _text(path)), environment or None)
    problems = list(_problems(section))
    if problems:
        raise ConfigurationError("\n  ".join([f"{path}:", *problems]))
    queues = section.own.get("queues", {})
    variables = section.own.get("vars", {})
    return WranglerFile(
        path=path,
        name=_name(section),
        variables={key: value if isinstance(value, str) else dumps(value) for key, value in variables.items()},
        producers=tuple(Producer(entry["binding"], _sent_to(entry)) for entry in queues.get("producers", ())),
        consumers=tuple(_consumer(entry) for entry in queues.get("consumers", ())),
        limits=tuple(_limit(entry) for entry in queues.get("limits", ())),
        crons=tuple(section.inherited("triggers", {})[0].get("crons", ())),
        warnings=tuple(_warnings(section)),
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}: is not UTF-8 (at line {line})") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    if path.suffix not in (".json", ".jsonc", ".toml"):
        raise ConfigurationError(f"{path}: has an unknown ending; expected .json, .jsonc or .toml")
    try:
        value = tomllib.loads(text) if path.suffix == ".toml" else loads(text)
    except (ValueError, RecursionError) as error:
        # Both parsers have line and column in their sentences, except tomllib for the end.
        end = f"at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}, the end of the document"
        raise ConfigurationError(f"{path}: {str(error).replace('at end of document', end)}") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: should hold an object but got {dumps(value)}.")
    return value


def _section(path: Path, top: dict[str, Any], environment: str | None) -> _Section:
    if environment is None:
        return _Section(top, top, None)
    environments = top["env"] if isinstance(top.get("env"), dict) else {}
    if environment not in environments:
        raise ConfigurationError(
            f"{path}: No environment found in configuration with name {dumps(environment)}. "
            f"The available configured environment names are: {dumps(list(environments))}."
        )
    own = environments[environment]
    if not isinstance(own, dict):
        raise ConfigurationError(f'{path}: The field "env.{environment}" should be an object but got {dumps(own)}.')
    return _Section(top, own, environment)


def _problems(section: _Section) -> Iterator[str]:
    name, path = section.inherited("name", "")
    if not isinstance(name, str):
        yield f'Expected "{path}" to be of type string but got {dumps(name)}.'
    variables = section.own.get("vars", {})
    if not isinstance(variables, dict):
        yield f'The field "{section.prefix}vars" should be an object but got {dumps(variables)}.'
    triggers, path = section.inherited("triggers", {})
    crons = triggers.get("crons", []) if isinstance(triggers, dict) else []
    if not isinstance(triggers, dict):
        yield f'The field "{path}" should be an object but got {dumps(triggers)}.'
    if not isinstance(crons, list) or not all(isinstance(cron, str) for cron in crons):
        yield f'The field "{path}.crons" should be an array of strings but got {dumps(crons)}.'
    yield from _queues_problems(section.own.get("queues", {}), f"{section.prefix}queues")


def _queues_problems(queues: Any, path: str) -> Iterator[str]:
    if not isinstance(queues, dict):
        yield f'The field "{path}" should be an object but got {dumps(queues)}.'
        return
    for name, shape in SHAPES.items():
        entries = queues.get(name, [])
        if not isinstance(entries, list):
            yield f'The field "{path}.{name}" should be an array but got {dumps(entries)}.'
            continue
        for index, entry in enumerate(entries):
            yield from _entry_problems(entry, f"{path}.{name}[{index}]", shape)
        if shape.required == "queue":
            yield from _repeated(entries, f"{path}.{name}")


def _entry_problems(entry: Any, path: str, shape: _Shape) -> Iterator[str]:
    subject = f'"{path}" bindings' if shape.required == "binding" else f'"{path}"'
    if not isinstance(entry, dict):
        yield f"{subject} should be an object but got {dumps(entry)}."
        return
    if not isinstance(entry.get(shape.required), str):
        yield f'{subject} should have a string "{shape.required}" field but got {dumps(entry)}.'
    for key, kind in shape.optional.items():
        if key in entry and not _is(entry[key], kind):
            yield f'{subject} should, optionally, have a {kind} "{key}" field but got {dumps(entry)}.'
        elif key in entry and (allowed := _allowed_instead(key, entry[key])):
            yield f'"{path}.{key}" has an invalid value {dumps(entry[key])}. {allowed}'


def _allowed_instead(key: str, value: Any) -> str | None:
    if key == "type" and value not in ("worker", "http_pull"):
        return 'Only "worker" and "http_pull" consumers can be configured in your Wrangler configuration.'
    if (key in SETTINGS or key in LIMITS) and _whole(key, value) is None:
        return "Only whole numbers can be configured."
    return None


def _repeated(entries: list[Any], path: str) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        queue = entry.get("queue") if isinstance(entry, dict) else None
        if isinstance(queue, str) and first.setdefault(queue, index) != index:
            yield f'"{path}[{first[queue]}]" and "{path}[{index}]" both name queue {dumps(queue)}; expected at most one.'


def _warnings(section: _Section) -> Iterator[str]:
    for key in ("queues", "vars"):
        if key in section.top and key not in section.own:
            yield (
                f'"{key}" exists at the top level, but not on "env.{section.environment}". '
                f'It is not inherited by environments; add "{key}" to "env.{section.environment}".'
            )
    queues, path = section.own.get("queues", {}), f"{section.prefix}queues"
    yield from _unexpected(queues, path, SHAPES)
    for name, shape in SHAPES.items():
        for index, entry in enumerate(queues.get(name, ())):
            place = f"{path}.{name}[{index}]"
            yield from _unexpected(entry, place, (shape.required, *shape.optional, *shape.ignored))
            if name == "producers":
                yield from _producer_warnings(entry, place)


def _unexpected(value: dict[str, Any], path: str, known: Collection[str]) -> Iterator[str]:
    fields = ",".join(dumps(key) for key in value if key not in known)
    if fields:
        yield f"Unexpected fields found in {path} field: {fields}"


def _producer_warnings(entry: dict[str, Any], path: str) -> Iterator[str]:
    if "delivery_delay" in entry:
        yield f'"{path}.delivery_delay" is deprecated and has no effect; use "wrangler queues update" instead.'
    if "queue" not in entry:
        yield f'"{path}" has no "queue" field; {dumps(_sent_to(entry))} is taken from its binding {dumps(entry["binding"])}.'


def _name(section: _Section) -> str | None:
    if section.environment is None or "name" in section.own or "name" not in section.top:
        return section.own.get("name")
    return f"{section.top['name']}-{section.environment}"


def _sent_to(producer: dict[str, Any]) -> str:
    return str(producer.get("queue", producer["binding"].lower().replace("_", "-")))


def _consumer(entry: dict[str, Any]) -> ConsumerEntry:
    numbers = {SETTINGS[key]: _whole(key, value) for key, value in entry.items() if key in SETTINGS}
    return ConsumerEntry(
        queue=entry["queue"],
        type=entry.get("type", "worker"),
        dead_letter_queue=entry.get("dead_letter_queue") or None,
        settings={key: number for key, number in numbers.items() if number is not None},
    )


def _limit(entry: dict[str, Any]) -> BacklogLimit:
    return BacklogLimit(queue=entry["queue"], **{key: _whole(key, entry[key]) for key in LIMITS if key in entry})


def _is(value: object, kind: str) -> bool:
    # To Python, not to JSON, a boolean is a number.
    return kind == "boolean" if isinstance(value, bool) else isinstance(value, KINDS[kind])


def _whole(key: str, value: float) -> int | None:
    """Give the number in the API's unit, or None when it is not a whole one; nan and inf are not."""
    if key == "max_batch_timeout":
        value = round(value * 1000, 0)
    return int(value) if value == value // 1 else None
