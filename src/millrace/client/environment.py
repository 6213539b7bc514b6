"""Which queues a program's bindings stand for: those of a wrangler file, or those that their names tell."""

from pathlib import Path
from typing import Any, NamedTuple

from millrace.wrangler.file import WranglerFile
from millrace.wrangler.finding import find_wrangler
from millrace.wrangler.reading import read_wrangler


class Named(NamedTuple):
    """Queue names by binding name, and the plain variables beside them; None stands for any binding."""

    queues: dict[str, str] | None
    variables: dict[str, Any]


def read_names(folder: Path, environment: str | None = None) -> Named:
    """Read the wrangler file of a folder, or of the nearest one above it that has one.

    Raises:
        ConfigurationError: the file is wrong.
    """
    path, _ = find_wrangler(folder)
    return Named(None, {}) if path is None else names_of(read_wrangler(path, environment))


def names_of(file: WranglerFile) -> Named:
    """Give the names of a wrangler file."""
    return Named({producer.binding: producer.queue for producer in file.producers}, dict(file.variables))


def queue_named_by(binding: str) -> str | None:
    """Give the queue that a binding's name tells: EVENT_QUEUE is event-queue; None when it is not in capitals."""
    is_name = binding.isascii() and binding.isupper() and binding.replace("_", "").isalnum()
    return binding.strip("_").lower().replace("_", "-") if is_name else None
