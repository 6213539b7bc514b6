"""The real server of the test kit: on a free port, on data that outlives a kill, and gone in the end."""

from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from millrace.testing import ServerOnFreePort

APP = """
from millrace import App

def greet(batch):
    for message in batch.messages:
        print("hello,", message.body, flush=True)

app = App(handlers={"greetings": greet})
"""


def test_messages_survive_a_kill_and_the_address_stays_through_a_restart():
    with ServerOnFreePort() as server:
        client, url = server.client(), server.url
        client.create_queue("orders")
        client.send("orders", {"id": 7})

        server.kill()
        server.restart()

        assert server.url == url
        assert client.metrics("orders").count == 1
        assert server.stop() == 0


def test_nothing_is_left_when_it_is_left_and_a_restart_needs_no_stop():
    with ServerOnFreePort() as server:
        folder, first = Path(server._data), server._process
        server.restart()
        second = server._process

    assert not folder.exists()
    assert (first.poll(), second.poll()) == (0, -9)


def test_an_app_runs_and_a_data_directory_of_the_tests_own_is_kept(tmp_path):
    (tmp_path / "greeting.py").write_text(APP)
    with ServerOnFreePort(f"{tmp_path}/greeting.py:app", data=tmp_path / "data") as server:
        server.client().send_batch("greetings", [{"body": n} for n in range(10)])

        server.wait_for_output("hello, 9")

    assert (tmp_path / "data" / "millrace.db").exists()


def test_a_server_that_does_not_start_raises_what_it_wrote():
    with pytest.raises(ConfigurationError, match=r"did not start\. It wrote: (?s:.)*no_such_file\.py"):
        ServerOnFreePort("no_such_file.py:app").__enter__()


def test_a_server_that_is_not_entered_says_how_to():
    server = ServerOnFreePort()

    with pytest.raises(ConfigurationError, match=r"with ServerOnFreePort\(…\)"):
        server.stop()
    with pytest.raises(ConfigurationError, match="is not started"):
        server.client()
