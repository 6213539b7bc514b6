"""Bindings beside queues as a Python Worker sees them: options as an object, and JavaScript's spelling."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec

from millrace.handlers.asking import Binding
from millrace.python_workers.values import JsArray, shown, snake_case

# Which argument of a method may be an object of options.
OPTIONS_AT = {"create": 0, "list": 0, "get": 1, "get_with_metadata": 1, "put": 2}


class WorkerBinding:
    """Shows a binding of ours, or what one gives; its methods take and give what a Worker knows."""

    def __init__(self, seen: Binding) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._seen, snake_case(name))
        return partial(_called, found) if callable(found) else found


class WorkerResult(SimpleNamespace):
    """What a method gives, by its attributes: one of them may be called `keys`, as a method of a dict is."""

    def to_py(self, **options: Any) -> dict[str, Any]:
        """Give a plain copy, at every depth."""
        return {name: inner.to_py() if hasattr(inner, "to_py") else inner for name, inner in vars(self).items()}


def _called(method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a method of a binding; what it gives may have to be awaited."""
    place = OPTIONS_AT.get(method.__name__)
    if place is not None and len(arguments) > place and isinstance(arguments[place], Mapping):
        named = {**{snake_case(key): value for key, value in arguments[place].items()}, **named}
        arguments = arguments[:place]
    given = method(*map(_bare, arguments), **{key: _bare(value) for key, value in named.items()})
    return _awaited(given) if inspect.isawaitable(given) else _view(given)


async def _awaited(given: Awaitable[Any]) -> Any:
    return _view(await given)


def _view(value: Any) -> Any:
    match value:
        case Binding():
            return WorkerBinding(value)
        case list():
            return JsArray(map(_view, value))
        case msgspec.Struct():
            return WorkerResult(**{name: _view(inner) for name, inner in msgspec.structs.asdict(value).items()})
        case tuple() if hasattr(value, "_asdict"):
            return WorkerResult(**{name: _view(inner) for name, inner in value._asdict().items()})
        case _:
            return shown(value)


def _bare(value: Any) -> Any:
    """Give what stands behind a view, at every depth."""
    match value:
        case WorkerBinding():
            return value._seen  # noqa: SLF001 - our own
        case Mapping():
            return {key: _bare(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_bare(inner) for inner in value]
        case _:
            return value
