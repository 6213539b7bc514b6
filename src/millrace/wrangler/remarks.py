"""What a file has that is not wrong, but would surprise: the warnings."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

from millrace.jsonc import dumps
from millrace.wrangler.others import OTHERS
from millrace.wrangler.places import Problem
from millrace.wrangler.section import Section
from millrace.wrangler.shapes import SHAPES

KEYS = ("queues", "triggers", "vars", "name", "main", "env", *OTHERS)


def remarks(section: Section) -> Iterator[Problem]:
    """Tell what to warn of in a section without problems."""
    for key in ("queues", "vars", *OTHERS):
        if key in section.top and key not in section.own:
            yield Problem(
                key,
                f'"{key}" exists at the top level, but not on "env.{section.environment}". '
                f'It is not inherited by environments; add "{key}" to "env.{section.environment}".',
            )
    yield from _misspelt(section)
    triggers, path = section.inherited("triggers", {})
    yield from _unexpected(triggers, path, ("crons", "scheduled"))
    queues, path = section.own.get("queues", {}), f"{section.prefix}queues"
    yield from _unexpected(queues, path, SHAPES)
    for name, shape in SHAPES.items():
        for index, entry in enumerate(queues.get(name, ())):
            place = f"{path}.{name}[{index}]"
            yield from _unexpected(entry, place, (*shape.required, *shape.optional))
            if name == "producers":
                yield from _producer_remarks(entry, place)
    for name, shape in OTHERS.items():
        for index, entry in enumerate(section.own.get(name, ())):
            yield from _unexpected(entry, f"{section.prefix}{name}[{index}]", (*shape.required, *shape.optional))


def _misspelt(section: Section) -> Iterator[Problem]:
    """Tell of keys that look like ours; of all others that wrangler has, we know nothing."""
    where = f"env.{section.environment}" if section.environment else "top-level"
    for key in section.own:
        near = get_close_matches(key, KEYS, 1, 0.8)
        if near and key not in KEYS:
            sentence = f"Unexpected fields found in {where} field: {dumps(key)}; is {dumps(near[0])} meant?"
            yield Problem(section.prefix + key, sentence)


def sent_to(producer: dict[str, Any]) -> str:
    """Give the queue of a producer: the one it names, or else the one its binding stands for."""
    return str(producer.get("queue", producer["binding"].lower().replace("_", "-")))


def _unexpected(value: dict[str, Any], path: str, known: Collection[str]) -> Iterator[Problem]:
    fields = [key for key in value if key not in known]
    if fields:
        names = ",".join(dumps(key) for key in fields)
        yield Problem(f"{path}.{fields[0]}", f"Unexpected fields found in {path} field: {names}")


def _producer_remarks(entry: dict[str, Any], path: str) -> Iterator[Problem]:
    if "delivery_delay" in entry:
        place = f"{path}.delivery_delay"
        yield Problem(place, f'"{place}" is deprecated and has no effect; use "wrangler queues update" instead.')
    if "queue" not in entry:
        taken = f"{dumps(sent_to(entry))} is taken from its binding {dumps(entry['binding'])}"
        yield Problem(path, f'"{path}" has no "queue" field; {taken}.')
