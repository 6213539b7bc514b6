"""`/events/subscriptions`: who is sent events."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.access.scopes import Scope
from millrace.apps.events import subscriptions
from millrace.apps.events.filters import Filter, check_paths
from millrace.apps.events.queues import NEEDS
from millrace.apps.events.subscriptions import PREFIX, Subscription
from millrace.clock import iso_milliseconds
from millrace.errors import (
    BodyDoesNotFit,
    Conflict,
    Forbidden,
    InvalidConsumerSettings,
    OutboundRefused,
    SubscriptionNotFound,
)
from millrace.http.consumers import PushUrl
from millrace.http.desk import Desk
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.platform import Platform, ensure_queues

PATH = "/events/subscriptions"
ONE = PATH + "/{id}"
BODY_BYTES = 256_000


class NewSubscription(msgspec.Struct, frozen=True):
    """A URL that is to be sent events: all, or those that the filter wants. Without a secret one is made."""

    url: PushUrl
    secret: str | None = None
    filter: Filter | None = None


class Failure(msgspec.Struct, frozen=True):
    """A push that failed; `status` is what the receiver answered, if it did."""

    at: str
    reason: str
    status: int | None


class SubscriptionObject(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription. `backlog` counts the events that wait; the secret is there once, in the answer that made it.

    `last_failure` is the last one since the server's start.
    """

    id: str
    url: str | None
    filter: dict[str, Any]
    queue: str | None
    state: Literal["active", "stopped"]
    backlog: int
    last_failure: Failure | None
    created_at: str
    secret: str | UnsetType = UNSET


class SubscriptionList(msgspec.Struct, frozen=True):
    """The subscriptions of the account, oldest first."""

    subscriptions: list[SubscriptionObject]


class Deleted(msgspec.Struct, frozen=True):
    """That a subscription is gone."""

    deleted: str


NEW = Shape(NewSubscription)


class SubscriptionRoutes:
    """The routes, and the last failure of each subscription, by the name of its queue.

    `delivers` says whether this server hands events over to subscriptions at all.
    """

    def __init__(self, platform: Platform, *, delivers: bool) -> None:
        self._platform, self._delivers = platform, delivers
        self._failures: dict[str, Failure] = {}
        platform.telemetry.subscribe(self._note_failure, "push.failed")

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        refuses = (BodyDoesNotFit, InvalidConsumerSettings, OutboundRefused, Conflict)
        return (
            Route(method="POST", path=PATH, handle=self.subscribe, scope=Scope.MANAGE, takes=NEW,
                  gives=SubscriptionObject, refuses=refuses, status=201, body_limit=BODY_BYTES),
            Route(method="GET", path=PATH, handle=self.list_event_subscriptions, scope=Scope.MANAGE,
                  gives=SubscriptionList),
            Route(method="GET", path=ONE, handle=self.get_event_subscription, scope=Scope.MANAGE,
                  gives=SubscriptionObject, refuses=(SubscriptionNotFound,)),
            Route(method="DELETE", path=ONE, handle=self.unsubscribe, scope=Scope.MANAGE, gives=Deleted,
                  refuses=(SubscriptionNotFound,)),
        )  # fmt: skip

    async def subscribe(self, desk: Desk, request: Request) -> Answer:
        """Send events to a URL from now on; the secret that signs them is shown this once."""
        _check_unlimited(request)
        body: NewSubscription = NEW.read(request.body)
        account_id, platform = request.key.account_id, self._platform
        wanted = body.filter or {}
        check_paths(wanted)
        platform.outbound.check(body.url)
        await ensure_queues(platform, account_id, NEEDS)
        made = await platform.write(lambda work: subscriptions.create(work, account_id, body.url, body.secret, wanted))
        platform.catalog.forget(made.queue_id)  # tells those who push
        return _answer(self._shown(made, with_secret=True), 201)

    async def list_event_subscriptions(self, desk: Desk, request: Request) -> Answer:
        """List who is sent events."""
        _check_unlimited(request)
        account_id = request.key.account_id
        found = await self._platform.read(lambda work: subscriptions.of_account(work, account_id))
        return _answer(SubscriptionList([self._shown(one) for one in found]))

    async def get_event_subscription(self, desk: Desk, request: Request) -> Answer:
        """Show a subscription: whether it is active, what waits, what failed last."""
        _check_unlimited(request)
        account_id, subscription_id = request.key.account_id, request.params["id"]
        found = await self._platform.read(lambda work: subscriptions.look(work, account_id, subscription_id))
        return _answer(self._shown(found))

    async def unsubscribe(self, desk: Desk, request: Request) -> Answer:
        """Send no more events to a URL; what waits for it is gone."""
        _check_unlimited(request)
        account_id, subscription_id = request.key.account_id, request.params["id"]
        gone = await self._platform.write(lambda work: subscriptions.delete(work, account_id, subscription_id))
        self._platform.catalog.forget(gone.queue_id)
        if gone.queue is not None:
            self._failures.pop(gone.queue.name, None)
        return _answer(Deleted(subscription_id))

    def _note_failure(self, name: str, fields: dict[str, Any]) -> None:
        if fields["queue"].startswith(PREFIX):
            at = iso_milliseconds(self._platform.clock())
            self._failures[fields["queue"]] = Failure(at, fields["reason"], fields["status"])

    def _shown(self, subscription: Subscription, *, with_secret: bool = False) -> SubscriptionObject:
        queue = subscription.queue
        consumer = queue.consumer if queue is not None else None
        return SubscriptionObject(
            id=subscription.id,
            url=subscription.url,
            filter=subscription.filter,
            queue=queue.name if queue is not None else None,
            state="active" if subscription.is_active and self._delivers else "stopped",
            backlog=subscription.backlog,
            last_failure=self._failures.get(queue.name) if queue is not None else None,
            created_at=iso_milliseconds(subscription.created_at_ms),
            secret=consumer.secret or UNSET if consumer is not None and with_secret else UNSET,
        )


def _check_unlimited(request: Request) -> None:
    """Refuse keys of some queues or of one tenant: a subscription is sent the events of all.

    Raises:
        Forbidden: it is such a key.
    """
    if request.key.queues is not None or request.key.tenant is not None:
        raise Forbidden("subscriptions belong to the whole account, and this key is limited; use one without limits")


def _answer(value: object, status: int = 200) -> Answer:
    return Answer(msgspec.json.encode(value), status)
