"""The formats of exports: rows in, bytes out, piece by piece."""

import csv
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from millrace.apps.messaging.exports.cells import safe_cell
from millrace.apps.messaging.exports.columns import Column, Line
from millrace.clock import iso_milliseconds

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


class Writer(Protocol):
    """Writes one file."""

    def add(self, lines: Sequence[Line]) -> bytes:
        """Give the bytes that come with these lines; they may come later."""
        ...

    def end(self) -> bytes:
        """Give the bytes at the end."""
        ...


class CsvWriter:
    """Comma-separated values as RFC 4180 has them, in UTF-8, with a line of heads; texts are no formulas."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._show = [_SHOWN_IN_CSV[column.kind] for column in columns]
        self._lines = _Lines()
        self._write = csv.writer(self._lines, lineterminator="\r\n").writerows
        self._write([[column.name for column in columns]])

    def add(self, lines: Sequence[Line]) -> bytes:
        """See `Writer`."""
        show = self._show
        self._write(
            [
                ["" if value is None else show_one(value) for show_one, value in zip(show, line, strict=True)]
                for line in lines
            ]
        )
        return self._taken()

    def end(self) -> bytes:
        """See `Writer`."""
        return self._taken()

    def _taken(self) -> bytes:
        text = "".join(self._lines)
        self._lines.clear()
        return text.encode()


class _Lines(list[str]):
    """What a csv.writer writes into: half the memory of a StringIO, which has four bytes for each character."""

    write = list.append


class JsonWriter:
    """An array of objects, each on a line of its own."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(column.name, column.kind == "time") for column in columns]
        self._before = b"[\n"

    def add(self, lines: Sequence[Line]) -> bytes:
        """See `Writer`."""
        if not lines:
            return b""
        text = self._before + b",\n".join(msgspec.json.encode(self._object(line)) for line in lines)
        self._before = b",\n"
        return text

    def end(self) -> bytes:
        """See `Writer`."""
        return b"\n]\n" if self._before == b",\n" else b"[]\n"

    def _object(self, line: Line) -> dict[str, Any]:
        return {
            name: iso_milliseconds(value) if is_time and value is not None else value
            for (name, is_time), value in zip(self._columns, line, strict=True)
        }


_SHOWN_IN_CSV: dict[str, Callable[[Any], Any]] = {"text": safe_cell, "number": str, "time": iso_milliseconds}
