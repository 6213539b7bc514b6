"""What a file says for one environment, as values."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace.errors import ConfigurationError
from millrace.wrangler.others import OtherBinding
from millrace.wrangler.places import Problem, Spot, place, refusal


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What every entry of `queues` has: the queue's name, and for errors its own path in the file."""

    path: str = ""
    queue: str


class Producer(Entry, frozen=True, kw_only=True):
    """A binding through which a worker sends to a queue."""

    binding: str


class ConsumerEntry(Entry, frozen=True, kw_only=True):
    """A consumer as the file has it.

    Settings are in the API's spelling and units, and only those that are named. `handler` is "module:function" or
    "path.py:function". `secret_variable` names the environment variable with the secret that signs pushes to `url`.
    """

    type: Literal["worker", "http_pull", "http_push"] = "worker"
    dead_letter_queue: str | None = None
    handler: str | None = None
    url: str | None = None
    secret_variable: str | None = None
    settings: dict[str, Any] = {}


class QueueLimits(Entry, frozen=True, kw_only=True):
    """How much may wait in a queue (None is no limit), for how long, and what is a double (None leaves it as it is)."""

    max_backlog_messages: int | None = None
    max_backlog_bytes: int | None = None
    retention_seconds: int | None = None
    deduplication_seconds: int | None = None
    deduplicate_content: bool | None = None


class ForwardEntry(Entry, frozen=True, kw_only=True):
    """Where copies of a queue's messages go: of all, or of those that have these headers."""

    to: str
    headers: dict[str, str] = {}


class WranglerFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file for one environment. Variables are JSON values; dates of TOML are text.

    `main_path` and `crons_path` are where the two stand, in the environment or on top; `scheduled`, "module:function"
    as a handler, stands beside the crons.
    """

    path: Path
    spots: Spot
    name: str | None
    main: str | None
    main_path: str
    variables: dict[str, Any]
    producers: tuple[Producer, ...]
    consumers: tuple[ConsumerEntry, ...]
    limits: tuple[QueueLimits, ...]
    forwards: tuple[ForwardEntry, ...]
    others: tuple[OtherBinding, ...]
    crons: tuple[str, ...]
    crons_path: str
    scheduled: str | None
    warnings: tuple[str, ...]

    def place(self, path: str) -> str:
        """Write where a path such as `queues.consumers[1].handler` stands: "wrangler.toml:12"."""
        return place(self.path, self.spots, path)

    def refusal(self, problems: Iterable[Problem]) -> ConfigurationError:
        """Make one error of all problems, each with its place."""
        return refusal(self.path, self.spots, problems)
