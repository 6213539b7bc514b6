"""The routes about crons: who may call them, and what they refuse."""

from pathlib import Path

import pytest

from tests.http.wire import eventually, make_key
from tests.support import Server


def test_an_account_without_crons_has_an_empty_list(server: Server) -> None:
    assert server.call("GET", "/api/crons").json == {"crons": []}


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"program": "shop"}, 404, "program 'shop' has no crons; GET /api/crons lists what there is"),
        ({"program": "shop", "cron": "* * * * *"}, 404, "program 'shop' has no cron '* * * * *'; GET"),
        ({}, 400, "missing required field `program`"),
        ({"program": 1}, 400, "Expected `str`, got `int`"),
    ],
)
def test_a_run_of_what_there_is_not_is_refused(server: Server, body: object, status: int, sentence: str) -> None:
    refused = server.call("POST", "/api/crons/run", body)

    assert refused.status == status
    assert sentence in refused.json["error"]["message"]


@pytest.mark.parametrize(("role", "status"), [("operator", 200), ("producer", 403), ("consumer", 403)])
def test_crons_are_for_admins_and_operators(server: Server, role: str, status: int) -> None:
    secret = server.call("POST", "/api/keys", {"role": role}).json["secret"]

    assert server.call("GET", "/api/crons", key=secret).status == status


def test_an_account_that_comes_later_gets_the_crons_of_the_applications_too(tmp_path: Path) -> None:
    environ = {"JOBS_CRON": "0 0 1 1 *"}
    with Server(tmp_path / "data", "--config", "", environ=environ) as server:
        key = make_key(server.data, "newcomer")

        eventually(lambda: server.call("GET", "/api/crons", key=key).json.get("crons"))
        sent = server.call("POST", "/api/crons/run", {"program": "jobs"}, key=key)
        eventually(lambda: server.call("GET", "/api/crons", key=key).json["crons"][0]["last_status"] == "done")

    assert (sent.status, sent.json["queue"]) == (202, "crons-jobs")
