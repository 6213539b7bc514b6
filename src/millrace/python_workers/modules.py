"""The modules that a Python Worker imports and that exist only inside Cloudflare's runtime."""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec

from millrace.clock import wall_ms
from millrace.python_workers.entrypoints import WorkerEntrypoint
from millrace.python_workers.values import JsArray, JsObject, plain, shown
from millrace.python_workers.views import CURRENT
from millrace.python_workers.web import Headers, Request, Response, fetch


def install() -> None:
    """Let this process import `workers`, `js`, `asgi` and `pyodide`; packages of the user's own that are called so come first."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class DurableObject:
    """So that a module with such a class can be imported; nothing calls it."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx, self.env = ctx, env


class WorkflowEntrypoint:
    """What the class of a workflow is derived from."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx, self.env = ctx, env


class JsException(Exception):
    """What JavaScript throws. Nothing here raises it."""


class JsProxy:
    """What an object of JavaScript is. Nothing here is one."""


class _CurrentEnv:
    """The bindings of the call under way."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_current("env")[0], name)


def wait_until(awaitable: Any) -> None:
    """Have this finish before the batch under way counts as handled."""
    _current("waitUntil")[1].wait_until(awaitable)


def _current(name: str) -> tuple[Any, Any]:
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError(f"workers.{name} is there only while a queue handler runs") from None


async def _serve_app(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError("Millrace serves queues; no requests come to this program")


def _same(value: Any, *arguments: Any, **options: Any) -> Any:
    return value


def _import_from_javascript(name: str) -> Any:
    if name != "cloudflare:workers":
        raise ImportError(f"there is no JavaScript module {name!r} here")
    return SimpleNamespace(env=_CurrentEnv(), waitUntil=wait_until)


def _log(*values: Any) -> None:
    print(*map(_text, values), flush=True)  # noqa: T201 - it stands in for a console


def _warn(*values: Any) -> None:
    print(*map(_text, values), file=sys.stderr, flush=True)  # noqa: T201 - as above


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(plain(value))


def _stringify(value: Any, replacer: Any = None, space: int = 0) -> str:
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=space) if space else text).decode()


CONSOLE = SimpleNamespace(debug=_log, log=_log, info=_log, warn=_warn, error=_warn)
JSON = SimpleNamespace(stringify=_stringify, parse=lambda text: shown(msgspec.json.decode(text)))
OBJECT = SimpleNamespace(
    fromEntries=lambda pairs: shown(dict(pairs)),
    entries=lambda value: JsArray(JsArray(pair) for pair in value.items()),
    keys=JsArray,
    values=lambda value: JsArray(value.values()),
    new=JsObject,
)

MODULES: Mapping[str, Mapping[str, Any]] = {
    "workers": {
        "Context": object,
        "DurableObject": DurableObject,
        "FetchResponse": Response,
        "Headers": Headers,
        "Request": Request,
        "Response": Response,
        "WorkerEntrypoint": WorkerEntrypoint,
        "WorkflowEntrypoint": WorkflowEntrypoint,
        "env": _CurrentEnv(),
        "fetch": fetch,
        "handler": _same,
        "import_from_javascript": _import_from_javascript,
        "python_from_rpc": plain,
        "python_to_rpc": _same,
        "waitUntil": wait_until,
        "wait_until": wait_until,
    },
    "js": {
        "Date": SimpleNamespace(now=wall_ms),
        "Headers": Headers,
        "JSON": JSON,
        "Object": OBJECT,
        "Request": Request,
        "Response": Response,
        "console": CONSOLE,
        "fetch": fetch,
    },
    "asgi": {"fetch": _serve_app, "websocket": _serve_app},
    "pyodide": {},
    "pyodide.ffi": {
        "JsException": JsException,
        "JsProxy": JsProxy,
        "create_once_callable": _same,
        "create_proxy": _same,
        "to_js": _same,
    },
    "pyodide.http": {"pyfetch": fetch},
}


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in MODULES:
            return None
        return ModuleSpec(name, _Loader(), origin="millrace", is_package=name == "pyodide")


class _Loader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(MODULES[module.__name__])
