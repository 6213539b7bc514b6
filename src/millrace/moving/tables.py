"""The tables of a store in two databases, and how their columns go together."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from millrace.errors import StoreRefused

# Of the tables that SQLite has, these differ or tell of the database itself; their values are brought over by name.
BY_NAME = frozenset({"store", "schema_migrations", "moving"})
# Of one database and its servers alone: what they hold has no meaning elsewhere, or is brought over in other ways.
POSTGRES_ONLY = frozenset({"changes", "servers", "places", "backlog_changes", "audit_numbers"})
LEFT_OUT = frozenset({("lanes", "folded_below")})
FIRST, LAST = ("lanes", "queues"), ("messages",)  # queues refer to lanes


class Column(msgspec.Struct, frozen=True):
    """A column; `counts` says that the database itself numbers the rows by it."""

    name: str
    kind: str = ""  # the type, as PostgreSQL calls it
    counts: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table; `key` are the columns that tell its rows apart, and in whose order it is read."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def column(self, name: str) -> Column:
        """Give a column by its name."""
        return next(column for column in self.columns if column.name == name)


class Pair(msgspec.Struct, frozen=True):
    """A table here and there, with the columns whose values are brought over, in the same order."""

    source: Table
    target: Table
    source_columns: tuple[str, ...]
    target_columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """Give the name that both bear."""
        return self.source.name


def pair(source: Mapping[str, Table], target: Mapping[str, Table], names: Iterable[str]) -> list[Pair]:
    """Give the tables of these names in the order in which they are copied.

    Raises:
        StoreRefused: one is missing, or its columns differ.
    """
    wanted = sorted(set(names) - BY_NAME, key=_turn)
    missing = [name for name in wanted if name not in source or name not in target]
    if missing:
        raise StoreRefused(f"a store lacks the table {missing[0]}; run millrace db migrate on both sides")
    return [_paired(source[name], target[name]) for name in wanted]


def _turn(name: str) -> tuple[int, str]:
    if name in FIRST:
        return FIRST.index(name) - len(FIRST), name
    return int(name in LAST), name


def _paired(source: Table, target: Table) -> Pair:
    """Put columns of the same name together; and what numbers the rows, which has a name in one database only."""
    in_source, in_target = _names(source), _names(target)
    pairs = [(name, name) for name in in_source if name in in_target]
    alone = [*_alone(source, in_target), *_alone(target, in_source)]
    strange = [column.name for column in alone if not column.counts]
    if strange:
        raise StoreRefused(f"table {source.name} has the column {strange[0]} on one side only; run millrace db migrate")
    if len(alone) == 2:
        pairs.append((alone[0].name, alone[1].name))
    return Pair(source, target, tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns if (table.name, column.name) not in LEFT_OUT]


def _alone(table: Table, others: Sequence[str]) -> list[Column]:
    return [table.column(name) for name in _names(table) if name not in others]
