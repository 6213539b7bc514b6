"""The empty route that the door's figures are held against: key, route, body, a constant."""

from millrace import App
from millrace.access.scopes import Scope
from millrace.http.desk import Desk
from millrace.http.request import Request
from millrace.http.routes import Answer, Route

CONSTANT = Answer(b'{"status":"ok"}')


async def answer(desk: Desk, request: Request) -> Answer:
    """Answer a constant."""
    return CONSTANT


app = App(routes=(Route(method="POST", path="/bench/empty", handle=answer, scope=Scope.SEND, gives=dict[str, str]),))
