import warnings

import pytest

from millrace.cfqueue import CloudflareQueue
from tests.http.wire import PULL, a_name
from tests.support import KEY, Server


def test_the_old_client_pulls_acknowledges_and_retries(jobs_server: Server) -> None:
    """S2-38, X15."""
    queue_id = jobs_server.create_queue(a_name(), consumer=PULL)
    for number in (1, 2):
        jobs_server.v4("POST", f"/queues/{queue_id}/messages", {"body": {"a": number}})
    with pytest.warns(DeprecationWarning, match="EdgeJobClient"):
        queue = CloudflareQueue("local", queue_id, KEY, f"{jobs_server.url}/client/v4")

    with queue:
        first, second = queue.pull(batch_size=10, visibility_timeout_ms=60_000)
        settled = queue.ack([first.lease_id], [second.lease_id])
        again = queue.pull()

    assert (first.body, second.body) == ({"a": 1}, {"a": 2})
    assert (settled.ack_count, settled.retry_count) == (1, 1)
    assert [delivery.body for delivery in again] == [{"a": 2}]


def test_the_old_client_says_that_it_is_deprecated_where_it_is_used() -> None:
    """S2-38."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        CloudflareQueue("account", "0" * 32, "token")

    assert [(warning.category, warning.filename) for warning in told] == [(DeprecationWarning, __file__)]
