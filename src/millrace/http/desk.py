"""What the routes' functions are given: the rooms below the door."""

from typing import NamedTuple

from millrace.access.keys import Keys
from millrace.access.scopes import Scope, check_scope
from millrace.broker import Broker
from millrace.catalog import Catalog
from millrace.clock import Clock
from millrace.errors import Forbidden
from millrace.http.request import Request
from millrace.queue import Queue
from millrace.resources.outbound import Outbound
from millrace.runtime.waiting import WaitingRoom
from millrace.store import Store
from millrace.subscriptions import Subscriptions
from millrace.telemetry import Telemetry


class Desk(NamedTuple):
    """The rooms that HTTP translates for."""

    store: Store
    catalog: Catalog
    broker: Broker
    keys: Keys
    subscriptions: Subscriptions
    telemetry: Telemetry
    clock: Clock
    room: WaitingRoom
    outbound: Outbound


async def queue_of(desk: Desk, request: Request) -> Queue:
    """Give the queue that the path names, if the key reaches it.

    Raises:
        QueueNotFound: the account has no such queue.
        Forbidden: the key is limited to others.
    """
    queue = await desk.catalog.queue(request.key.account_id, request.params["queue_id"])
    request.key.check_queue(queue.name)
    return queue


def check_unlimited(request: Request, subject: str) -> None:
    """Let a request pass whose key is limited to no queues and no tenant; `subject` says what it asks for.

    Raises:
        Forbidden: it is limited.
    """
    if request.key.queues is not None or request.key.tenant is not None:
        raise Forbidden(f"{subject}, and this key is limited; use a key without limits")


def check_reach(request: Request, scope: Scope | None) -> None:
    """Let a request pass whose key has the scope and belongs to the account in the path.

    Raises:
        Forbidden: it has not, or it does not.
    """
    account_id = request.params.get("account_id")
    if account_id is not None and account_id != request.key.account_id:
        raise Forbidden("this key does not belong to the account")
    if scope is not None:
        check_scope(request.key.role, scope)
