"""The keys that a file may have, and what is wrong with those it has."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from millrace.jsonc import dumps
from millrace.wrangler.places import Problem
from millrace.wrangler.section import Section

# The file's spelling and the API's; max_batch_timeout alone changes its unit, too.
SETTINGS = {
    "max_batch_size": "batch_size",
    "max_batch_timeout": "max_wait_time_ms",
    "max_retries": "max_retries",
    "max_concurrency": "max_concurrency",
    "retry_delay": "retry_delay",
    "visibility_timeout_ms": "visibility_timeout_ms",
    "max_attempts": "max_attempts",
    "head_start_seconds": "head_start_seconds",
}
AS_WRITTEN = {"flush_on": "string", "backoff": "object", "rate_limit": "object"}  # the same in the API
LIMITS = {
    "max_backlog_messages": "max_backlog_messages",
    "max_backlog_bytes": "max_backlog_bytes",
    "retention": "retention_seconds",
    "deduplication_seconds": "deduplication_seconds",
}
NAME = re.compile(r"([a-z0-9_][a-z0-9_-]*)?")
TYPES = ("worker", "http_pull", "http_push")
# Keys that only one type of consumer has.
BELONGINGS = {"handler": "worker", "url": "http_push", "secret_variable": "http_push"}
KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "boolean": (bool,), "object": (dict,)}


class Shape(msgspec.Struct, frozen=True):
    """The keys of an entry: required strings, and optional ones of a kind."""

    required: tuple[str, ...]
    optional: dict[str, str]
    is_single: bool = True  # a queue may be named by one entry only


SHAPES = {
    "producers": Shape(
        ("binding",), {"queue": "string", "delivery_delay": "number", "remote": "boolean"}, is_single=False
    ),
    "consumers": Shape(
        ("queue",),
        {
            **dict.fromkeys(("type", "dead_letter_queue", "handler", "url", "secret_variable"), "string"),
            **dict.fromkeys(SETTINGS, "number"),
            **AS_WRITTEN,
        },
    ),
    "limits": Shape(("queue",), {**dict.fromkeys(LIMITS, "number"), "deduplicate_content": "boolean"}),
    "forwards": Shape(("queue", "to"), {"headers": "object"}, is_single=False),
}


def problems(section: Section) -> Iterator[Problem]:
    """Tell everything that is wrong; ranges are left to who knows queues."""
    main, path = section.inherited("main", "")
    if not isinstance(main, str):
        yield Problem(path, f'Expected "{path}" to be of type string but got {dumps(main)}.')
    name, path = section.inherited("name", "")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        kind = "string, alphanumeric and lowercase with dashes only"
        yield Problem(path, f'Expected "{path}" to be of type {kind} but got {dumps(name)}.')
    variables, path = section.own.get("vars", {}), f"{section.prefix}vars"
    if not isinstance(variables, dict):
        yield Problem(path, f'The field "{path}" should be an object but got {dumps(variables)}.')
    yield from _triggers_problems(*section.inherited("triggers", {}))
    yield from _queues_problems(section.own.get("queues", {}), f"{section.prefix}queues")
    yield from _names_taken(section)


def whole(key: str, value: float) -> int | None:
    """Give the number in the API's unit, or None when it is not a whole one; nan and inf are not."""
    if key == "max_batch_timeout":
        value = round(value * 1000, 0)
    return int(value) if value == value // 1 else None


def _triggers_problems(triggers: Any, path: str) -> Iterator[Problem]:
    if not isinstance(triggers, dict):
        yield Problem(path, f'The field "{path}" should be an object but got {dumps(triggers)}.')
        return
    yield from _scheduled_problems(triggers, f"{path}.scheduled")
    crons, path = triggers.get("crons", []), f"{path}.crons"
    if not isinstance(crons, list) or not all(isinstance(cron, str) for cron in crons):
        yield Problem(path, f'The field "{path}" should be an array of strings but got {dumps(crons)}.')
        return
    for index, cron in enumerate(crons):
        if len(cron.split()) != 5:
            allowed = "Expected 5 fields: minute, hour, day of the month, month, day of the week."
            yield _invalid(f"{path}[{index}]", cron, allowed)


def _scheduled_problems(triggers: dict[str, Any], path: str) -> Iterator[Problem]:
    scheduled = triggers.get("scheduled", "any:any")
    if not isinstance(scheduled, str):
        yield Problem(path, f'The field "{path}" should be a string but got {dumps(scheduled)}.')
    elif not all(scheduled.rpartition(":")):
        yield _invalid(path, scheduled, 'Expected "module:function" or "path.py:function".')


def _queues_problems(queues: Any, path: str) -> Iterator[Problem]:
    if not isinstance(queues, dict):
        yield Problem(path, f'The field "{path}" should be an object but got {dumps(queues)}.')
        return
    for name, shape in SHAPES.items():
        entries, place = queues.get(name, []), f"{path}.{name}"
        if not isinstance(entries, list):
            yield Problem(place, f'The field "{place}" should be an array but got {dumps(entries)}.')
            continue
        for index, entry in enumerate(entries):
            yield from entry_problems(entry, f"{place}[{index}]", shape)
        if shape.is_single:
            yield from _repeated(entries, place)


def entry_problems(entry: Any, path: str, shape: Shape) -> Iterator[Problem]:
    """Tell what is wrong with one entry of a list."""
    subject = f'"{path}" bindings' if "binding" in shape.required else f'"{path}"'
    if not isinstance(entry, dict):
        yield Problem(path, f"{subject} should be an object but got {dumps(entry)}.")
        return
    for name in shape.required:
        if not isinstance(entry.get(name), str):
            yield Problem(f"{path}.{name}", f'{subject} should have a string "{name}" field but got {dumps(entry)}.')
    for key, kind in shape.optional.items():
        if key in entry and not _is(entry[key], kind):
            field = f'{"an" if kind == "object" else "a"} {kind} "{key}" field'
            yield Problem(f"{path}.{key}", f"{subject} should, optionally, have {field} but got {dumps(entry)}.")
        elif key in entry and (allowed := _allowed_instead(key, entry[key])):
            yield _invalid(f"{path}.{key}", entry[key], allowed)
    if shape is SHAPES["consumers"]:
        yield from _belonging_problems(entry, path)


def _allowed_instead(key: str, value: Any) -> str | None:
    if key == "type" and value not in TYPES:
        return 'Only "worker", "http_pull" and "http_push" consumers can be configured in your Wrangler configuration.'
    if (key in SETTINGS or key in LIMITS) and whole(key, value) is None:
        return "Only whole numbers can be configured."
    if key == "handler" and not all(value.rpartition(":")):
        return 'Expected "module:function" or "path.py:function".'
    return None


def _belonging_problems(entry: dict[str, Any], path: str) -> Iterator[Problem]:
    kind = entry.get("type", "worker")
    for key, owner in BELONGINGS.items():
        if key in entry and kind in TYPES and kind != owner:
            sentence = f'"{path}.{key}" belongs to consumers of type "{owner}" only, but this one is of type "{kind}".'
            yield Problem(f"{path}.{key}", sentence)
    if kind == "http_push" and "url" not in entry:
        yield Problem(path, f'"{path}" should have a string "url" field but got {dumps(entry)}.')


def _names_taken(section: Section) -> Iterator[Problem]:
    """Tell of bindings that have the name of another one, or of a variable: `env` has room for one of them."""
    queues, variables = section.own.get("queues"), section.own.get("vars")
    producers = queues.get("producers") if isinstance(queues, dict) else None
    taken = dict.fromkeys(variables, "Queue and Environment Variable") if isinstance(variables, dict) else {}
    for index, entry in enumerate(producers if isinstance(producers, list) else ()):
        name = entry.get("binding") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        if name in taken:
            place = f"{section.prefix}queues.producers[{index}].binding"
            yield Problem(place, f"{name} assigned to {taken[name]} bindings. Bindings must have unique names.")
        taken[name] = "multiple Queue"


def _repeated(entries: list[Any], path: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        queue = entry.get("queue") if isinstance(entry, dict) else None
        if isinstance(queue, str) and first.setdefault(queue, index) != index:
            both = f'"{path}[{first[queue]}]" and "{path}[{index}]"'
            yield Problem(f"{path}[{index}].queue", f"{both} both name queue {dumps(queue)}; expected at most one.")


def _invalid(path: str, value: Any, allowed: str) -> Problem:
    return Problem(path, f'"{path}" has an invalid value {dumps(value)}. {allowed}')


def _is(value: object, kind: str) -> bool:
    # To Python, not to JSON, a boolean is a number.
    return kind == "boolean" if isinstance(value, bool) else isinstance(value, KINDS[kind])
