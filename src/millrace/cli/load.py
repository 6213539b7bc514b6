"""From `package.module:name` or `path.py:name` to the App value it names."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from millrace.errors import ConfigurationError
from millrace.platform import App


def load_app(reference: str) -> App:
    """Import a user's program.

    Raises:
        ConfigurationError: no such file, module or name, or the name is no App.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ConfigurationError(f"--app is {reference!r}; expected package.module:name or path.py:name")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"--app {place} cannot be imported: {type(error).__name__}: {error}") from error
    app = getattr(module, name, None)
    if not isinstance(app, App):
        raise ConfigurationError(f"--app {reference}: {name!r} is {type(app).__name__}; expected a millrace.App")
    return app


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"--app {path}: there is no such file")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"--app {path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
