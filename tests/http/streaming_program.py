"""Routes that stream and hold: what applications build on, in a program of its own."""

import asyncio

from millrace import App
from millrace.access.keys import Key
from millrace.access.scopes import Role, Scope
from millrace.errors import NotFound
from millrace.http.routes import Answer, Caller, Route, Socket, Stream

LIMIT = 1_000_000


async def count(desk, request):
    async def numbers():
        for number in range(3):
            yield f"data: {number}\n\n".encode()

    return Stream(numbers())


async def drip(desk, request):
    async def drops():
        while True:
            yield b": still here\n\n"
            await asyncio.sleep(0.05)

    return Stream(drops())


async def measure(desk, request):
    size = 0
    async for chunk in request.chunks(LIMIT):
        size += len(chunk)
    return Answer(str(size).encode(), content_type=b"text/plain")


async def echo(desk, request, connection):
    if request.params["room"] == "none":
        raise NotFound("there is no such room")
    await connection.send(f"welcome to {request.params['room']}, {request.key.id}")
    if request.params["room"] == "broken":
        raise ValueError("the room is broken")
    while True:
        await connection.send((await connection.receive()).upper())


def admit(caller: Caller) -> Key | None:
    if caller.bearer != b"the-rooms-own-word":
        return None
    return Key(id="guest", account_id="local", role=Role.AGENT, created_at_ms=0, hint="")


app = App(
    routes=(
        Route(method="GET", path="/streams/count", handle=count, scope=Scope.READ),
        Route(method="GET", path="/streams/drip", handle=drip, scope=Scope.READ),
        Route(method="PUT", path="/streams/size", handle=measure, scope=Scope.SEND, streams=True, body_limit=LIMIT),
    ),
    sockets=(Socket(path="/rooms/{room}/ws", hold=echo, scope=Scope.READ),),
    admissions={"rooms": admit, "streams": admit},
)
