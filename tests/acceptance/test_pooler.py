"""Behind pgbouncer in transaction mode, which passes neither LISTEN nor a session's lock: all works, some of it slower."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from scripts.bouncer import Bouncer
from scripts.cluster import clusters_folder

from tests.acceptance.crowd import Crowd, ask, ended, make_due, most_at_once, pull, queue_id_of, send, wait_for
from tests.clusters import fresh_database, shared_cluster
from tests.support import KEY, Server

UNTOLD_SECONDS = 1.0  # between looks where nobody can be told
MARGIN_SECONDS = 1.0
LEADER_TTL_SECONDS = 5.0


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """Servers whose way to the database leads through the pooler; `url` is the direct one."""
    with ExitStack() as stack:
        folder = stack.enter_context(clusters_folder())
        bouncer = stack.enter_context(Bouncer.make(folder / "bouncer", shared_cluster()))
        direct_url = stack.enter_context(fresh_database())
        crowd = Crowd(tmp_path_factory.mktemp("pooled"), direct_url)
        crowd.store = bouncer.url(direct_url.partition("?")[0].rpartition("/")[2])
        yield stack.enter_context(closing(crowd))


@pytest.fixture(scope="module")
def pair(crowd: Crowd) -> list[Server]:
    return [crowd.server(key=KEY), crowd.server(key=KEY)]


def seconds_until_pulled(sender: Server, puller: Server, queue_id: str) -> float:
    """Send to one server what a pull at the other waits for, and give how long it took."""
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pull, puller, queue_id, wait_seconds=8)
        time.sleep(0.3)
        began = time.monotonic()
        send(sender, queue_id, "here")
        assert [message["body"] for message in waiting.result()] == ["here"]
        return time.monotonic() - began


def test_messages_are_sent_pulled_settled_and_leased_again(pair: list[Server]) -> None:
    first, second = pair
    queue_id = first.create_queue("pooled", consumer={"type": "http_pull", "settings": {"visibility_timeout_ms": 500}})
    send(first, queue_id, *[f"m{number}" for number in range(5)])

    pulled = pull(second, queue_id)
    acks = [{"lease_id": message["lease_id"]} for message in pulled[:3]]
    settled = first.v4("POST", f"/queues/{queue_id}/messages/ack", {"acks": acks}).result
    again = wait_for(lambda: pull(first, queue_id))

    assert (len(pulled), settled["ackCount"]) == (5, 3)
    assert {message["id"] for message in again} == {message["id"] for message in pulled[3:]}


def test_a_pull_that_waits_at_the_other_server_looks_again_within_a_second(pair: list[Server]) -> None:
    queue_id = pair[0].create_queue("looked-at", consumer={"type": "http_pull"})

    assert seconds_until_pulled(*pair, queue_id) < UNTOLD_SECONDS + MARGIN_SECONDS


def test_a_limit_of_concurrency_holds(crowd: Crowd, pair: list[Server]) -> None:
    bodies = [f"m{number}" for number in range(20)]

    send(pair[0], queue_id_of(pair[0], "pairs"), *bodies)
    wait_for(lambda: len(ended(crowd, "pairs")) == len(bodies))

    assert most_at_once(crowd.calls("pairs")) == 2


def test_a_server_with_a_direct_url_is_woken_and_leads_by_a_lock_of_its_connection(
    crowd: Crowd, pair: list[Server]
) -> None:
    queue_id = pair[0].create_queue("told", consumer={"type": "http_pull"})
    direct = crowd.server(app=False, key=KEY, DIRECT_DATABASE_URL=crowd.url)

    seconds = [seconds_until_pulled(pair[0], direct, queue_id) for _ in range(3)]

    assert min(seconds) < UNTOLD_SECONDS / 4
    assert direct.stop() == 0


def test_the_leader_is_who_holds_the_row_and_after_a_kill_another_one_once_it_has_ended(
    crowd: Crowd, pair: list[Server]
) -> None:
    [(owner, token)] = wait_for(lambda: ask(crowd.url, "select owner, token from locks where key = 'leader'"))
    crowd.server(key=KEY)
    for server in pair:
        server.kill()
    killed = time.monotonic()

    wait_for(lambda: ask(crowd.url, f"select 1 from locks where key = 'leader' and token > {token}"), 12)
    taken_over = time.monotonic()
    make_due(crowd.url, minutes="*")
    wait_for(lambda: ended(crowd, "tick"))

    assert owner != "chosen"
    assert taken_over - killed < LEADER_TTL_SECONDS + 1.5 + MARGIN_SECONDS
