"""What happens to messages under the handlers of a running server."""

import time
from collections.abc import Iterator

import pytest

from tests.acceptance.programs import Note, ProgramServer, wait_until

WAIT_SECONDS = 1  # max_batch_timeout of the windows in program.toml
AT_ONCE_SECONDS = 0.7
QUIET_SECONDS = 1.5
NOTHING = {"do": "nothing"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgramServer]:
    with ProgramServer(tmp_path_factory.mktemp("program")) as server:
        yield server


def test_a_single_message_waits_for_company(program: ProgramServer) -> None:
    sent_at = program.send("window-1", NOTHING)

    (batch,) = program.wait_for_notes("window-1", 1)

    assert len(batch.ids) == 1
    _check_after(batch, sent_at, WAIT_SECONDS)


def test_messages_within_the_wait_are_one_batch(program: ProgramServer) -> None:
    sent_at = program.send("window-2", NOTHING)
    for count in (2, 1):
        time.sleep(WAIT_SECONDS / 4)
        program.send("window-2", *[NOTHING] * count)

    (batch,) = program.wait_for_notes("window-2", 1)

    assert len(batch.ids) == 4
    _check_after(batch, sent_at, WAIT_SECONDS)


def test_a_full_batch_goes_at_once(program: ProgramServer) -> None:
    sent_at = program.send("window-3", *[NOTHING] * 5)

    (batch,) = program.wait_for_notes("window-3", 1)

    assert len(batch.ids) == 5
    _check_after(batch, sent_at, 0)


def test_what_a_full_batch_leaves_waits_for_company(program: ProgramServer) -> None:
    sent_at = program.send("window-4", *[NOTHING] * 7)

    first, second = program.wait_for_notes("window-4", 2)

    assert [len(first.ids), len(second.ids)] == [5, 2]
    _check_after(first, sent_at, 0)
    _check_after(second, sent_at, WAIT_SECONDS)


def test_a_second_batch_that_fills_up_goes_at_once(program: ProgramServer) -> None:
    began_at = program.send("window-5", *[NOTHING] * 6)
    time.sleep(WAIT_SECONDS / 2)
    filled_at = program.send("window-5", *[NOTHING] * 5)

    batches = program.wait_for_notes("window-5", 3)

    assert [len(batch.ids) for batch in batches] == [5, 5, 1]
    _check_after(batches[0], began_at, 0)
    _check_after(batches[1], filled_at, 0)
    _check_after(batches[2], filled_at, WAIT_SECONDS)


def test_a_handler_that_raises_is_called_once_and_as_often_again_as_it_may(program: ProgramServer) -> None:
    program.send("failing", {"do": "raise"})

    wait_until(lambda: len(program.peek("failed")) == 1, 10, "the message does not reach the dead-letter queue")

    notes = program.notes("failing")
    assert [note.attempts for note in notes] == [[1], [2], [3]]
    (buried,) = program.peek("failed")
    assert {*notes[0].ids, *notes[2].ids} == {buried["id"]}
    assert program.backlog("failing") == 0


def test_an_ack_counts_although_the_handler_raises_later(program: ProgramServer) -> None:
    program.send("mixed", {"do": "ack", "name": "acked"}, {"do": "raise", "name": "raised"})

    wait_until(lambda: len(program.peek("mixed-failed")) == 1, 20, "the message does not reach the dead-letter queue")

    names = [note.names for note in program.notes("mixed")]
    assert names == [["acked", "raised"], ["raised"], ["raised"]]


def test_a_retry_comes_after_its_delay(program: ProgramServer) -> None:
    program.send("later", {"do": "retry", "delay_seconds": 1})

    first, second = program.wait_for_notes("later", 2)

    assert second.attempts == [2]
    _check_after(second, first.at, 1)
    program.wait_until_empty("later")


def test_a_concurrency_of_one_is_one_batch_at_a_time(program: ProgramServer) -> None:
    for _ in range(3):
        program.send("single", *[NOTHING] * 17)

    program.wait_until_empty("single")

    began, ended = program.notes("single"), program.notes("single", "ended")
    assert sum(len(note.ids) for note in began) == 51
    assert len({message_id for note in began for message_id in note.ids}) == 51
    order = sorted([*began, *ended], key=lambda note: note.at)
    assert [note.what for note in order] == ["began", "ended"] * len(began)


def test_a_plain_function_is_a_handler_too(program: ProgramServer) -> None:
    program.send("sync", *[NOTHING] * 3)

    program.wait_for_notes("sync", 1, "ended")

    program.wait_until_empty("sync")
    assert [note.attempts for note in program.notes("sync")] == [[1, 1, 1]]


def test_two_handlers_of_one_program_get_their_own_messages(program: ProgramServer) -> None:
    program.send("plain", {"do": "nothing", "name": "for plain"})
    program.send("other", {"do": "nothing", "name": "for other"})

    assert program.wait_for_notes("plain", 1)[0].names == ["for plain"]
    assert program.wait_for_notes("other", 1)[0].names == ["for other"]


@pytest.mark.parametrize("queue", ["leaving", "sync-leaving"])
def test_a_handler_that_exits_fails_alone_and_the_server_goes_on(program: ProgramServer, queue: str) -> None:
    program.send(queue, {"do": "exit"})

    notes = program.wait_for_notes(queue, 2)

    assert [note.attempts for note in notes] == [[1], [2]]
    program.wait_until_empty(queue)
    assert program.call("GET", "/health").status == 200


def test_a_paused_queue_is_dispatched_when_it_resumes(program: ProgramServer) -> None:
    path = f"/queues/{program.queue_id('paused')}"
    assert program.v4("PATCH", path, {"settings": {"delivery_paused": True}}).status == 200
    program.send("paused", NOTHING)
    time.sleep(QUIET_SECONDS)
    assert program.notes("paused") == []
    assert program.backlog("paused") == 1

    resumed_at = time.monotonic()
    assert program.v4("PATCH", path, {"settings": {"delivery_paused": False}}).status == 200

    (batch,) = program.wait_for_notes("paused", 1)
    _check_after(batch, resumed_at, 0)
    assert batch.attempts == [1]


def test_a_queue_that_is_deleted_and_made_again_has_its_handler_again(program: ProgramServer) -> None:
    program.send("remade", {"do": "nothing", "name": "former"})
    program.wait_for_notes("remade", 1)
    assert program.v4("DELETE", f"/queues/{program.queue_id('remade')}").status == 200

    consumer = {"type": "worker", "script_name": "program", "settings": {"max_wait_time_ms": 0}}
    program.create_queue("remade", consumer=consumer)
    program.send("remade", {"do": "nothing", "name": "latter"})

    assert program.wait_for_notes("remade", 2)[1].names == ["latter"]
    program.wait_until_empty("remade")


def _check_after(batch: Note, since: float, seconds: float) -> None:
    """See that the batch began so many seconds after that, neither much sooner nor much later."""
    # `since` was taken when the answer was there, so a handler may even have begun a little before it.
    assert seconds - AT_ONCE_SECONDS / 3 < batch.at - since < seconds + AT_ONCE_SECONDS
