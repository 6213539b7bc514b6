"""The App that `--app` names."""

from pathlib import Path

from millrace.errors import ConfigurationError
from millrace.platform import App
from millrace.programs import load_object


def load_app(reference: str) -> App:
    """Import a user's program, seen from the working folder.

    Raises:
        ConfigurationError: no such file, module or name, or the name is no App.
    """
    try:
        app = load_object(reference, Path.cwd())
    except ConfigurationError as error:
        raise ConfigurationError(f"--app {error}") from error
    if not isinstance(app, App):
        raise ConfigurationError(f"--app {reference} is {type(app).__name__}; expected a millrace.App")
    return app
