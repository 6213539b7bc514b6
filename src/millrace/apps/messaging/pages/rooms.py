"""What the pages need of the application."""

from typing import NamedTuple

from millrace.apps.messaging.sealing import Seals
from millrace.platform import Platform


class Rooms(NamedTuple):
    """The platform, and what opens jobs."""

    platform: Platform
    seals: Seals
