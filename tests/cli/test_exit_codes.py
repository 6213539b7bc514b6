"""0 done, 1 failed, 2 used wrongly, 3 key refused, 4 server unreachable; and where URL and key come from."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import pytest

from tests.cli.commands import run
from tests.support import KEY, Server

USED_WRONGLY = [
    ("", "COMMAND"),
    ("queues", "COMMAND"),
    ("queues info", "QUEUE"),
    ("queues info a b", "unrecognized arguments: b"),
    ("queues list --url here", "expected one such as http://"),
    ("queues create a --delay-seconds 86401", "expected a whole number from 0 to 86400"),
    ("queues create a --delay-seconds 1.5", "expected a whole number"),
    ("queues create a --retention-seconds 59", "expected a whole number from 60 to 1209600"),
    ("queues send a", "BODY"),
    ("queues send a {", "--text sends it as it is"),
    ("queues send a ? --bytes", "not base64"),
    ("queues send a 1 --text --bytes", "not allowed with"),
    ("queues send a 1 --delay -1", "expected a whole number from 0 to 86400"),
    ("queues peek a --limit 0", "expected a whole number from 1 to 1000"),
    ("queues peek a --limit 1001", "expected a whole number from 1 to 1000"),
    ("queues pull a --batch-size 101", "expected a whole number from 1 to 100"),
    ("queues pull a --visibility-timeout-ms 43200001", "expected a whole number from 0 to 43200000"),
    ("queues ack a", "LEASE"),
    ("queues ack a lease --delay 3", "--delay goes with --retry"),
    ("queues purge a", "--force"),
    ("queues purge a --forc", "unrecognized arguments"),
    ("keys create --role owner", "admin"),
    ("keys list --data x --token y", "leave out --url and --token"),
    ("keys revoke", "ID"),
]


@pytest.mark.parametrize(("command", "sentence"), USED_WRONGLY)
def test_wrong_use_exits_with_2_and_says_what_is_allowed(command, sentence):
    done = run(*command.split())

    assert done.code == 2
    assert sentence in done.error
    assert done.out == ""


FAILED = [
    ("queues info no-such-queue", "queue 'no-such-queue' does not exist"),
    (f"queues info {'0' * 32}", "11000"),
    ("queues delete no-such-queue", "does not exist"),
    ("queues send no-such-queue 1", "does not exist"),
    ("queues create Capital", "11003"),
    ("queues create event-queue", "already taken"),
    ("queues pull event-queue", "http_pull"),
    ("keys revoke no-such-key", "'no-such-key' does not exist"),
]


@pytest.mark.parametrize(("command", "sentence"), FAILED)
def test_what_the_server_refuses_exits_with_1_and_its_sentence(server, command, sentence):
    done = run(*command.split(), server=server)

    assert done.code == 1
    assert sentence in done.error
    assert done.out == ""


@pytest.mark.parametrize("token", ["sk_live_wrong", "two\nlines", " ", "\udcff"])
def test_a_key_that_is_refused_exits_with_3(server, token):
    assert run("queues", "list", server=server, environ={"MILLRACE_TOKEN": token}).code == 3


def test_without_a_key_the_answer_says_how_to_give_one(server):
    done = run("queues", "list", "--url", server.url)

    assert done.code == 3
    assert "MILLRACE_TOKEN" in done.error


def test_a_key_that_may_not_do_it_exits_with_3(server):
    producer = run("keys", "create", "--role", "producer", server=server).out.strip()

    done = run("queues", "create", "not-for-producers", "--token", producer, server=server)

    assert done.code == 3
    assert "queues:manage" in done.error


def test_a_server_that_is_not_there_exits_with_4_and_its_url():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    done = run("queues", "list", "--url", url, "--token", KEY)

    assert done.code == 4
    assert url in done.error


def test_a_connection_that_breaks_before_the_answer_exits_with_4():
    with _closing_listener() as url:
        assert run("queues", "list", "--url", url, "--token", KEY).code == 4


@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b"{}", b"[1]", b""])
def test_another_web_server_exits_with_1_and_doubts_the_url(page):
    with _web_server(page) as url:
        done = run("queues", "list", "--url", url, "--token", KEY)

    assert done.code == 1
    assert "is the URL right" in done.error


def test_a_url_of_the_environment_that_is_none_exits_with_1():
    done = run("queues", "list", environ={"MILLRACE_URL": "127.0.0.1:8787"})

    assert done.code == 1
    assert "expected one such as http://" in done.error


def test_a_locked_store_exits_with_1_and_a_sentence(tmp_path):
    run("keys", "create", "--data", tmp_path)
    connection = apsw.Connection(str(tmp_path / "millrace.db"))
    connection.execute("begin immediate")

    done = run("keys", "create", "--data", tmp_path)

    connection.close()
    assert done.code == 1
    assert "cannot be used" in done.error


WHERE_FROM = [
    ({"MILLRACE_URL": "{url}", "MILLRACE_TOKEN": KEY}, []),
    ({"CTX_URL": "{url}", "CHITTY_ID_TOKEN": KEY}, []),
    ({"MILLRACE_URL": "{url}", "CTX_URL": "http://127.0.0.1:1", "MILLRACE_TOKEN": KEY, "CHITTY_ID_TOKEN": "no"}, []),
    ({"MILLRACE_URL": "", "CTX_URL": "{url}", "MILLRACE_TOKEN": "", "CHITTY_ID_TOKEN": KEY}, []),
    ({"MILLRACE_URL": "http://127.0.0.1:1", "MILLRACE_TOKEN": "no"}, ["--url", "{url}", "--token", KEY]),
    ({"MILLRACE_URL": "{url}/client/v4/", "MILLRACE_TOKEN": f"{KEY}\n"}, []),
    ({"MILLRACE_URL": "{url}", "MILLRACE_TOKEN": KEY, "HTTP_PROXY": "http://127.0.0.1:1"}, []),
]


@pytest.mark.parametrize(("environ", "flags"), WHERE_FROM)
def test_url_and_key_come_from_flags_then_millrace_then_ctx_names(server, environ, flags):
    def filled(text: str) -> str:
        return text.replace("{url}", server.url)

    done = run("queues", "list", *map(filled, flags), environ={name: filled(value) for name, value in environ.items()})

    assert done.code == 0, done


def test_the_account_is_the_keys_own(stopped: Server):
    secret = run("keys", "create", "--data", stopped.data, "--account", "other").out.strip()

    with stopped:
        run("queues", "create", "mine", "--url", stopped.url, "--token", secret)

        listed = stopped.v4("GET", "/queues?name=mine", account="other", key=secret).result
    assert [queue["queue_name"] for queue in listed] == ["mine"]


@contextmanager
def _closing_listener() -> Iterator[str]:
    """Accept one connection after another and close it without a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_all() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=close_all, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def _web_server(page: bytes) -> Iterator[str]:
    """Answer every GET with one page."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()
        thread.join()
