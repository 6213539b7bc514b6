"""How what `env` holds reaches the server: a method's name and its arguments go there, a plain value comes back."""

from collections.abc import Awaitable, Callable
from typing import Any

from millrace.errors import InvalidInput

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Binding:
    """What `env` holds beside variables: its methods are awaited, or, for a plain function, wait by themselves."""


def answering(**methods: Callable[..., Awaitable[Any]]) -> Ask:
    """Make what answers for these methods."""

    async def answer(method: str, arguments: dict[str, Any]) -> Any:
        if method not in methods:
            raise InvalidInput(f"there is no method {method!r} here")
        return await methods[method](**arguments)

    return answer
