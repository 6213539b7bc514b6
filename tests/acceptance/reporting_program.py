"""A program whose handler fails, and a route that tells of jobs as an application would."""

import json

from millrace import App
from millrace.access.scopes import Scope
from millrace.http.routes import Answer, Route
from millrace.platform import QueueNeed

CONSUMER = {"type": "worker", "script_name": "program", "settings": {"max_wait_time_ms": 0}}


async def bill(batch, env):
    raise ValueError(f"cannot bill {batch.messages[0].body}")


async def tell(desk, request):
    for name, fields in json.loads(request.body):
        desk.telemetry.emit(name, **fields)
    return Answer(b"{}")


app = App(
    handlers={"orders": bill},
    queues=(QueueNeed(name="orders", consumer=CONSUMER),),
    routes=(Route(method="POST", path="/told", handle=tell, scope=Scope.MANAGE, takes=bytes),),
)
