"""The dashboard's routes: who may see and act is decided here, before a page's function is called."""

from collections.abc import Iterable, Sequence

from millrace import limits
from millrace.access.scopes import Scope
from millrace.dashboard import acts, audit, dead_letters, overview, queue_page
from millrace.dashboard.forms import Form
from millrace.dashboard.frame import Frame
from millrace.dashboard.log_in import LogIn
from millrace.dashboard.pages import Page, Show, check_member
from millrace.dashboard.sessions import GUEST, LOGIN, Session, Sessions
from millrace.dashboard.turn import Turn, redirect, root_of
from millrace.dashboard.visits import VISIT
from millrace.errors import Forbidden, MillraceError, RouteNotFound, StoreUnavailable
from millrace.http.desk import Desk
from millrace.http.errors import reply_to
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Handle, Route, Stream

HOME = "/dashboard"
FORM = Shape(dict[str, str])

QUEUES = Page(
    name="queues",
    title="Queues",
    scope=Scope.MANAGE,
    shows={"": overview.show_queues, "/{name}": queue_page.show_queue},
    acts={
        "/{name}": acts.send,
        "/{name}/pause": acts.pause,
        "/{name}/resume": acts.resume,
        "/{name}/purge": acts.purge,
        "/{name}/discard": acts.discard,
        "/{name}/redrive": acts.redrive,
    },
    said=acts.SAID,
)
DEAD_LETTERS = Page(
    name="dead-letters",
    title="Dead letters",
    scope=Scope.MANAGE,
    shows={"": dead_letters.show_dead_letters},
    said=acts.SAID,  # its forms are those of a queue's page
)
AUDIT = Page(name="audit", title="Audit", scope=Scope.AUDIT, shows={"": audit.show_audit}, needs_all_queues=True)


def routes(sessions: Sessions, listed: Iterable[Route], pages: Sequence[Page] = ()) -> list[Route]:
    """Give the routes of the dashboard, with those of the applications' pages; pages may ask the `listed` routes.

    Raises:
        ConfigurationError: the names of two pages are the same, or one cannot be a name.
    """
    frame, log_in = Frame(listed, (QUEUES, DEAD_LETTERS, *pages, AUDIT)), LogIn(sessions)
    return [
        _route(HOME, _for_members(_show_first, frame)),
        *(route for page in frame.pages for route in _routes_of(page, frame)),
        _form_route(HOME + "/logout", _for_members(_from_own(log_in.log_out), frame)),
        _route(LOGIN, _open(log_in.show_log_in, frame)),
        _form_route(LOGIN, _open(log_in.log_in, frame)),
        _route(HOME + "/static/{name}", _assets(frame)),
    ]


def _routes_of(page: Page, frame: Frame) -> Iterable[Route]:
    """Make the routes of a page, which look at the key first."""
    here = f"{HOME}/{page.name}"
    for path, show in page.shows.items():
        yield _route(here + path, _for_members(_checked(show, page), frame, page))
    for path, act in page.acts.items():
        yield _form_route(here + path, _for_members(_checked(_from_own(act), page), frame, page))


def _route(path: str, handle: Handle) -> Route:
    return Route(method="GET", path=path, handle=handle, scope=None)


def _form_route(path: str, handle: Handle) -> Route:
    return Route(method="POST", path=path, handle=handle, scope=None, takes=FORM, body_limit=limits.REQUEST_BYTES)


async def _show_first(turn: Turn) -> Answer:
    """Show the first page that is for the key."""
    check_member(turn.request.key, turn.frame.pages)
    first = turn.frame.menu(turn.request.key)[0]
    return await first.shows[""](turn._replace(current=first))


def _checked(show: Show, page: Page) -> Show:
    """Keep a page and its forms to the keys that it is for."""

    async def seen(turn: Turn) -> Answer:
        page.check(turn.request.key)
        return await show(turn)

    return seen


def _from_own(act: Show) -> Show:
    """Let sessions act from a form that we gave them; a key in the header needs none."""

    async def done(turn: Turn) -> Answer:
        if isinstance(turn.request.key, Session):
            _check_own(turn, turn.request.key)
        return await act(turn)

    return done


def _for_members(show: Show, frame: Frame, page: Page | None = None) -> Handle:
    """Let those in who have logged in."""
    inside = _open(show, frame, page)

    async def handle(desk: Desk, request: Request) -> Answer | Stream:
        return _to_log_in(request) if request.key is GUEST else await inside(desk, request)

    return handle


def _open(show: Show, frame: Frame, page: Page | None = None) -> Handle:
    """Call a page's function; what it refuses is told on a page."""

    async def handle(desk: Desk, request: Request) -> Answer:
        turn = Turn(desk, request, Form(b""), frame, page)
        try:
            return await show(turn._replace(form=Form(request.body)))
        except StoreUnavailable:  # the door logs it
            raise
        except MillraceError as error:
            return turn.page("refused.html", reply_to(error).status, sentence=str(error))

    return handle


def _check_own(turn: Turn, session: Session) -> None:
    """Let an act pass that a page of this session asked for.

    Raises:
        Forbidden: another site's page asked, or the page is of an earlier session.
    """
    if not VISIT.get().is_own:
        raise Forbidden("this came from a page of another site, or from a browser that does not say where from")
    if not session.is_token(turn.form.text("token")):
        raise Forbidden("this page was of another session; load it anew and try again")


def _to_log_in(request: Request) -> Answer:
    """Send a guest to log in; from a live part, which cannot go anywhere, by loading its page anew."""
    if VISIT.get().is_refresh:
        return Answer(b"", 401, b"text/plain", ((b"hx-refresh", b"true"), (b"cache-control", b"no-store")))
    return redirect(f"{root_of(request.path)}/login")


def _assets(frame: Frame) -> Handle:
    async def show_asset(desk: Desk, request: Request) -> Answer:
        """Give a script or a style sheet."""
        asset = frame.assets.get(request.params["name"])
        if asset is None:
            raise RouteNotFound("There is no such file.")
        return asset

    return show_asset
