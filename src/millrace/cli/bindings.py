"""What a wrangler file binds beside queues: databases, key-value namespaces and workflows."""

from collections.abc import Sequence
from typing import Any

import msgspec

from millrace.cli.house import House
from millrace.coordination.kv import Kv
from millrace.coordination.kv_binding import kv_ask
from millrace.handlers.asking import Ask, Binding, answering
from millrace.platform import App
from millrace.runtime.bound import bind_others
from millrace.views import Views
from millrace.workflows.binding import workflow_ask
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.others import OtherBinding


def kinds_of(file: WranglerFile | None) -> dict[str, str]:
    """Give the kinds of these bindings by their names."""
    return {other.binding: other.kind for other in file.others} if file is not None else {}


def other_asks(house: House, account_id: str, file: WranglerFile | None, apps: Sequence[App]) -> dict[str, Ask]:
    """Make what answers for these bindings, by name; `apps` publish the views that a database shows."""
    views = Views(house.store, house.clock, [view for app in apps for view in app.views])
    return {other.binding: _ask(house, account_id, other, views) for other in (file.others if file is not None else ())}


def other_bindings(file: WranglerFile | None, asks: dict[str, Ask]) -> dict[str, Binding]:
    """Make these bindings for handlers of this process."""
    return bind_others(kinds_of(file), asks.__getitem__)


def _ask(house: House, account_id: str, other: OtherBinding, views: Views) -> Ask:
    match other.kind:
        case "kv":
            return kv_ask(Kv(house.store, house.clock, account_id, other.target))
        case "d1":
            return _views_ask(views, account_id)
        case "workflow":
            return workflow_ask(house.platform, account_id, other.target)


def _views_ask(views: Views, account_id: str) -> Ask:
    async def query(sql: str, parameters: Sequence[Any]) -> Any:
        return msgspec.to_builtins(await views.query(account_id, sql, parameters), builtin_types=(bytes,))

    return answering(query=query)
