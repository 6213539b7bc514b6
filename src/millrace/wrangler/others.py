"""Bindings beside those of queues: databases, key-value namespaces and workflows."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from millrace.jsonc import dumps
from millrace.wrangler.places import Problem
from millrace.wrangler.section import Section
from millrace.wrangler.shapes import Shape, entry_problems

D1 = dict.fromkeys(
    ("database_name", "database_id", "preview_database_id", "migrations_dir", "migrations_table"), "string"
)
OTHERS = {
    "d1_databases": Shape(("binding",), {**D1, "remote": "boolean"}),
    "kv_namespaces": Shape(("binding",), {"id": "string", "preview_id": "string", "remote": "boolean"}),
    "workflows": Shape(
        ("binding", "name"), {"class_name": "string", "script_name": "string", "remote": "boolean", "limits": "object"}
    ),
}
WORDS = {"d1_databases": "D1 Database", "kv_namespaces": "KV Namespace", "workflows": "Workflow"}


class OtherBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A binding: of a database, of a namespace by its id, or of a workflow by its name, with the class that it is."""

    path: str
    binding: str
    kind: Literal["d1", "kv", "workflow"]
    target: str
    class_name: str | None = None


def other_problems(section: Section) -> Iterator[Problem]:
    """Tell everything that is wrong with these bindings."""
    for key, shape in OTHERS.items():
        entries, place = section.own.get(key, []), section.prefix + key
        if not isinstance(entries, list):
            yield Problem(place, f'The field "{place}" should be an array but got {dumps(entries)}.')
            continue
        for index, entry in enumerate(entries):
            yield from entry_problems(entry, f"{place}[{index}]", shape)
    yield from _names_taken(section)


def others_of(section: Section) -> tuple[OtherBinding, ...]:
    """Give the bindings of a section without problems."""
    return (
        *(_binding("d1", "database_name", *entry) for entry in _entries(section, "d1_databases")),
        *(_binding("kv", "id", *entry) for entry in _entries(section, "kv_namespaces")),
        *(_binding("workflow", "name", *entry) for entry in _entries(section, "workflows")),
    )


def _binding(kind: Literal["d1", "kv", "workflow"], key: str, path: str, entry: dict[str, Any]) -> OtherBinding:
    binding = entry["binding"]
    class_name = None if "script_name" in entry else entry.get("class_name")
    return OtherBinding(path=path, binding=binding, kind=kind, target=entry.get(key) or binding, class_name=class_name)


def _entries(section: Section, key: str) -> list[tuple[str, dict[str, Any]]]:
    entries = section.own.get(key, ())
    listed = entries if isinstance(entries, list) else ()
    return [(f"{section.prefix}{key}[{index}]", entry) for index, entry in enumerate(listed)]


def _names_taken(section: Section) -> Iterator[Problem]:
    """Tell of bindings that have the name of a queue's, of another one, or of a variable."""
    variables, queues = section.own.get("vars"), section.own.get("queues")
    producers = queues.get("producers") if isinstance(queues, dict) else None
    taken = dict.fromkeys(variables, "Environment Variable") if isinstance(variables, dict) else {}
    for entry in producers if isinstance(producers, list) else ():
        if isinstance(entry, dict):
            taken[str(entry.get("binding"))] = "Queue"
    for key, word in WORDS.items():
        for path, entry in _entries(section, key):
            name = entry.get("binding") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                continue
            if name in taken:
                both = f"multiple {word}" if taken[name] == word else f"{taken[name]} and {word}"
                yield Problem(
                    f"{path}.binding", f"{name} assigned to {both} bindings. Bindings must have unique names."
                )
            taken[name] = word
