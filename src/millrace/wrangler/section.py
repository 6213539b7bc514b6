"""The part of a file that counts: its top level, or one environment with the top level behind it."""

from typing import Any

import msgspec

from millrace.jsonc import dumps
from millrace.wrangler.places import Problem


class Section(msgspec.Struct, frozen=True):
    """The values on top, the section's own, and the environment's name; without one, the two are the same."""

    top: dict[str, Any]
    own: dict[str, Any]
    environment: str | None

    @property
    def prefix(self) -> str:
        """What the paths of the section's own keys begin with."""
        return f"env.{self.environment}." if self.environment else ""

    def inherited(self, key: str, default: Any = None) -> tuple[Any, str]:
        """Give the value and its path, from the environment or else from the top level."""
        return (self.own[key], self.prefix + key) if key in self.own else (self.top.get(key, default), key)


def choose_section(top: dict[str, Any], environment: str | None) -> Section | Problem:
    """Give the section of the environment, or what is wrong with its name or its value."""
    if environment is None:
        return Section(top, top, None)
    environments = top["env"] if isinstance(top.get("env"), dict) else {}
    if environment not in environments:
        return Problem(
            "env",
            f"No environment found in configuration with name {dumps(environment)}. "
            f"The available configured environment names are: {dumps(list(environments))}.",
        )
    own = environments[environment]
    if not isinstance(own, dict):
        path = f"env.{environment}"
        return Problem(path, f'The field "{path}" should be an object but got {dumps(own)}.')
    return Section(top, own, environment)
