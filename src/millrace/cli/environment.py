"""The environment of the commands that run programs: the process's own, above what a `.env` file says."""

import os
from collections.abc import Mapping
from pathlib import Path

from millrace.errors import ConfigurationError

FILE = ".env"


def environment() -> Mapping[str, str]:
    """Read `.env` in the working directory into the environment of this process and of those that it starts.

    What the process was given wins. Values are taken as they are written: nothing is put in for `$NAME`.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if Path(FILE).is_file():
        for name, value in _read(Path(FILE)).items():
            os.environ.setdefault(name, value)
    return os.environ


def _read(file: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        found = dotenv_values(file, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file.resolve()} cannot be read: {error}") from error
    return {name: value for name, value in found.items() if value is not None and "\0" not in value}
