"""Exports over HTTP: how far they are, who gets their files, and who does not."""

import json
import time
from urllib.parse import quote

import pytest

from millrace.ids import new_id
from tests.apps.message_rooms import cleanup, email, export
from tests.support import ON_BOTH_STORES, Reply, Server

pytestmark = ON_BOTH_STORES

MESSAGES = 5_000
SECONDS = 20


def key_of(server: Server, role: str, **more: str) -> str:
    return server.call("POST", "/api/keys", {"role": role, **more}).json["secret"]


def queued(server: Server, *jobs: dict, key: str = "") -> None:
    assert server.call("POST", "/api/enqueue-job", list(jobs), key=key).status == 202


def ended(server: Server, path: str, **more: object) -> dict:
    """Wait until something is neither queued nor being tried."""
    until = time.monotonic() + SECONDS
    while (found := server.call("GET", path, **more).json)["status"] in ("queued", "scheduled", "processing"):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def made(server: Server, key: str = "", export_id: str | None = None, **more: object) -> dict:
    """Have an export made and give it."""
    export_id = export_id or f"export-{new_id()}"
    queued(server, export(export_id, **{"filters": {}, "priority": "high", **more}), key=key)
    return ended(server, f"/api/exports/{quote(export_id, safe='')}", key=key)


def path_of(found: dict) -> str:
    return f"/api/exports/{quote(found['exportId'], safe='')}/download"


def code_of(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["error"]["code"]


def test_five_thousand_messages_are_exported_and_fetched_by_link(server: Server) -> None:
    """S1-31, S1-34."""
    for begin in range(0, MESSAGES, 100):
        held = {"sendAt": "2099-01-01T00:00:00Z", "recipient": "held@example.com"}
        queued(server, *(email(f"held-{begin + number}", **held) for number in range(100)))

    found = made(server, format="json", filters={"status": "scheduled", "type": "email_send"})
    reply = server.call("GET", found["downloadUrl"], key=None)

    lines = json.loads(reply.body)
    assert found["rows"] == len(lines) == len({line["messageId"] for line in lines}) == MESSAGES
    assert found["progress"]["percentage"] == 100
    assert (found["userId"], found["format"], found["reason"]) == ("user-1", "json", None)
    assert found["bytes"] == len(reply.body) == int(reply.headers["content-length"])


def test_a_file_comes_with_a_name_that_means_nothing_to_a_system(server: Server) -> None:
    found = made(server, export_id='../a/"b" \\ü', filters={"startDate": "2099-01-01"})

    reply = server.call("GET", path_of(found))

    assert reply.status == 200
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="export-a_b.csv"'
    assert (reply.headers["x-content-type-options"], reply.headers["cache-control"]) == ("nosniff", "no-store")


def test_an_export_that_has_not_begun_is_told_of_and_has_no_file(server: Server) -> None:
    queued(server, export("later", sendAt="2099-01-01T00:00:00Z"))

    found = server.call("GET", "/api/exports/later").json

    assert (found["status"], found["downloadUrl"], found["progress"]["rows"]) == ("scheduled", None, 0)
    assert code_of(server.call("GET", "/api/exports/later/download")) == (409, "CONFLICT")


def test_an_export_is_for_its_key_and_for_those_who_manage_the_account(server: Server) -> None:
    """S1-34."""
    owner, other, operator = (key_of(server, role) for role in ("producer", "producer", "operator"))
    found = made(server, owner)
    shown, file = f"/api/exports/{found['exportId']}", path_of(found)

    answers = {
        name: [server.call("GET", path, key=key).status for path in (shown, file)]
        for name, key in (("owner", owner), ("operator", operator), ("other", other), ("nobody", None))
    }

    assert answers == {"owner": [200, 200], "operator": [200, 200], "other": [403, 403], "nobody": [401, 401]}
    assert [one["exportId"] for one in server.call("GET", "/api/exports", key=owner).json["exports"]] == [
        found["exportId"]
    ]
    assert server.call("GET", "/api/exports", key=other).json == {"exports": []}


def test_a_producer_gets_its_own_messages_and_no_audit_trail(server: Server) -> None:
    producer = key_of(server, "producer")
    mine = f"mine-{new_id()}"
    queued(server, email(mine, sendAt="2099-01-01T00:00:00Z"), key=producer)

    found = made(server, producer, format="json")
    refused = server.call("POST", "/api/enqueue-job", export("trail", filters={"source": "audit"}), key=producer)

    file = server.call("GET", path_of(found), key=producer).json
    assert [line["messageId"] for line in file] == [mine]
    assert code_of(refused) == (403, "FORBIDDEN")
    assert server.call("GET", "/api/messages/trail").status == 404


@pytest.mark.parametrize(
    ("before", "after"),
    [("signature=", "signature=0"), ("expires=", "expires=9"), ("account=local", "account=other"), ("/export-", "/x-")],
)
def test_a_link_that_was_changed_opens_nothing(server: Server, before: str, after: str) -> None:
    link = made(server)["downloadUrl"]

    assert code_of(server.call("GET", link.replace(before, after), key=None)) == (403, "FORBIDDEN")


def test_a_link_opens_its_file_and_no_other_door(server: Server) -> None:
    found = made(server)
    query = found["downloadUrl"].partition("?")[2]

    for path in (f"/api/exports/{found['exportId']}", "/api/exports", "/api/audit", "/api/messages/msg-1"):
        assert server.call("GET", f"{path}?{query}", key=None).status == 401
    assert server.call("POST", f"/api/enqueue-job?{query}", email(), key=None).status == 401


def test_a_key_of_a_tenant_gets_nowhere_below_api(server: Server) -> None:
    tenant = key_of(server, "producer", tenant="acme")

    assert server.call("GET", "/api/exports", key=tenant).status == 403
    assert server.call("GET", path_of(made(server)), key=tenant).status == 403


def test_a_file_is_gone_after_its_clean_up(server: Server) -> None:
    found = made(server)
    removal = cleanup("temp_files", "2099-01-01", priority="high")

    job_id = server.call("POST", "/api/enqueue-job", removal).json["jobId"]
    ended(server, f"/api/messages/{job_id}")

    shown = server.call("GET", f"/api/exports/{found['exportId']}").json
    assert (shown["status"], shown["downloadUrl"], shown["reason"]) == ("expired", None, None)
    assert code_of(server.call("GET", path_of(found))) == (410, "GONE")
    assert code_of(server.call("GET", found["downloadUrl"], key=None)) == (410, "GONE")


def test_who_fetched_a_file_is_in_the_audit_trail(server: Server) -> None:
    found = made(server)
    server.call("GET", found["downloadUrl"], key=None)

    entry = server.call("GET", "/api/audit?act=export.downloaded&limit=1").json["entries"][0]

    assert (entry["actor"], entry["object"]) == ("signed-download", f"message {found['exportId']}")


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"format": "xml"}, "$.format"),
        ({"exportId": "a\nb"}, "exportId"),
        ({"filters": {"startDate": "yesterday"}}, "filters.startDate"),
        ({"filters": {"status": 1}}, "filters.status"),
        ({"filters": []}, "$.filters"),
        ({"filters": {"source": "keys"}}, "filters.source"),
        ({"notifyEmail": "nobody"}, "notifyEmail"),
        ({"userId": ""}, "$.userId"),
    ],
)
def test_a_wrong_export_is_refused_by_the_name_of_what_is_wrong(server: Server, changed: dict, place: str) -> None:
    reply = server.call("POST", "/api/enqueue-job", {**export("wrong"), **changed})

    assert code_of(reply) == (400, "VALIDATION_ERROR")
    assert place in reply.json["error"]["message"]


@pytest.mark.parametrize("export_id", ["none", "%00", "..%2f", "%ff"])
def test_an_export_that_there_is_not_is_not_found(server: Server, export_id: str) -> None:
    assert server.call("GET", f"/api/exports/{export_id}").status == 404
    assert server.call("GET", f"/api/exports/{export_id}/download").status == 404
    assert server.call("GET", f"/api/exports/{export_id}/download?account=local&signature=x", key=None).status == 403
