"""A name stands for the queue that has it now, also when somebody else renames queues."""

import pytest

from millrace import Client
from millrace.errors import InvalidInput, QueueNotFound
from tests.support import Server


def two_clients(server: Server) -> tuple[Client, Client]:
    return Client(server.url, server.key), Client(server.url, server.key)


def test_what_is_deleted_and_purged_is_the_queue_that_has_the_name_now(server: Server) -> None:
    ours, theirs = two_clients(server)
    ours.create_queue("passed-on")
    ours.send("passed-on", "precious")
    theirs.change_queue("passed-on", name="precious")
    theirs.create_queue("passed-on")

    ours.purge("passed-on")
    ours.delete_queue("passed-on")

    assert [message.body for message in ours.peek("precious")] == ["precious"]
    with pytest.raises(QueueNotFound):
        theirs.queue("passed-on")


def test_a_send_after_ones_own_renaming_goes_to_the_new_holder_of_the_name(server: Server) -> None:
    client, _ = two_clients(server)
    old = client.create_queue("held")["queue_id"]
    client.send("held", 1)
    client.change_queue(old, name="held-before")
    client.create_queue("held")

    client.send("held", 2)

    assert [message.body for message in client.peek("held")] == [2]


def test_a_queue_that_is_not_there_is_an_error_with_status_code_and_correlation_id(server: Server) -> None:
    client, _ = two_clients(server)

    with pytest.raises(QueueNotFound) as refused:
        client.send("nowhere", 1)

    assert (refused.value.status, refused.value.code) == (404, 11000)
    assert len(refused.value.correlation_id) == 36


def test_a_misspelt_setting_is_refused_before_anything_is_made(server: Server) -> None:
    client, _ = two_clients(server)

    with pytest.raises(InvalidInput, match="'delivery_dealy' is no setting; expected delivery_delay"):
        client.create_queue("misspelt", delivery_dealy=5)

    assert "misspelt" not in [queue["queue_name"] for queue in client.queues()]
