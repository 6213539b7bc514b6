"""`millrace alerts …`: rules that tell somebody when a queue is too full or its jobs fail."""

import argparse
from typing import Any

from millrace.cli.clients import client_of, report
from millrace.cli.printing import print_json, print_lines, print_table
from millrace.client.synchronous import Client
from millrace.client.wire import quoted
from millrace.errors import AlertNotFound

PATH = "/api/alerts"
HEADS = ("name", "queue", "measure", "above", "clears at", "status", "value", "tells")
OPTIONAL = ("clear_below", "for_seconds", "window_seconds", "minimum")


def list_alerts(arguments: argparse.Namespace) -> int:
    """List the alert rules of the account."""
    with client_of(arguments) as client:
        alerts = client.ask("GET", PATH)["alerts"]
    if arguments.json:
        print_json(alerts)
    elif not alerts:
        print_lines("no alerts")
    else:
        print_table(HEADS, [_row(alert) for alert in alerts])
    return 0


def create(arguments: argparse.Namespace) -> int:
    """Make an alert rule."""
    body = {name: getattr(arguments, name) for name in ("name", "queue", "measure", "above")}
    body |= {name: value for name in OPTIONAL if (value := getattr(arguments, name)) is not None}
    notify = [{"webhook": url} for url in arguments.webhook] + [_way(arguments, text) for text in arguments.notify]
    with client_of(arguments) as client:
        made = client.ask("POST", PATH, {**body, "notify": notify}, once=True)
    secrets = [
        f"secret of {one['webhook']}, shown this once: {one['secret']}" for one in made["notify"] if "secret" in one
    ]
    return report(arguments, made, "\n".join([f"created alert {made['name']}", *secrets]))


def delete(arguments: argparse.Namespace) -> int:
    """Delete an alert rule."""
    with client_of(arguments) as client:
        deleted = client.ask("DELETE", f"{PATH}/{quoted(_id_of(client, arguments.alert))}")
    return report(arguments, deleted, f"deleted alert {arguments.alert}")


def _id_of(client: Client, name_or_id: str) -> str:
    alerts = client.ask("GET", PATH)["alerts"]
    found = next((alert for key in ("name", "id") for alert in alerts if alert[key] == name_or_id), None)
    if found is None:
        raise AlertNotFound(f"alert {name_or_id[:64]!r} does not exist; `millrace alerts list` shows what there is")
    return str(found["id"])


def _way(arguments: argparse.Namespace, text: str) -> dict[str, str]:
    way, mark, target = text.partition("=")
    if not (way and mark and target):
        arguments.refuse(f"--notify is {text!r}; expected a way and its target, such as WAY=TARGET")
    return {way: target}


def _row(alert: dict[str, Any]) -> tuple[str, ...]:
    value = "-" if alert["value"] is None else f"{alert['value']:g}"
    tells = ", ".join(f"{way} {target}" for one in alert["notify"] for way, target in one.items()) or "-"
    bounds = (f"{alert['above']:g}", f"{alert['clear_below']:g}")
    return alert["name"], alert["queue"], alert["measure"], *bounds, alert["status"], value, tells
