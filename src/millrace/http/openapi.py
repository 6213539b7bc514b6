"""The OpenAPI 3.1 document, made from the route table and nothing else."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from millrace.errors import (
    BodyNotJson,
    EncodingRefused,
    Forbidden,
    MillraceError,
    RequestTimedOut,
    RequestTooLarge,
    RouteNotFound,
    StoreUnavailable,
    Unauthenticated,
)
from millrace.http.desk import Desk
from millrace.http.envelope import PageInfo
from millrace.http.errors import CLOUDFLARE, reply_to
from millrace.http.request import Request
from millrace.http.routes import Answer, Route

REF = "#/components/schemas/{name}"
ALWAYS = (Unauthenticated, Forbidden, EncodingRefused, RequestTooLarge, RequestTimedOut, StoreUnavailable)
PARAMETER = re.compile(r"\{(\w+)\}")
WORDS = {
    400: "A value is wrong; nothing was changed",
    401: "No valid key",
    403: "The key does not allow it",
    404: "Not there",
    405: "Not for this method or kind of queue",
    408: "The body did not arrive in time",
    409: "Something is in the way",
    410: "It was there once",
    413: "Too large",
    415: "A Content-Encoding was used",
    429: "The queue is full, or the caller asks too often",
    503: "The store cannot be used now; nothing was changed",
}


def describe(routes: Iterable[Route], version: str, account_id: str) -> dict[str, Any]:
    """Write the document for these routes, as the keys of this account may use them."""
    routes = list(routes)
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    taken: Counter[str] = Counter()
    for route in routes:
        operation = _operation(route, schemas, account_id)
        operation["operationId"] = _id_of_its_own(operation["operationId"], taken)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace",
            "version": version,
            "description": "A durable message queue that speaks Cloudflare Queues' own language.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas["components"], "Failure": FAILURE, "Refusal": REFUSAL},
        },
    }


def _id_of_its_own(name: str, taken: Counter[str]) -> str:
    """Number the later ones: one function may serve several routes."""
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def route(routes: Iterable[Route], version: str) -> Route:
    """Give the route that shows the document of all routes, itself included."""

    async def show_document(desk: Desk, request: Request) -> Answer:
        """Show this document."""
        return Answer(msgspec.json.encode(describe([*listed, shown], version, request.key.account_id)))

    listed = list(routes)
    shown = Route(method="GET", path="/openapi.json", handle=show_document, scope=None, gives=dict[str, Any])
    return shown


FAILURE: dict[str, Any] = {
    "type": "object",
    "required": ["success", "errors", "messages", "result"],
    "properties": {
        "success": {"const": False},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            },
        },
        "messages": {"type": "array"},
        "result": {"type": "null"},
    },
}
REFUSAL: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "timestamp", "correlation_id"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "timestamp": {"type": "string", "format": "date-time"},
                "correlation_id": {"type": "string", "format": "uuid"},
            },
        }
    },
}


def _schemas(routes: list[Route]) -> dict[str, Any]:
    types = [PageInfo]
    for route in routes:
        shapes = (route.takes.type if route.takes else None, route.gives, route.message)
        types += [shape for shape in shapes if shape is not None]
    found, components = msgspec.json.schema_components(types, ref_template=REF, schema_hook=_raw_schema)
    return {"shapes": dict(zip(map(str, types), found, strict=True)), "components": components}


def _raw_schema(kind: type) -> dict[str, Any]:
    if kind is msgspec.Raw:
        return {}
    raise NotImplementedError


def _operation(route: Route, schemas: dict[str, Any], account_id: str) -> dict[str, Any]:
    name = getattr(route.handle, "__name__", "ready")
    operation: dict[str, Any] = {
        "operationId": name if name != "ready" else f"ready_{route.path.strip('/')}",
        "summary": (route.handle.__doc__ or type(route.handle).__call__.__doc__ or "").strip().split("\n")[0],
        "parameters": _parameters(route, account_id),
        "responses": _responses(route, schemas),
    }
    if route.message is not None:
        operation["x-queue-message"] = schemas["shapes"][str(route.message)]
    if route.is_open:
        operation["security"] = []
    if route.takes is not None:
        schema = schemas["shapes"][str(route.takes.type)]
        operation["requestBody"] = {
            "required": _needs_body(route.takes.type),
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(route: Route, account_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in PARAMETER.findall(route.path):
        schema: dict[str, Any] = (
            {"enum": [account_id]} if name == "account_id" else {"pattern": "^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$"}
        )
        found.append({"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}})
    for place, optional in (("query", route.query), ("header", route.headers)):
        for name, schema in optional.items():
            found.append({"name": name, "in": place, "required": False, "schema": schema})
    return found


def _needs_body(kind: Any) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return True  # a union of shapes, each of which has what it needs
    return any(field.required for field in msgspec.structs.fields(kind))


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    is_cloudflare = route.path.startswith(CLOUDFLARE)
    shape = {} if route.gives is None else schemas["shapes"][str(route.gives)]
    if is_cloudflare:
        shape = _envelope({"type": "null"} if route.gives is None else shape, is_page=route.is_page)
    responses: dict[str, Any] = {
        str(route.status): {"description": "Done", "content": {route.media_type: {"schema": shape}}}
    }
    refusal = {"$ref": REF.format(name="Failure" if is_cloudflare else "Refusal")}
    for status in sorted({reply_to(kind("")).status for kind in _refusals(route)}):
        responses[str(status)] = {
            "description": WORDS[status],
            "content": {"application/json": {"schema": refusal}},
        }
    return responses


def _refusals(route: Route) -> list[type[MillraceError]]:
    if route.is_open:
        return list(route.refuses)
    more: list[type[MillraceError]] = [BodyNotJson] if route.takes is not None or route.query else []
    if "{" in route.path:
        more.append(RouteNotFound)
    return [*ALWAYS, *more, *route.refuses]


def _envelope(result: dict[str, Any], *, is_page: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "success": {"const": True},
        "errors": {"type": "array", "maxItems": 0},
        "messages": {"type": "array", "maxItems": 0},
        "result": {"type": "array", "items": result} if is_page else result,
    }
    required = ["success", "errors", "messages", "result"]
    if is_page:
        properties["result_info"] = {"$ref": REF.format(name="PageInfo")}
        required.append("result_info")
    return {"type": "object", "required": required, "properties": properties}
