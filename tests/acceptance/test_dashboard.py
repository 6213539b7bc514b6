"""The dashboard in a real browser: its script runs under its own policy, tables follow the queues, forms work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.chromium import PROGRAM, Chromium
from tests.support import Server

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")

LOCAL = {"AUTH_MODE": "local", "CLOUDFLARE_ENV": "local"}
BACKLOG = "document.querySelector('#q-orders .number')?.innerText"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("data"), environ=LOCAL) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_the_table_follows_the_queues_and_what_is_typed_meanwhile_stays(server: Server, chromium: Chromium) -> None:
    dead = server.create_queue("dead")
    queue = server.create_queue("orders", consumer={"type": "http_pull", "dead_letter_queue": "dead"})
    server.v4("POST", f"/queues/{dead}/messages", {"body": 1})

    chromium.open(f"{server.url}/dashboard")
    before = chromium.until(BACKLOG)
    server.v4("POST", f"/queues/{queue}/messages", {"body": 1})
    chromium.until(f"{BACKLOG} === '1'")

    assert before == "0"
    assert chromium.complaints == []

    chromium.open(f"{server.url}/dashboard/dead-letters")
    chromium.until("document.querySelector('#d-dead input[name=reason]')")
    chromium.value("document.querySelector('#d-dead input[name=reason]').value = 'typed'")
    server.v4("POST", f"/queues/{dead}/messages", {"body": 2})
    chromium.until("document.querySelectorAll('#d-dead tbody tr').length === 2")

    assert chromium.value("document.querySelector('#d-dead input[name=reason]').value") == "typed"
    assert chromium.complaints == []


def test_a_person_sends_a_message_by_the_form(server: Server, chromium: Chromium) -> None:
    server.create_queue("letters")
    chromium.open(f"{server.url}/dashboard/queues/letters")
    chromium.until("document.title.startsWith('letters')")

    chromium.value("document.querySelector('textarea').value = '{\"a\": \"<b>\"}'")
    chromium.value("document.querySelector('textarea').form.requestSubmit()")

    assert chromium.until("document.querySelector('.said')?.innerText") == "The message is in the queue."
    assert chromium.value("document.querySelector('td .body').innerText") == '{"a": "<b>"}'
