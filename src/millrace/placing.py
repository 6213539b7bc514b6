"""Where a send has put its messages."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from millrace.message import Backlog, Stamped


class Placed(NamedTuple):
    """A message that was sent: its id, and the key of its row, which a later settlement finds it by.

    The key is 0 where the queue keeps no row of it: it repeats an earlier message, whose id this is then, or went to
    other queues only.
    """

    id: str
    key: int


class Copied(msgspec.Struct, frozen=True):
    """How many messages a send has stored in a queue that it is forwarded to, and their bytes."""

    queue: str
    count: int
    bytes: int


class Stored(Backlog, frozen=True):
    """The backlog with a sender's messages in it, and the place of the first one, which the others follow.

    Where they may not follow it, since some were not stored in this queue, `places` tells of each.
    """

    first_id: str
    first_key: int
    places: tuple[Placed, ...] = ()
    copies: tuple[Copied, ...] = ()


class Repeated(Stored, frozen=True):
    """The backlog as a repeat finds it, with the id of the first message that the send before it has stored."""


def places_of(stamped: Sequence[Stamped], stored: Stored) -> Sequence[Placed]:
    """Say where a send has put each message; the repeat of a whole send has one place, without a key."""
    if isinstance(stored, Repeated):
        return [Placed(stored.first_id, 0)]
    return stored.places or [Placed(message.id, key) for key, message in enumerate(stamped, stored.first_key)]


def fresh_of(stamped: Sequence[Stamped], stored: Stored) -> Sequence[Stamped]:
    """Give those messages of a send that repeat no other one."""
    if isinstance(stored, Repeated):
        return []
    if not stored.places:
        return stamped
    return [message for message, place in zip(stamped, stored.places, strict=True) if message.id == place.id]
