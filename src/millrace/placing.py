"""Where a send has put its messages."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace.message import Backlog, Stamped


class Placed(NamedTuple):
    """A message that was sent: its id, and the key of its row, which a later settlement finds it by.

    The key is 0 where the queue keeps no row of it: it repeats an earlier message, whose id this is then, or went to
    other queues only.
    """

    id: str
    key: int


class Copied(NamedTuple):
    """How many messages a send has stored in a queue that it is forwarded to, and their bytes."""

    queue: str
    count: int
    bytes: int


class Stored(Backlog, frozen=True):
    """The backlog with a sender's messages in it; the key of the first one, which the others follow.

    Where they may not follow it, since some were not stored in this queue, `places` tells of each.
    """

    first_key: int
    places: tuple[Placed, ...] = ()
    copies: tuple[Copied, ...] = ()


class Repeated(Backlog, frozen=True):
    """The backlog as a repeat finds it; `first_id` is the first message that the send before it has stored."""

    first_id: str


def places_of(stamped: Sequence[Stamped], backlog: Backlog) -> Sequence[Placed]:
    """Say where a send has put each message."""
    if isinstance(backlog, Repeated):
        return [Placed(backlog.first_id, 0)]
    if not isinstance(backlog, Stored):
        return [Placed(message.id, 0) for message in stamped]
    return backlog.places or [Placed(message.id, key) for key, message in enumerate(stamped, backlog.first_key)]


def fresh_of(stamped: Sequence[Stamped], backlog: Backlog) -> Sequence[Stamped]:
    """Give those messages of a send that repeat no other one."""
    if isinstance(backlog, Repeated):
        return []
    places = backlog.places if isinstance(backlog, Stored) else ()
    return [one for one, place in zip(stamped, places, strict=True) if one.id == place.id] if places else stamped
