"""Errors as they may be told elsewhere: which kind, and where they were raised; no variables and no lines of source."""

import re
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Any

from millrace.errors import MillraceError
from millrace.privacy import scrubbed

CHAIN_MAX = 5
FRAMES_MAX = 50
LEFT_OUT = "(left out)"
LIBRARIES = "/lib/python"  # of Python itself, and what is installed beside it

# A handler's process sends its traceback as text.
FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d+), in (\S+)$', re.MULTILINE)
ENDING = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


def exceptions_of(error: BaseException, *, is_ours: bool = True) -> list[dict[str, Any]]:
    """Give an error after what led to it, up to five, each with its last 50 frames.

    The text of an error of another's class may quote anything, and is left out; so are all texts unless `is_ours`.
    """
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and len(chain) < CHAIN_MAX:
        chain.append(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return [_shown(each, is_ours=is_ours) for each in reversed(chain)]


def _shown(error: BaseException, *, is_ours: bool) -> dict[str, Any]:
    kind = type(error)
    note = next((note for note in getattr(error, "__notes__", ()) if FRAME.search(note)), None)
    frames = list(_frames(error.__traceback__)) if note is None else list(_noted_frames(note))
    shown: dict[str, Any] = {
        "type": kind.__name__ if note is None else _noted_kind(note) or kind.__name__,
        "value": scrubbed(str(error)) if is_ours and isinstance(error, MillraceError) else LEFT_OUT,
    }
    if note is None:
        shown["module"] = kind.__module__
    return {**shown, "stacktrace": {"frames": frames[-FRAMES_MAX:]}} if frames else shown


def _frames(raised: TracebackType | None) -> Iterator[dict[str, Any]]:
    for frame, line in traceback.walk_tb(raised):
        code = frame.f_code
        yield {**_frame(code.co_filename, code.co_name, line), "module": frame.f_globals.get("__name__", "")}


def _noted_frames(note: str) -> Iterator[dict[str, Any]]:
    for path, line, function in FRAME.findall(note):
        yield _frame(path, function, int(line))


def _noted_kind(note: str) -> str | None:
    """Give the kind of the error at whose end the traceback stands."""
    last = list(FRAME.finditer(note))[-1]
    found = ENDING.search(note, last.end())
    return found[1].rpartition(".")[2] if found else None


def _frame(path: str, function: str, line: int) -> dict[str, Any]:
    """Name a place; of the path only the file, since folders are named after people and customers."""
    return {"filename": PurePath(path).name, "function": function, "lineno": line, "in_app": LIBRARIES not in path}
