"""`/api/alerts`: the account's rules, made, changed and looked at."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace import limits
from millrace.access.scopes import Scope
from millrace.alerting import storing
from millrace.alerting.changing import Changing
from millrace.alerting.measuring import measure
from millrace.alerting.rules import WEBHOOK, Measure, Rule
from millrace.alerting.storing import Kept
from millrace.clock import iso_milliseconds
from millrace.errors import AlertNotFound, Conflict, InvalidQueueName, InvalidRequest, OutboundRefused
from millrace.http.desk import Desk, check_unlimited
from millrace.http.request import Request, Shape
from millrace.http.routes import Answer, Route
from millrace.work import Work

T = TypeVar("T")

PATH = "/api/alerts"
ONE = PATH + "/{id}"

Window = Annotated[float, Meta(ge=limits.ALERT_WINDOW_SECONDS_MIN, le=limits.ALERT_WINDOW_SECONDS_MAX, multiple_of=1)]


class AlertBody(msgspec.Struct, frozen=True, kw_only=True):
    """A rule. Each entry of `notify` is a webhook, perhaps with a secret, or a way of an application with its target."""

    name: str
    queue: str
    measure: Measure
    above: float
    clear_below: float | None = None
    for_seconds: Annotated[float, Meta(ge=0, le=limits.ALERT_FOR_SECONDS, multiple_of=1)] = 0
    window_seconds: Window = limits.ALERT_WINDOW_SECONDS
    minimum: Annotated[float, Meta(ge=1, le=limits.ALERT_MINIMUM, multiple_of=1)] = 1
    notify: Annotated[list[dict[str, str]], Meta(max_length=limits.ALERT_TARGETS)] = []


class AlertObject(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and where it stands; `value` is null where it is not counted any more.

    A webhook's secret is there once, in the answer that made it.
    """

    id: str
    name: str
    queue: str
    measure: Measure
    above: float
    clear_below: float
    for_seconds: int
    window_seconds: int | UnsetType = UNSET
    minimum: int | UnsetType = UNSET
    notify: list[dict[str, str]]
    status: Literal["ok", "pending", "firing"]
    value: float | None
    fired_at: str | None
    created_at: str


class AlertList(msgspec.Struct, frozen=True):
    """The alert rules of the account by name."""

    alerts: list[AlertObject]


class DeletedAlert(msgspec.Struct, frozen=True):
    """That a rule is gone."""

    deleted: str


BODY = Shape(AlertBody, InvalidRequest)


def routes(changing: Changing) -> list[Route]:
    """Give the routes."""
    shown = AlertRoutes(changing)
    refuses = (InvalidRequest, InvalidQueueName, OutboundRefused, Conflict)
    return [
        Route(method="GET", path=PATH, handle=shown.list_alerts, scope=Scope.WATCH, gives=AlertList),
        Route(method="POST", path=PATH, handle=shown.create_alert, scope=Scope.MANAGE, takes=BODY, gives=AlertObject,
              refuses=refuses, status=201),
        Route(method="GET", path=ONE, handle=shown.get_alert, scope=Scope.WATCH, gives=AlertObject,
              refuses=(AlertNotFound,)),
        Route(method="PUT", path=ONE, handle=shown.replace_alert, scope=Scope.MANAGE, takes=BODY, gives=AlertObject,
              refuses=(*refuses, AlertNotFound)),
        Route(method="DELETE", path=ONE, handle=shown.delete_alert, scope=Scope.MANAGE, gives=DeletedAlert,
              refuses=(AlertNotFound,)),
    ]  # fmt: skip


class AlertRoutes:
    """The functions of the routes."""

    def __init__(self, changing: Changing) -> None:
        self._changing = changing

    async def list_alerts(self, desk: Desk, request: Request) -> Answer:
        """List the alert rules of the account, and where each stands."""
        _check_unlimited(request)
        account_id = request.key.account_id
        shown = await self._read(desk, lambda work: self._shown(work, storing.of_account(work, account_id)))
        return _answer(AlertList(shown))

    async def get_alert(self, desk: Desk, request: Request) -> Answer:
        """Show an alert rule, and where it stands."""
        _check_unlimited(request)
        return _answer(await self._look(desk, request.key.account_id, request.params["id"]))

    async def create_alert(self, desk: Desk, request: Request) -> Answer:
        """Make an alert rule; the secrets of its webhooks are shown this once."""
        _check_unlimited(request)
        given = _given(request)
        rule = await self._changing.create(request.key.account_id, given)
        desk.catalog.forget()  # tells those who run consumers: the queue of notices may be new
        made = await self._look(desk, rule.account_id, rule.id, _new_secrets(rule, None))
        return _answer(made, 201)

    async def replace_alert(self, desk: Desk, request: Request) -> Answer:
        """Replace an alert rule; it stands where it stood, and a webhook of the same URL keeps its secret."""
        _check_unlimited(request)
        given = _given(request)
        before, rule = await self._changing.replace(request.key.account_id, request.params["id"], given)
        return _answer(await self._look(desk, rule.account_id, rule.id, _new_secrets(rule, before)))

    async def delete_alert(self, desk: Desk, request: Request) -> Answer:
        """Delete an alert rule; notices that wait are dropped."""
        _check_unlimited(request)
        rule_id = request.params["id"]
        await self._changing.delete(request.key.account_id, rule_id)
        return _answer(DeletedAlert(rule_id))

    async def _look(
        self, desk: Desk, account_id: str, rule_id: str, secrets: Mapping[str, str] | None = None
    ) -> AlertObject:
        def read(work: Work) -> AlertObject:
            return self._shown(work, [storing.look(work, account_id, rule_id)], secrets or {})[0]

        return await self._read(desk, read)

    async def _read(self, desk: Desk, fn: Callable[[Work], T]) -> T:
        return await desk.store.read(lambda tx: fn(Work(tx, desk.clock)))

    def _shown(self, work: Work, kept: list[Kept], secrets: Mapping[str, str] = {}) -> list[AlertObject]:
        values = measure(work, [one.rule for one in kept], self._changing.rates)
        return [_object(one, values[one.rule.id], secrets) for one in kept]


def _object(kept: Kept, value: float | None, secrets: Mapping[str, str]) -> AlertObject:
    rule, standing, _ = kept
    is_rate = rule.measure == "failure_rate"
    return AlertObject(
        id=rule.id,
        name=rule.name,
        queue=rule.queue,
        measure=rule.measure,
        above=rule.above,
        clear_below=rule.clear_below,
        for_seconds=rule.for_seconds,
        window_seconds=rule.window_seconds if is_rate else UNSET,
        minimum=rule.minimum if is_rate else UNSET,
        notify=[_target(one.way, one.target, secrets) for one in rule.notify],
        status=standing.status,
        value=value,
        fired_at=None if standing.fired_at_ms is None else iso_milliseconds(standing.fired_at_ms),
        created_at=iso_milliseconds(rule.created_at_ms),
    )


def _target(way: str, target: str, secrets: Mapping[str, str]) -> dict[str, str]:
    secret = secrets.get(target) if way == WEBHOOK else None
    return {way: target} if secret is None else {way: target, "secret": secret}


def _new_secrets(rule: Rule, before: Rule | None) -> dict[str, str]:
    """Give the secrets that were not there before, by their URLs."""
    known = {one.secret for one in (before.notify if before else ())}
    return {one.target: one.secret for one in rule.notify if one.secret is not None and one.secret not in known}


def _given(request: Request) -> dict[str, Any]:
    body: AlertBody = BODY.read(request.body)
    return msgspec.structs.asdict(body)


def _check_unlimited(request: Request) -> None:
    check_unlimited(request, "alerts belong to the whole account")


def _answer(value: object, status: int = 200) -> Answer:
    return Answer(msgspec.json.encode(value), status)
