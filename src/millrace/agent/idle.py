"""How long an agent waits before it looks again: the longer, the longer there was nothing."""

import random

from millrace.client.sync_calls import Chance

FIRST_SECONDS = 0.25
LAST_SECONDS = 5.0


class Idle:
    """The pauses between looks that found nothing: doubled up to 5 s, each shortened by chance to half of it or more.

    So the agents of an idle server ask it twice in ten seconds each, and not all at once.
    """

    def __init__(self, chance: Chance = random.random) -> None:
        self._chance = chance
        self._seconds = FIRST_SECONDS

    def reset(self) -> None:
        """Begin anew, since there was something."""
        self._seconds = FIRST_SECONDS

    def next_seconds(self) -> float:
        """Give the next pause."""
        pause = self._seconds * (1 + self._chance()) / 2
        self._seconds = min(2 * self._seconds, LAST_SECONDS)
        return pause
