"""The page of messages as a value, for the menu of the dashboard."""

from functools import partial
from pathlib import Path

from millrace.access.scopes import Scope
from millrace.apps.messaging.pages.acts import SAID, act
from millrace.apps.messaging.pages.failures_page import show_failures
from millrace.apps.messaging.pages.list_page import show_list
from millrace.apps.messaging.pages.message_page import show_message
from millrace.apps.messaging.pages.rooms import Rooms
from millrace.apps.messaging.pages.words import FAILURES
from millrace.apps.messaging.queues import QUEUE
from millrace.apps.messaging.sealing import Seals
from millrace.dashboard.pages import Page
from millrace.platform import Platform

TEMPLATES = Path(__file__).parents[1] / "templates"


def messages_page(platform: Platform, seals: Seals) -> Page:
    """Make the page, for those who may review: they read what messages hold."""
    rooms = Rooms(platform, seals)
    return Page(
        name="messages",
        title="Messages",
        scope=Scope.REVIEW,
        queue=QUEUE,
        shows={
            "": partial(show_list, rooms),
            f"/{FAILURES}": partial(show_failures, rooms),
            "/{id}": partial(show_message, rooms),
        },
        acts={"/{id}": partial(act, rooms)},
        templates=TEMPLATES,
        said=SAID,
    )
