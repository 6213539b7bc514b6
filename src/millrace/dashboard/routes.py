"""The dashboard's routes: who may see and act is decided here, before a page's function is called."""

from collections.abc import Iterable

from millrace import limits
from millrace.dashboard import acts, audit, dead_letters, events, overview, queue_page
from millrace.dashboard.forms import Form
from millrace.dashboard.frame import Frame
from millrace.dashboard.log_in import LogIn
from millrace.dashboard.sessions import GUEST, LOGIN, Session, Sessions
from millrace.dashboard.turn import Show, Turn, check_role, redirect, root_of
from millrace.dashboard.visits import VISIT
from millrace.errors import Forbidden, MillraceError, RouteNotFound, StoreUnavailable
from millrace.http.desk import Desk
from millrace.http.errors import reply_to
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Handle, Route, Stream

HOME = "/dashboard"
QUEUE = HOME + "/queues/{name}"
FORM = Shape(dict[str, str])

PAGES: dict[str, Show] = {
    HOME: overview.show_queues,
    QUEUE: queue_page.show_queue,
    HOME + "/dead-letters": dead_letters.show_dead_letters,
}
ACTS: dict[str, Show] = {
    QUEUE: acts.send,
    QUEUE + "/pause": acts.pause,
    QUEUE + "/resume": acts.resume,
    QUEUE + "/purge": acts.purge,
    QUEUE + "/discard": acts.discard,
    QUEUE + "/redrive": acts.redrive,
}
EVENTS, AUDIT = HOME + "/events", HOME + "/audit"


def routes(sessions: Sessions, listed: Iterable[Route]) -> list[Route]:
    """Give the routes of the dashboard; pages about events and the audit trail show what the `listed` routes answer."""
    frame, log_in = Frame(listed), LogIn(sessions)
    pages, forms = dict(PAGES), {**ACTS, HOME + "/logout": log_in.log_out}
    if frame.has("POST", "/events"):
        pages[EVENTS], forms[EVENTS] = events.show_events, events.send_event
    if frame.has("GET", "/api/audit"):
        pages[AUDIT] = audit.show_audit
    return [
        *(Route(method="GET", path=path, handle=_shown(show, frame), scope=None) for path, show in pages.items()),
        *(_form_route(path, _acted(act, frame)) for path, act in forms.items()),
        Route(method="GET", path=LOGIN, handle=_open(log_in.show_log_in, frame), scope=None),
        _form_route(LOGIN, _open(log_in.log_in, frame)),
        Route(method="GET", path=HOME + "/static/{name}", handle=_assets(frame), scope=None),
    ]


def _form_route(path: str, handle: Handle) -> Route:
    return Route(method="POST", path=path, handle=handle, scope=None, takes=FORM, body_limit=limits.REQUEST_BYTES)


def _shown(show: Show, frame: Frame) -> Handle:
    """Let those see a page who have logged in."""

    async def seen(turn: Turn) -> Answer:
        check_role(turn.request.key)
        return await show(turn)

    return _for_members(seen, frame)


def _acted(act: Show, frame: Frame) -> Handle:
    """Let those act who have logged in, from a form that we gave them; a key in the header needs none."""

    async def done(turn: Turn) -> Answer:
        check_role(turn.request.key)
        if isinstance(turn.request.key, Session):
            _check_own(turn, turn.request.key)
        return await act(turn)

    return _for_members(done, frame)


def _for_members(show: Show, frame: Frame) -> Handle:
    inside = _open(show, frame)

    async def handle(desk: Desk, request: Request) -> Answer | Stream:
        return _to_log_in(request) if request.key is GUEST else await inside(desk, request)

    return handle


def _open(show: Show, frame: Frame) -> Handle:
    """Call a page's function; what it refuses is told on a page."""

    async def handle(desk: Desk, request: Request) -> Answer:
        turn = Turn(desk, request, Form(b""), frame)
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
