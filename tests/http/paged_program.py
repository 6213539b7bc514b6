"""A program with pages in the dashboard: `letters` for whom may send, `stamps` for whom may peek into one queue."""

from pathlib import Path

from millrace import App
from millrace.access.scopes import Scope
from millrace.dashboard.pages import Page
from millrace.dashboard.turn import Turn
from millrace.errors import NotFound
from millrace.http.routes import Answer

TEMPLATES = Path(__file__).parent / "paged_templates"
letters = {"first": "waiting"}


async def show_letters(turn: Turn) -> Answer:
    return turn.page("letters/list.html", letters=letters, problem="")


async def show_letter(turn: Turn) -> Answer:
    name = turn.request.params["id"]
    if name not in letters:
        raise NotFound(f"letter {name[:40]!r} does not exist")
    return turn.page("letters/letter.html", name=name, state=letters[name])


async def stamp(turn: Turn) -> Answer:
    letters[turn.request.params["id"]] = turn.form.text("state")
    return turn.go(f"/letters/{turn.request.params['id']}", "stamped", 1_200)


async def show_stamps(turn: Turn) -> Answer:
    return turn.page("stamps/list.html", letters={}, problem="")


app = App(
    pages=(
        Page(
            name="letters",
            title="Letters & parcels",
            scope=Scope.SEND,
            shows={"": show_letters, "/{id}": show_letter},
            acts={"/{id}/stamp": stamp},
            templates=TEMPLATES,
            said={"stamped": "Stamped for {count} pence."},
        ),
        Page(
            name="stamps",
            title="Stamps",
            scope=Scope.PEEK,
            shows={"": show_stamps},
            templates=TEMPLATES,
            queue="stamps",
        ),
    )
)
