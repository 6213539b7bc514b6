"""One request at the dashboard as the function of a page sees it, and the ways to answer it."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from millrace.dashboard.figures import number
from millrace.dashboard.forms import Form
from millrace.dashboard.frame import Frame
from millrace.dashboard.pages import Page
from millrace.dashboard.sessions import Session
from millrace.errors import Forbidden, InvalidRequest
from millrace.http.desk import Desk, check_reach
from millrace.http.request import Request
from millrace.http.routes import Answer, Stream
from millrace.queue import Queue

FOLDER = "dashboard"


class Turn(NamedTuple):
    """A request, the rooms behind it, the form that came with it, and the frame that pages are set in.

    `current` is the page that it is for; the log-in is none.
    """

    desk: Desk
    request: Request
    form: Form
    frame: Frame
    current: Page | None = None

    @property
    def account_id(self) -> str:
        """The account whose queues are shown."""
        return self.request.key.account_id

    def page(self, template: str, status: int = 200, **values: Any) -> Answer:
        """Answer with a page, from a template of the frame's or from one of the page's own, `<name>/list.html` say."""
        key = self.request.key
        shared = {
            "root": root_of(self.request.path),
            "key": key,
            "token": key.token if isinstance(key, Session) else "",
            "can_leave": isinstance(key, Session) and not key.is_keyless,
            "now_ms": self.desk.clock(),
            "menu": self.frame.menu(key),
            "page": self.current.name if self.current else "",
            "said": self._said(),
        }
        return self.frame.answer(template, status, **shared, **values)

    def go(self, path: str = "", said: str = "", count: int | None = None) -> Answer:
        """Send the browser on to a page, `/queues/orders` say, which then tells what was done."""
        told = {"said": said, **({} if count is None else {"count": count})} if said else {}
        return redirect(f"{root_of(self.request.path)}{path}{'?' if told else ''}{urlencode(told)}")

    async def queue(self, name: str) -> Queue:
        """Give the queue of that name, if the key reaches it.

        Raises:
            QueueNotFound: the account has no such queue.
            Forbidden: the key is limited to others.
        """
        self.request.key.check_queue(name)
        return await self.desk.catalog.queue_named(self.account_id, name)

    async def ask(self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None) -> Any:
        """Call another route of this server as the one who asks us, and give its answer, decoded."""
        route, params = self.frame.table.find(method, path)
        came = self.request
        request = Request(came.key, path, urlencode(query or {}).encode(), params, came.head, came.receive)
        request.body = b"" if body is None else msgspec.json.encode(body)
        check_reach(request, route.scope)
        answer = await route.handle(self.desk, request)
        assert not isinstance(answer, Stream)
        return msgspec.json.decode(answer.body)

    def check_all_queues(self) -> None:
        """Let keys to all queues pass.

        Raises:
            Forbidden: it is limited to some.
        """
        if self.request.key.queues is not None:
            raise Forbidden("this goes beyond the queues that your key is limited to; log in with a key to all queues")

    def cursor(self, name: str) -> int:
        """Give a key of the query, in hexadecimal digits, after which a list goes on.

        Raises:
            InvalidRequest: it is none.
        """
        text = self.request.query.get(name, ["0"])[-1]
        try:
            return min(int(text[:16], 16), (1 << 63) - 1)
        except ValueError:
            raise InvalidRequest(f"{name} is {text[:40]!r}; expected hexadecimal digits") from None

    def _said(self) -> str:
        sentences = self.current.said if self.current else {}
        count = self.request.query.get("count", [""])[-1]
        shown = number(int(count)) if count.isascii() and count.isdigit() and len(count) < 16 else "Some"
        return sentences.get(self.request.query.get("said", [""])[-1], "").format(count=shown)


def root_of(path: str) -> str:
    """Give the dashboard's address as seen from a path below it, whatever a proxy has before both."""
    return "../" * (path.count("/") - 1) + FOLDER


def redirect(address: str, *headers: tuple[bytes, bytes]) -> Answer:
    """Send a browser on to an address, which it asks for by GET."""
    return Answer(b"", 303, b"text/plain", ((b"location", address.encode()), (b"cache-control", b"no-store"), *headers))
