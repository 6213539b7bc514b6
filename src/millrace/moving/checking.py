"""Is a store sound? Reads it as it is at one moment, beside servers at work, and gives a sentence for what is wrong."""

from collections.abc import Callable, Sequence

from millrace.audit import START, Link, Verdict
from millrace.moving import sqlite
from millrace.moving.places import Place
from millrace.moving.side import Side
from millrace.moving.sqlite import known_tables
from millrace.moving.standing import check_versions, postgres_side
from millrace.moving.tables import POSTGRES_ONLY
from millrace.sql.audit import follow
from millrace.sql.schemas import Schema

NEEDED = {"fsync": ("on",), "full_page_writes": ("on",), "autovacuum": ("on",), "server_encoding": ("UTF8",)}
SYNCHRONOUS = ("on", "remote_apply")


def find_faults(place: Place, schemas: Sequence[Schema]) -> list[str]:
    """Give what is wrong with a store; empty when it is sound.

    Raises:
        StoreRefused: it is none, or not of this program's schema.
        StoreUnavailable: it cannot be read now.
    """
    check_versions(place, schemas)
    names = known_tables(schemas)
    if place.kind == "postgres":
        with postgres_side().reading(place.location) as side:
            return [*_database_faults(side, names), *_faults(side)]
    with sqlite.reading(place.path) as side:
        damage = side.damage()
        return damage or _faults(side)


def _faults(side: Side) -> list[str]:
    return [fault for look in LOOKS for fault in look(side)]


def _places(side: Side) -> list[str]:
    """Every message must lie in the lane that its key names, and the lane must be there."""
    found = [f"queue {name} has no lane" for (name,) in side.tx.fetch("queues_without_lane")]
    found += [f"{count} messages lie in lane {lane}, which is missing" for lane, count in _rows(side)]
    [(count,)] = side.tx.fetch("messages_out_of_place")
    if count:
        found.append(f"{count} messages lie in another lane than their keys name")
    return found


def _rows(side: Side) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in side.tx.fetch("messages_without_lane")]


def _backlogs(side: Side) -> list[str]:
    """The counters of each queue must be what its rows add up to."""
    rows = {lane: (count, int(size)) for lane, count, size in side.tx.fetch("rows_of_lanes")}
    found = []
    for name, lane, count, size in side.tx.fetch("backlog_of_lanes"):
        there = rows.get(lane, (0, 0))
        if (count, size) != there:
            found.append(
                f"queue {name} counts {count} messages of {size} bytes, and holds {there[0]} of {there[1]} bytes"
            )
    return found


def _features(side: Side) -> list[str]:
    """What a lane does not tell of is not looked for."""
    ranked = [f"lane {lane} has messages of a priority that nobody looks for" for (lane,) in _lanes(side, "priority")]
    return ranked + [f"lane {lane} has ordered messages that nobody looks for" for (lane,) in _lanes(side, "order")]


def _lanes(side: Side, what: str) -> list[tuple[int]]:
    return [(row[0],) for row in side.tx.fetch(f"lanes_without_{what}")]


def _numbers(side: Side) -> list[str]:
    """No number may be given twice."""
    [(highest,)], next_number = side.tx.fetch("highest_number"), side.numbers().next_number
    if highest < next_number:
        return []
    return [f"the next message would get number {next_number}, but {highest} was given already"]


def _audit(side: Side) -> list[str]:
    found: Link | Verdict = START
    while isinstance(found, Link):
        found = follow(side.tx, found)
    return [] if found.ok else [f"the audit trail is broken: {found.what}"]


LOOKS: tuple[Callable[[Side], list[str]], ...] = (_places, _backlogs, _features, _numbers, _audit)


def lacking_rights(side: Side, names: Sequence[str]) -> list[str]:
    """Give what a PostgreSQL database does not let its user do, of what servers need; `names` are the tables."""
    tables = side.tx.array([*names, *POSTGRES_ONLY])
    found = [
        f"the user may not read and write table {name}; grant select, insert, update and delete"
        for (name,) in side.tx.fetch("rights_missing", {"names": tables})
    ]
    if not side.tx.fetch("rights_on_numbers")[0][0]:
        found.append("the user may not use the sequence numbers; grant usage and update")
    return found


def _database_faults(side: Side, names: Sequence[str]) -> list[str]:
    """What PostgreSQL must do for what was answered to be safe, and let its user do."""
    settings = {row[0]: row[1] for row in side.tx.fetch("settings_of_database")}
    found = [
        f"{name} of the database is {settings.get(name)}; set it to {allowed[0]}"
        for name, allowed in NEEDED.items()
        if settings.get(name) not in allowed
    ]
    if settings["synchronous_commit"] not in SYNCHRONOUS:
        found.append(
            f"synchronous_commit of the database is {settings['synchronous_commit']}; Millrace sets it to on for itself, "
            "but others who send in their own transactions do not"
        )
    found += lacking_rights(side, names)
    found += [f"index {name} is not valid; run reindex index {name}" for (name,) in side.tx.fetch("broken_indexes")]
    return found + [f"autovacuum of table {name} is off; switch it on" for (name,) in side.tx.fetch("autovacuum_off")]
