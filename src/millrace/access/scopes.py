"""What each role of a key may do."""

from enum import StrEnum

from millrace.errors import Forbidden


class Scope(StrEnum):
    """One thing that a route may ask for."""

    READ = "queues:read"
    MANAGE = "queues:manage"
    SEND = "messages:send"
    DRAFT = "messages:draft"
    REVIEW = "messages:review"
    TAKE = "messages:take"
    PEEK = "messages:peek"
    PURGE = "messages:purge"
    WATCH = "metrics:read"
    DEBUG = "debug"
    KEYS = "keys"
    AUDIT = "audit"
    SECRETS = "secrets"
    SQL = "sql"


class Role(StrEnum):
    """What a key is for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    PRODUCER = "producer"
    CONSUMER = "consumer"
    AGENT = "agent"
    AUTHOR = "author"
    REVIEWER = "reviewer"


GRANTS: dict[Role, frozenset[Scope]] = {
    Role.ADMIN: frozenset(Scope),
    Role.OPERATOR: frozenset(Scope) - {Scope.KEYS, Scope.DEBUG, Scope.SECRETS, Scope.SQL},
    Role.PRODUCER: frozenset({Scope.READ, Scope.SEND, Scope.DRAFT}),
    Role.CONSUMER: frozenset({Scope.READ, Scope.TAKE, Scope.PEEK}),
    Role.AGENT: frozenset({Scope.READ, Scope.SEND, Scope.TAKE}),
    Role.AUTHOR: frozenset({Scope.READ, Scope.DRAFT}),
    Role.REVIEWER: frozenset({Scope.READ, Scope.PEEK, Scope.DRAFT, Scope.REVIEW}),
}


def check_scope(role: Role, scope: Scope) -> None:
    """Let it pass when the role has the scope.

    Raises:
        Forbidden: it has not.
    """
    if scope not in GRANTS[role]:
        raise Forbidden(f"a key with role '{role}' does not allow '{scope}'")
