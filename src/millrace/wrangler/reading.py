"""Read a file: text, values, lines, problems; then what it says."""

import re
import tomllib
from pathlib import Path
from typing import Any

from millrace.errors import ConfigurationError
from millrace.jsonc import dumps, loads
from millrace.wrangler.file import ConsumerEntry, ForwardEntry, Producer, QueueLimits, WranglerFile
from millrace.wrangler.json_spots import json_spots
from millrace.wrangler.others import other_problems, others_of
from millrace.wrangler.places import Problem, Spot, placed, refusal
from millrace.wrangler.remarks import remarks, sent_to
from millrace.wrangler.section import Section, choose_section
from millrace.wrangler.shapes import AS_WRITTEN, LIMITS, SETTINGS, problems, whole
from millrace.wrangler.toml_spots import toml_spots


def read_wrangler(path: Path, environment: str | None = None) -> WranglerFile:
    """Read the file for its top level or a named environment.

    Raises:
        ConfigurationError: it cannot be read or parsed, or holds errors; the message has one line for each, with
            file, line, key and what was expected.
    """
    value, spots = _parsed(path, _text(path))
    section = choose_section(value, environment or None)
    if isinstance(section, Problem):
        raise refusal(path, spots, [section])
    found = [*problems(section), *other_problems(section)]
    if found:
        raise refusal(path, spots, found)
    return _file(path, spots, section)


def has_environment(path: Path, name: str) -> bool:
    """Say whether the file has a section for the environment.

    Raises:
        ConfigurationError: it cannot be read or parsed.
    """
    value, _ = _parsed(path, _text(path))
    return isinstance(choose_section(value, name), Section)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is not UTF-8") from error


def _parsed(path: Path, text: str) -> tuple[dict[str, Any], Spot]:
    if path.suffix not in (".json", ".jsonc", ".toml"):
        raise ConfigurationError(f"{path}: has an unknown ending; expected .json, .jsonc or .toml")
    try:
        is_toml = path.suffix == ".toml"
        value = tomllib.loads(text) if is_toml else loads(text)
        spots = toml_spots(text) if is_toml else json_spots(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(path, text, str(error)) from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: should hold an object but got {dumps(value)}.")
    return value, spots


def _syntax_error(path: Path, text: str, sentence: str) -> ConfigurationError:
    """Both parsers have line and column in their sentences, except tomllib for the end."""
    end = f"at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}, the end of the document"
    sentence = sentence.replace("at end of document", end)
    line = re.search(r"line (\d+),? column", sentence)
    return ConfigurationError(f"{path}:{line[1]}: {sentence}" if line else f"{path}: {sentence}")


def _file(path: Path, spots: Spot, section: Section) -> WranglerFile:
    queues, prefix = section.own.get("queues", {}), f"{section.prefix}queues"
    main, main_path = section.inherited("main")
    triggers, triggers_path = section.inherited("triggers", {})
    variables = section.own.get("vars", {})
    return WranglerFile(
        path=path,
        spots=spots,
        name=_name(section),
        main=main,
        main_path=main_path,
        variables={key: loads(dumps(value)) for key, value in variables.items()},  # dates become text
        producers=tuple(_producer(*entry) for entry in _entries(queues, prefix, "producers")),
        consumers=tuple(_consumer(*entry) for entry in _entries(queues, prefix, "consumers")),
        limits=tuple(_limits(*entry) for entry in _entries(queues, prefix, "limits")),
        forwards=tuple(_forward(*entry) for entry in _entries(queues, prefix, "forwards")),
        others=others_of(section),
        crons=tuple(triggers.get("crons", ())),
        crons_path=f"{triggers_path}.crons",
        scheduled=triggers.get("scheduled"),
        warnings=tuple(placed(path, spots, remarks(section))),
    )


def _name(section: Section) -> str | None:
    if section.environment is None or "name" in section.own or "name" not in section.top:
        return section.own.get("name")
    return f"{section.top['name']}-{section.environment}"


def _entries(queues: dict[str, Any], prefix: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{prefix}.{name}[{index}]", entry) for index, entry in enumerate(queues.get(name, ()))]


def _producer(path: str, entry: dict[str, Any]) -> Producer:
    return Producer(path=path, binding=entry["binding"], queue=sent_to(entry))


def _consumer(path: str, entry: dict[str, Any]) -> ConsumerEntry:
    settings = _numbers(entry, SETTINGS) | {key: entry[key] for key in AS_WRITTEN if key in entry}
    return ConsumerEntry(
        path=path,
        queue=entry["queue"],
        type=entry.get("type", "worker"),
        dead_letter_queue=entry.get("dead_letter_queue") or None,
        handler=entry.get("handler"),
        url=entry.get("url"),
        secret_variable=entry.get("secret_variable"),
        settings=settings,
    )


def _limits(path: str, entry: dict[str, Any]) -> QueueLimits:
    deduplicate_content = entry.get("deduplicate_content")
    numbers = _numbers(entry, LIMITS)
    return QueueLimits(path=path, queue=entry["queue"], deduplicate_content=deduplicate_content, **numbers)


def _forward(path: str, entry: dict[str, Any]) -> ForwardEntry:
    return ForwardEntry(path=path, queue=entry["queue"], to=entry["to"], headers=entry.get("headers", {}))


def _numbers(entry: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {name: whole(key, entry[key]) for key, name in names.items() if key in entry}
