"""The dashboard in a real browser: its script runs under its own policy, tables follow the queues, forms work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import Server

from soak.chromium import Chromium

LOCAL = {"AUTH_MODE": "local", "CLOUDFLARE_ENV": "local"}
BACKLOG = "document.querySelector('#q-orders .number')?.innerText"
REASON = "document.querySelector('#d-dead input[name=reason]')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("data"), environ=LOCAL) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_the_table_follows_the_queues(server: Server, chromium: Chromium) -> None:
    queue = server.create_queue("orders")
    chromium.open(f"{server.url}/dashboard")
    before = chromium.value(BACKLOG)

    server.v4("POST", f"/queues/{queue}/messages", {"body": 1})

    assert before == "0"
    assert chromium.until(f"{BACKLOG} === '1'")
    assert chromium.complaints == []


def test_what_is_typed_stays_while_the_page_follows(server: Server, chromium: Chromium) -> None:
    server.create_queue("source", consumer={"type": "http_pull", "dead_letter_queue": "dead"})
    [dead] = [found["queue_id"] for found in server.v4("GET", "/queues?name=dead").result]
    server.v4("POST", f"/queues/{dead}/messages", {"body": 1})
    chromium.open(f"{server.url}/dashboard/dead-letters")
    chromium.value(f"{REASON}.value = 'typed'")

    server.v4("POST", f"/queues/{dead}/messages", {"body": 2})
    chromium.until("document.querySelectorAll('#d-dead tbody tr').length === 2")

    assert chromium.value(f"{REASON}.value") == "typed"
    assert chromium.complaints == []


def test_a_person_sends_a_message_by_the_form(server: Server, chromium: Chromium) -> None:
    server.create_queue("letters")
    chromium.open(f"{server.url}/dashboard/queues/letters")

    chromium.value("document.querySelector('textarea').value = '{\"a\": \"<b>\"}'")
    chromium.value("document.querySelector('textarea').form.requestSubmit()")

    assert chromium.until("document.querySelector('.said')?.innerText") == "The message is in the queue."
    assert chromium.value("document.querySelector('td .body').innerText") == '{"a": "<b>"}'


def test_a_page_says_when_the_server_does_not_answer(tmp_path: Path, chromium: Chromium) -> None:
    with Server(tmp_path / "data", environ=LOCAL) as dying:
        chromium.open(f"{dying.url}/dashboard")
        was_hidden = chromium.value("document.querySelector('#stale').hidden")
        dying.kill()

    assert was_hidden
    assert chromium.until("!document.querySelector('#stale').hidden")
