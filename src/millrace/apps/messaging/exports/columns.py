"""The columns of exports: of messages, and of the audit trail."""

from typing import Any, Literal, NamedTuple

Kind = Literal["text", "number", "time"]
Line = tuple[Any, ...]  # a value for each column: a text, a number, a time in epoch milliseconds, or None


class Column(NamedTuple):
    """A column, as every format heads it."""

    name: str
    kind: Kind = "text"


MESSAGES = (
    Column("messageId"),
    Column("type"),
    Column("status"),
    Column("priority"),
    Column("recipient"),
    Column("subject"),
    Column("content"),
    Column("attempts", "number"),
    Column("reason"),
    Column("provider"),
    Column("providerId"),
    Column("createdAt", "time"),
    Column("updatedAt", "time"),
    Column("scheduledFor", "time"),
    Column("deliveredAt", "time"),
)
AUDIT = (
    Column("number", "number"),
    Column("at", "time"),
    Column("actor"),
    Column("act"),
    Column("object"),
    Column("details"),
    Column("correlationId"),
)
