"""The routes about alerts: who may call them, what they show, what they refuse."""

from typing import Any

import pytest

from tests.http.wire import a_name, assert_refusal
from tests.support import Reply, Server

HOOK = "https://hooks.example.com/a"
SECRET = "whsec_" + "A" * 40


def create(server: Server, name: str, **given: Any) -> Reply:
    body = {"name": name, "queue": "orders", "measure": "depth", "above": 1_000, **given}
    return server.call("POST", "/api/alerts", body)


def test_a_rule_is_made_shown_replaced_and_deleted(server: Server) -> None:
    name = a_name("alert")
    made = create(server, name, notify=[{"webhook": HOOK}, {"webhook": f"{HOOK}2", "secret": SECRET}])
    one = f"/api/alerts/{made.json['id']}"

    shown = server.call("GET", one).json
    body = {"name": name, "queue": "orders", "measure": "failure_rate", "above": 0.5}
    refused = server.call("PUT", one, body)
    replaced = server.call("PUT", one, {**body, "measure": "depth", "notify": [{"webhook": HOOK}]}).json
    listed = server.call("GET", "/api/alerts").json["alerts"]
    gone = server.call("DELETE", one).json

    assert made.status == 201
    assert made.json["notify"][0]["secret"].startswith("whsec_")
    assert made.json["notify"][1] == {"webhook": f"{HOOK}2", "secret": SECRET}
    assert shown == {**made.json, "notify": [{"webhook": HOOK}, {"webhook": f"{HOOK}2"}]}
    assert (shown["status"], shown["value"], shown["clear_below"], shown["fired_at"]) == ("ok", 0, 1_000, None)
    assert_refusal(refused, 400, "VALIDATION_ERROR")
    assert "orders', whose failure rate nobody counts" in refused.json["error"]["message"]
    assert (replaced["above"], replaced["notify"]) == (0.5, [{"webhook": HOOK}])
    assert replaced in listed
    assert gone == {"deleted": made.json["id"]}
    assert_refusal(server.call("GET", one), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("given", "status", "sentence"),
    [
        ({"measure": "height"}, 400, "Invalid enum value 'height' - at `$.measure`"),
        ({"above": "much"}, 400, "Expected `float`, got `str` - at `$.above`"),
        ({"above": -1}, 400, "above is -1.0; expected a number from 0"),
        ({"queue": "No"}, 400, "Queue name 'No' is not valid"),
        ({"for_seconds": 1.5}, 400, "$.for_seconds"),
        ({"notify": [{"fax": "1"}]}, 400, "notify[0] is 'fax'; expected one of "),
        ({"notify": [{"webhook": "http://127.0.0.1/"}]}, 400, "127.0.0.1 is no public address"),
    ],
)
def test_a_wrong_field_is_named(server: Server, given: dict[str, Any], status: int, sentence: str) -> None:
    refused = create(server, a_name("alert"), **given)

    assert refused.status == status
    assert sentence in refused.json["error"]["message"]


def test_a_name_that_is_taken_is_a_conflict(server: Server) -> None:
    name = a_name("alert")
    create(server, name)

    assert_refusal(create(server, name), 409, "CONFLICT")


@pytest.mark.parametrize(
    ("key", "looks", "makes"),
    [
        ({"role": "operator"}, 200, 201),
        ({"role": "producer"}, 403, 403),
        ({"role": "operator", "queues": ["orders"]}, 403, 403),
    ],
)
def test_alerts_are_for_admins_and_operators_without_limits(
    server: Server, key: dict[str, Any], looks: int, makes: int
) -> None:
    secret = server.call("POST", "/api/keys", key).json["secret"]
    body = {"name": a_name("alert"), "queue": "orders", "measure": "depth", "above": 1}

    assert server.call("GET", "/api/alerts", key=secret).status == looks
    assert server.call("POST", "/api/alerts", body, key=secret).status == makes


def test_metrics_tell_of_each_rule_to_those_who_reach_its_queue(server: Server) -> None:
    name = a_name("alert")
    create(server, name)
    limited = server.call("POST", "/api/keys", {"role": "producer", "queues": ["letters"]}).json["secret"]
    gauge = f'millrace_alert_firing{{measure="depth",queue="orders",rule="{name}"}} 0.0'

    assert gauge in server.call("GET", "/metrics").body.decode()
    assert gauge not in server.call("GET", "/metrics", key=limited).body.decode()
