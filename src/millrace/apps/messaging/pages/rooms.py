"""What the pages need of the application."""

from typing import NamedTuple

from millrace.apps.messaging.jobs import Job
from millrace.apps.messaging.rows import Row
from millrace.apps.messaging.sealing import Kept, Seals
from millrace.errors import ConfigurationError
from millrace.platform import Platform


class Rooms(NamedTuple):
    """The platform, and what opens jobs."""

    platform: Platform
    seals: Seals

    def open(self, account_id: str, row: Row) -> Job | None:
        """Give what a row holds, None when it was sealed with another master key."""
        try:
            return self.seals.open(account_id, row.id, Kept(row.body, row.key_id))
        except ConfigurationError:
            return None
