"""What can be typed about alert rules: `alerts list`, `alerts create`, `alerts delete`."""

import argparse
from math import isfinite

from millrace import limits
from millrace.cli.parsing import Commands, add_number, add_verb

MEASURES = ("depth", "oldest_age_seconds", "failure_rate")


def add_alerts(commands: Commands) -> None:
    """Add the commands about alert rules."""
    alerts = commands.add_parser(
        "alerts",
        help="be told when a queue is too full or its jobs fail",
        description="Rules that fire once, and clear, and whom they tell.",
    )
    verbs = alerts.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_verb(verbs, "list", "alerts:list_alerts", "list the alert rules of the account, and where each stands")
    _add_create(verbs)
    delete = add_verb(verbs, "delete", "alerts:delete", "delete an alert rule")
    delete.add_argument("alert", metavar="ALERT", help="its name or id")


def _add_create(verbs: Commands) -> None:
    create = add_verb(
        verbs, "create", "alerts:create", "make an alert rule, and print the secrets that sign, this once"
    )
    create.add_argument("name", metavar="NAME", help="its name, which the notices bear")
    create.add_argument("--queue", metavar="NAME", required=True, help="the queue it looks at")
    create.add_argument("--measure", choices=MEASURES, required=True, help="what it looks at")
    create.add_argument("--above", metavar="X", type=_bound, required=True, help="it fires above this")
    create.add_argument("--clear-below", metavar="X", type=_bound, help="it clears at this, or below (--above)")
    add_number(create, "--for-seconds", 0, limits.ALERT_FOR_SECONDS, "either must hold for so long (0)")
    low, high = limits.ALERT_WINDOW_SECONDS_MIN, limits.ALERT_WINDOW_SECONDS_MAX
    add_number(create, "--window-seconds", low, high, f"of a failure rate ({limits.ALERT_WINDOW_SECONDS})")
    add_number(create, "--minimum", 1, limits.ALERT_MINIMUM, "jobs that a failure rate needs (1)")
    create.add_argument("--webhook", metavar="URL", action="append", default=[], help="post notices there; repeatable")
    create.add_argument(
        "--notify",
        metavar="WAY=TARGET",
        action="append",
        default=[],
        help="tell in a way of an application; repeatable",
    )


def _bound(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if number >= 0 and isfinite(number):
        return number
    raise argparse.ArgumentTypeError(f"it is {text!r}; expected a number from 0")
