"""Copying a whole store from one database into another.

Each portion is committed together with the place that it reaches to, so a copy that was killed goes on from there. The
target counts as a store only when every table has been read again on both sides and is the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from millrace.clock import Clock, iso_milliseconds
from millrace.errors import StoreRefused
from millrace.moving.chunks import Digest, chunks
from millrace.moving.side import Numbers, Side
from millrace.moving.tables import Pair, Table, pair

ALL = ""  # the name under which the copy as a whole is noted
PRESET = frozenset({"audit_head"})  # a new store begins with a row there


class Progress(msgspec.Struct, frozen=True):
    """How far a table is; `total` rows are those of the source."""

    stage: Literal["copying", "comparing"]
    table: str
    rows: int
    total: int


class Copied(msgspec.Struct, frozen=True):
    """What the target holds; `finished_at_ms` is set when an earlier copy had done it all."""

    rows: dict[str, int]
    finished_at_ms: int | None = None


Watch = Callable[[Progress], None]


class _Origin(msgspec.Struct, frozen=True):
    """What the copy was begun from: another store, or the same one after it was used, gives another."""

    store_id: str
    numbers: Numbers
    messages: int


class _Place(msgspec.Struct, frozen=True):
    """How far a table is."""

    rows: int
    after: tuple[int | str, ...]
    is_done: bool


def copy(source: Side, target: Side, names: Iterable[str], clock: Clock, watch: Watch) -> Copied:
    """Bring every row of these tables over, or go on with that, then compare both sides.

    Raises:
        StoreRefused: the target holds something else, or is not the same in the end.
    """
    wanted = [*names]
    pairs = pair(source.tables(wanted), target.tables(wanted), wanted)
    origin = _origin(source)
    if not target.tx.fetch("has_table", {"name": "moving"}):
        _begin(target, pairs, origin)
    finished = _finished(target, origin)
    if finished is not None:
        return finished
    for one in pairs:
        _copy_table(source, target, one, watch)
    with target.transaction():
        target.finish(origin.store_id, origin.numbers, [one.target for one in pairs])
    found = {one.name: _compare(source, target, one, watch) for one in pairs}
    if target.store_id() != origin.store_id or target.numbers() != origin.numbers:
        raise StoreRefused(f"the numbers of the copy are {target.numbers()}; expected {origin.numbers}")
    with target.transaction():
        _note(target, ALL, sum(found.values()), msgspec.msgpack.encode(origin), clock())
    return Copied(found)


def already_copied(source: Side, target: Side) -> Copied:
    """Give the copy that made the target, if it came to its end and the source has not been used since.

    Raises:
        StoreRefused: the target was made in another way, or from another state of the source.
    """
    found = _finished(target, _origin(source)) if target.tx.fetch("has_table", {"name": "moving"}) else None
    if found is None:
        raise StoreRefused("the target exists already; nothing was changed. Name another place, or move that away")
    return found


def _origin(source: Side) -> _Origin:
    messages = source.tables(["messages"])["messages"]
    return _Origin(source.store_id(), source.numbers(), source.count(messages))


def _begin(target: Side, pairs: Sequence[Pair], origin: _Origin) -> None:
    """Take an empty store for this copy."""
    full = [one.name for one in pairs if one.name not in PRESET and target.has_rows(one.target)]
    if full:
        raise StoreRefused(
            f"the target holds a store already (there are rows in {', '.join(full[:3])}); nothing was changed. "
            "Name an empty place"
        )
    with target.transaction():
        target.tx.apply("create_moving")
        _note(target, ALL, 0, msgspec.msgpack.encode(origin), None)


def _finished(target: Side, origin: _Origin) -> Copied | None:
    """Give the end of a copy that came to it; None for one to go on with."""
    rows = {row[0]: row for row in target.tx.fetch("progress")}
    _, _, position, at_ms = rows.pop(ALL)
    begun_from = msgspec.msgpack.decode(position, type=_Origin)
    if begun_from.store_id != origin.store_id:
        raise StoreRefused("the target holds the copy of another store; nothing was changed. Name an empty place")
    if begun_from == origin:
        return None if at_ms is None else Copied({name: count for name, count, _, _ in rows.values()}, at_ms)
    if at_ms is not None:
        raise StoreRefused(
            f"the target holds a copy of this store that was finished at {iso_milliseconds(at_ms)}; the source was used "
            "since, and nothing was changed. Name an empty place"
        )
    raise StoreRefused(
        "the source was used after this copy had begun, so it cannot go on. Empty the target, then begin anew"
    )


def _copy_table(source: Side, target: Side, one: Pair, watch: Watch) -> None:
    place = _place(target, one.name)
    total, width = source.count(one.source), len(one.source.key)
    for chunk in chunks(() if place.is_done else source.rows(one.source, one.source_columns, place.after)):
        rows = place.rows + len(chunk)
        with target.transaction():
            if one.name in PRESET and not place.rows:
                target.clear(one.target)
            target.add(one.target, one.target_columns, [row[width:] for row in chunk])
            place = _Place(rows, tuple(chunk[-1][:width]), is_done=rows == total)
            _note(target, one.name, rows, msgspec.msgpack.encode(place), None)
        watch(Progress("copying", one.name, rows, total))


def _place(target: Side, name: str) -> _Place:
    for found, _, position, _ in target.tx.fetch("progress"):
        if found == name:
            return msgspec.msgpack.decode(position, type=_Place)
    return _Place(0, (), is_done=False)


def _note(target: Side, name: str, rows: int, position: bytes, at_ms: int | None) -> None:
    bindings = {"name": name, "row_count": rows, "position": position, "finished_at_ms": at_ms}
    target.tx.apply("set_progress", bindings)


def _compare(source: Side, target: Side, one: Pair, watch: Watch) -> int:
    """Read a table again on both sides and give its rows.

    Raises:
        StoreRefused: it is not the same.
    """
    total = source.count(one.source)

    def tell(rows: int) -> None:
        watch(Progress("comparing", one.name, rows, total))

    there = _digest(source, one.source, one.source_columns, tell)
    with target.transaction():
        here = _digest(target, one.target, one.target_columns, lambda rows: None)
    if there != here:
        raise StoreRefused(
            f"table {one.name} is not the same on both sides: {there.rows} rows in the source, {here.rows} in the target"
            f"{', with other contents' if there.rows == here.rows else ''}. Empty the target, then begin anew"
        )
    return there.rows


def _digest(side: Side, table: Table, columns: Sequence[str], tell: Callable[[int], None]) -> Digest:
    digest, width = Digest(), len(table.key)
    for chunk in chunks(side.rows(table, columns)):
        digest = digest.with_rows([row[width:] for row in chunk])
        tell(digest.rows)
    return digest
