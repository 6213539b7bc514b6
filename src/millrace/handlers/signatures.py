"""What can be told of a handler before it is called: how many arguments it takes, and of what type the first is."""

import functools
import inspect
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

from millrace.errors import ConfigurationError

ARGUMENTS = 3
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def arguments_of(function: Callable[..., Any], first: str) -> int:
    """Count how many of (`first`, env, ctx) a function is to be given.

    Raises:
        ConfigurationError: it cannot be called with one, two or three of them.
    """
    _check_function(function)
    parameters = signature_of(function).parameters.values()
    takes = sum(parameter.kind in POSITIONAL for parameter in parameters)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        takes = max(takes, ARGUMENTS)
    needed = [parameter for parameter in parameters if _is_needed(parameter)]
    if not takes or len(needed) > ARGUMENTS or any(parameter.kind not in POSITIONAL for parameter in needed):
        expected = f"({first}), ({first}, env) or ({first}, env, ctx)"
        raise ConfigurationError(f"handler {name_of(function)} takes {signature_of(function)}; expected {expected}")
    return min(takes, ARGUMENTS)


def first_annotation(function: Callable[..., Any]) -> Any:
    """Give what the first parameter is annotated with: a type, the text as written if it cannot be resolved, or None.

    Only this one is resolved: others may name what is imported for type checkers only.
    """
    annotation = next(iter(signature_of(function).parameters.values())).annotation
    if annotation is inspect.Parameter.empty:
        return None
    try:
        hints = get_type_hints(SimpleNamespace(__annotations__={"first": annotation}), _globals_of(function))
    except Exception:  # noqa: BLE001 - an annotation may hold any expression
        return annotation
    return hints["first"]


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Read a signature without evaluating its annotations.

    Raises:
        ConfigurationError: it has none that can be read.
    """
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format  # noqa: PLC0415 - older versions have no such module

            return inspect.signature(function, annotation_format=Format.FORWARDREF)
        return inspect.signature(function)
    except ValueError:
        raise ConfigurationError(f"handler {name_of(function)} has no signature that can be read; wrap it") from None


def name_of(function: object) -> str:
    """Name a function in an error."""
    return str(getattr(function, "__qualname__", None) or f"of type {type(function).__name__}")


def _check_function(function: object) -> None:
    if not callable(function):
        raise ConfigurationError(f"a handler is {type(function).__name__}; expected a function")
    if isinstance(function, type):
        raise ConfigurationError(f"handler {name_of(function)} is a class; expected a function or an instance")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"handler {name_of(function)} is a generator; expected a function without yield")


def _is_needed(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variable


def _globals_of(function: Any) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    found: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    return found
