"""A user's program: from `package.module:name` or `path.py:name` to what it names."""

import importlib
import importlib.util
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from millrace.errors import ConfigurationError

NAMES_SHOWN = 5


def load_object(reference: str, folder: Path) -> object:
    """Import the program that a reference speaks of, and give what it names there.

    Modules and files are looked for in `folder` first.

    Raises:
        ConfigurationError: not a reference, no such file, module or name, or it cannot be imported.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ConfigurationError(f"{reference!r} is no reference; expected package.module:name or path.py:name")
    _look_first_in(folder.resolve())
    module = load_module(folder / place) if place.endswith(".py") else _import(place)
    try:
        return getattr(module, name)
    except AttributeError:
        raise ConfigurationError(f"{place} has no {name!r}; {_names_near(name, module)}") from None


def load_module(path: Path) -> ModuleType:
    """Import a file, once, with its folder first among those where its own imports are looked for.

    Raises:
        ConfigurationError: there is no such file, or it cannot be imported.
    """
    file = path.resolve()
    if not file.is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    _look_first_in(file.parent)
    name = _module_name(file)
    return sys.modules[name] if name in sys.modules else _import_file(name, file, path)


def _module_name(file: Path) -> str:
    """Name the file's module after the file, unless another module has that name: `queue.py` must not hide Python's."""
    taken = sys.modules.get(file.stem)
    is_free = taken is None and file.stem not in sys.stdlib_module_names
    is_this_file = taken is not None and getattr(taken, "__file__", None) == str(file)
    return file.stem if is_free or is_this_file else str(file)


def _import_file(name: str, file: Path, shown: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{shown} cannot be imported: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _not_importable(shown, error) from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _not_importable(name, error) from error


def _not_importable(place: Path | str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(f"{place} cannot be imported: {type(error).__name__}: {error}")


def _look_first_in(folder: Path) -> None:
    entry = str(folder)
    if sys.path[:1] != [entry]:
        sys.path.insert(0, entry)


def _names_near(name: str, module: ModuleType) -> str:
    names = [known for known in vars(module) if not known.startswith("_")]
    near = get_close_matches(name, names, NAMES_SHOWN)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"it has {', '.join(names[:NAMES_SHOWN]) or 'no public names'}"
