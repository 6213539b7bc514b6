"""Parquet, in groups of rows; by pyarrow, which is an extra."""

from collections.abc import Sequence
from typing import Any

from millrace.apps.messaging.exports.columns import Column, Line
from millrace.handlers import PermanentError

GROUP_ROWS = 20_000
GROUP_BYTES = 16 * 1024 * 1024
NO_LIBRARY = "parquet needs pyarrow, which is not installed: pip install 'millrace[parquet]'; or ask for csv or json"


class ParquetWriter:
    """Writes groups of up to 20,000 rows; times are milliseconds in UTC.

    Raises:
        PermanentError: the library is not installed.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
            import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        except ImportError:
            raise PermanentError(NO_LIBRARY) from None
        self._arrow = pa
        types = {"text": pa.string(), "number": pa.int64(), "time": pa.timestamp("ms", tz="UTC")}
        self._schema = pa.schema([(column.name, types[column.kind]) for column in columns])
        self._out = _Pieces()
        self._memory = pa.system_memory_pool()  # the others keep what they were given once
        self._writer = pq.ParquetWriter(self._out, self._schema, compression="zstd", memory_pool=self._memory)
        self._batches: list[Any] = []
        self._rows = self._bytes = 0

    def add(self, lines: Sequence[Line]) -> bytes:
        """See `Writer`."""
        if lines:
            self._gather(lines)
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write_group()
        return self._out.taken()

    def end(self) -> bytes:
        """See `Writer`."""
        self._write_group()
        self._writer.close()
        return self._out.taken()

    def _gather(self, lines: Sequence[Line]) -> None:
        arrays = [
            self._arrow.array(values, type=field.type, memory_pool=self._memory)
            for values, field in zip(zip(*lines, strict=True), self._schema, strict=True)
        ]
        batch = self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes

    def _write_group(self) -> None:
        if self._batches:
            table = self._arrow.Table.from_batches(self._batches, schema=self._schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._batches, self._rows, self._bytes = [], 0, 0


class _Pieces:
    """A file that is only written, and given away as it comes."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._place = 0

    def write(self, piece: Any) -> int:
        self._written.append(bytes(piece))
        self._place += len(self._written[-1])
        return len(self._written[-1])

    def taken(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken

    def tell(self) -> int:
        return self._place

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
