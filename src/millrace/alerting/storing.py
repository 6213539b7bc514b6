"""Rules and where they stand as rows, as functions of an open transaction."""

from typing import NamedTuple

import msgspec

from millrace import limits
from millrace.alerting.judging import Standing
from millrace.alerting.rules import Rule
from millrace.errors import AlertNotFound, Conflict
from millrace.sql.transaction import Row
from millrace.work import Work

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rule).decode


class Kept(NamedTuple):
    """A rule as it is stored, and its text there."""

    rule: Rule
    standing: Standing
    text: str


def add(work: Work, rule: Rule) -> None:
    """Store a new rule.

    Raises:
        Conflict: the account has one of that name, or 100.
    """
    work.tx.hold(_all(rule.account_id))
    kept = of_account(work, rule.account_id)
    if len(kept) >= limits.ALERT_RULES:
        raise Conflict(f"the account has {limits.ALERT_RULES} alert rules, as many as it may; delete one first")
    _refuse_taken(kept, rule)
    work.apply("insert_alert_rule", (rule.id, rule.account_id, rule.name, _text(rule)))


def replace(work: Work, rule: Rule) -> None:
    """Store a rule in place of the one of its id; where it stands does not change.

    Raises:
        Conflict: the account has another one of that name.
    """
    work.tx.hold(_all(rule.account_id))
    _refuse_taken(of_account(work, rule.account_id), rule)
    work.apply("replace_alert_rule", (rule.name, _text(rule), rule.account_id, rule.id))


def look(work: Work, account_id: str, rule_id: str) -> Kept:
    """Give a rule of the account.

    Raises:
        AlertNotFound: it has none of that id.
    """
    row = work.fetch_one("alert_rule", (account_id, rule_id))
    if row is None:
        raise AlertNotFound(f"alert {rule_id[:64]!r} does not exist")
    return _kept(row)


def of_account(work: Work, account_id: str) -> list[Kept]:
    """Give the account's rules by name."""
    return [_kept(row) for row in work.fetch("alert_rules_of_account", (account_id,))]


def all_of_all(work: Work) -> list[Kept]:
    """Give the rules of every account."""
    return [_kept(row) for row in work.fetch("alert_rules")]


def delete(work: Work, account_id: str, rule_id: str) -> Rule:
    """Remove a rule and give it.

    Raises:
        AlertNotFound: the account has none of that id.
    """
    rule = look(work, account_id, rule_id).rule
    work.apply("delete_alert_rule", (account_id, rule_id))
    return rule


def move(work: Work, kept: Kept, after: Standing) -> bool:
    """Let a rule stand elsewhere, and say whether it still stood where it was seen, and was still the same rule."""
    rule, before, text = kept
    bindings = {
        "account_id": rule.account_id,
        "id": rule.id,
        "value": text,
        "status_before": before.status,
        "held_before_ms": before.held_since_ms or 0,
        "status": after.status,
        "held_since_ms": after.held_since_ms,
        "fired_at_ms": after.fired_at_ms,
    }
    return bool(work.fetch("move_alert_rule", bindings))


def _refuse_taken(kept: list[Kept], rule: Rule) -> None:
    if any(one.rule.name == rule.name and one.rule.id != rule.id for one in kept):
        raise Conflict(f"the account has an alert {rule.name!r} already; use another name")


def _kept(row: Row) -> Kept:
    value, status, held_since_ms, fired_at_ms = row
    return Kept(_decode(value), Standing(status=status, held_since_ms=held_since_ms, fired_at_ms=fired_at_ms), value)


def _text(rule: Rule) -> str:
    return _encode(rule).decode()


def _all(account_id: str) -> str:
    return f"alert rules {account_id}"
