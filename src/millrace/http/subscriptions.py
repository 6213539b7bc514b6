"""Event subscriptions, as Cloudflare's v4 API has them."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.errors import Forbidden, InvalidRequest, QueueNotFound, SubscriptionNotFound
from millrace.http.desk import Desk
from millrace.http.envelope import page, success
from millrace.http.request import Request, Shape
from millrace.http.routes import PAGE, PER_PAGE, Answer, Route
from millrace.subscriptions import Subscription

E = "/client/v4/accounts/{account_id}/event_subscriptions/subscriptions"


class Destination(msgspec.Struct, frozen=True):
    """The queue that events go to."""

    type: str
    queue_id: str


class CreateSubscription(msgspec.Struct, frozen=True):
    """A new subscription."""

    name: str
    source: dict[str, Any]
    destination: Destination
    events: list[str]
    enabled: bool = True


class ChangeSubscription(msgspec.Struct, frozen=True):
    """The parts of a subscription that are to change."""

    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    destination: Destination | UnsetType = UNSET


CREATE = Shape(CreateSubscription, InvalidRequest)
CHANGE = Shape(ChangeSubscription, InvalidRequest)
ORDERS: dict[str, Callable[[Subscription], Any]] = {
    "created_at": lambda subscription: (subscription.created_at, subscription.id),
    "name": lambda subscription: subscription.name,
    "enabled": lambda subscription: subscription.enabled,
    "source": lambda subscription: str(subscription.source.get("type", "")),
}


async def create_subscription(desk: Desk, request: Request) -> Answer:
    """Subscribe a queue to events."""
    body: CreateSubscription = CREATE.read(request.body)
    await _check_destination(desk, request, body.destination)
    return success(await desk.subscriptions.create(request.key.account_id, msgspec.to_builtins(body)))


async def list_subscriptions(desk: Desk, request: Request) -> Answer:
    """List subscriptions, of one queue or of all."""
    found = await desk.subscriptions.of_account(request.key.account_id)
    found = [subscription for subscription in found if await _is_reached(desk, request, subscription)]
    queue_ids = request.query.get("queue_id")
    if queue_ids:
        found = [subscription for subscription in found if subscription.destination.get("queue_id") in queue_ids]
    order = request.choice("order", "created_at", tuple(ORDERS))
    found.sort(key=ORDERS[order], reverse=request.choice("direction", "asc", DIRECTIONS) == "desc")
    number = request.number("page", 1, limits.PAGE)
    per_page = request.number("per_page", limits.SUBSCRIPTIONS_PER_PAGE, limits.PER_PAGE)
    return page(found, number, per_page)


async def get_subscription(desk: Desk, request: Request) -> Answer:
    """Show a subscription."""
    return success(await _subscription_of(desk, request))


async def change_subscription(desk: Desk, request: Request) -> Answer:
    """Change the named parts of a subscription."""
    body: ChangeSubscription = CHANGE.read(request.body)
    if isinstance(body.destination, Destination):
        await _check_destination(desk, request, body.destination)
    subscription = await _subscription_of(desk, request)
    changes = msgspec.to_builtins(body)
    return success(await desk.subscriptions.change(request.key.account_id, subscription.id, changes))


async def delete_subscription(desk: Desk, request: Request) -> Answer:
    """Delete a subscription and show it a last time."""
    subscription = await _subscription_of(desk, request)
    return success(await desk.subscriptions.delete(request.key.account_id, subscription.id))


async def _subscription_of(desk: Desk, request: Request) -> Subscription:
    subscription = await desk.subscriptions.get(request.key.account_id, request.params["subscription_id"])
    if not await _is_reached(desk, request, subscription):
        raise Forbidden("this key is limited to other queues")
    return subscription


async def _is_reached(desk: Desk, request: Request, subscription: Subscription) -> bool:
    if request.key.queues is None:
        return True
    try:
        queue_id = str(subscription.destination.get("queue_id", ""))
        return request.key.reaches((await desk.catalog.queue(request.key.account_id, queue_id)).name)
    except QueueNotFound:
        return False


async def _check_destination(desk: Desk, request: Request, destination: Destination) -> None:
    queue = await desk.catalog.queue(request.key.account_id, destination.queue_id)
    request.key.check_queue(queue.name)


DIRECTIONS = ("asc", "desc")
LISTING = {
    "queue_id": {"type": "string"},
    "page": PAGE,
    "per_page": PER_PAGE,
    "order": {"enum": list(ORDERS)},
    "direction": {"enum": list(DIRECTIONS)},
}

ROUTES = [
    Route(method="POST", path=E, handle=create_subscription, scope=Scope.MANAGE, takes=CREATE, gives=Subscription,
          refuses=(InvalidRequest, QueueNotFound)),
    Route(method="GET", path=E, handle=list_subscriptions, scope=Scope.READ, gives=Subscription, is_page=True,
          query=LISTING, refuses=(InvalidRequest,)),
    Route(method="GET", path=f"{E}/{{subscription_id}}", handle=get_subscription, scope=Scope.READ,
          gives=Subscription, refuses=(SubscriptionNotFound,)),
    Route(method="PATCH", path=f"{E}/{{subscription_id}}", handle=change_subscription, scope=Scope.MANAGE,
          takes=CHANGE, gives=Subscription, refuses=(InvalidRequest, QueueNotFound, SubscriptionNotFound)),
    Route(method="DELETE", path=f"{E}/{{subscription_id}}", handle=delete_subscription, scope=Scope.MANAGE,
          gives=Subscription, refuses=(SubscriptionNotFound,)),
]  # fmt: skip
