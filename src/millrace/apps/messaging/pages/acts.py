"""What the forms of a message's page do: the same as the routes of the API, whose sentences the page repeats."""

from urllib.parse import quote

from millrace.apps.messaging.pages.message_page import answer_message
from millrace.apps.messaging.pages.rooms import Rooms
from millrace.apps.messaging.pages.words import segment
from millrace.dashboard.forms import Form
from millrace.dashboard.turn import Turn
from millrace.errors import InvalidRequest, MillraceError, StoreUnavailable
from millrace.http.errors import reply_to
from millrace.http.routes import Answer

MINUTES = len("2026-12-24T18:00")  # what a browser sends of a time without seconds
SAID = {
    "approve": "Approved: the message is in the queue.",
    "reject": "Rejected: nothing is sent.",
    "cancel": "Cancelled: nothing is sent.",
    "reschedule": "It is sent at the new time.",
    "redrive": "It is in the queue again.",
}


async def act(rooms: Rooms, turn: Turn) -> Answer:
    """Do what the form's button says; what is refused is told on the page."""
    name, message_id = turn.form.text("act"), turn.request.params["id"]
    if name not in SAID:
        raise InvalidRequest(f"act is {name[:40]!r}; expected one of {', '.join(SAID)}")
    try:
        await turn.ask("POST", f"/api/messages/{quote(message_id, safe='')}/{name}", body_of(name, turn.form))
    except StoreUnavailable:
        raise
    except MillraceError as error:
        return await answer_message(rooms, turn, reply_to(error).status, str(error))
    return turn.go(f"/messages/{segment(message_id)}", name)


def body_of(name: str, form: Form) -> dict[str, str]:
    """Make the body of a route of what was typed."""
    if name == "reject":
        return {"reason": reason} if (reason := form.text("reason").strip()) else {}
    if name == "reschedule":
        return {"sendAt": utc(form.text("send_at").strip())}
    return {}


def utc(text: str) -> str:
    """Write a time that was typed as UTC with its offset; the browser sends none, and may leave out the seconds."""
    return f"{text}:00Z" if len(text) == MINUTES else f"{text}Z"
