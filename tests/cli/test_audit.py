"""`millrace audit` and `millrace secret`, over HTTP and on a data directory."""

from pathlib import Path

import apsw
import pytest

from tests.cli.commands import run
from tests.http.wire import a_name, eventually
from tests.support import Server


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory without a server, with three entries by commands."""
    folder = tmp_path_factory.mktemp("data")
    key = run("keys", "create", "--data", folder, "--json").json
    run("secret", "put", "NAME", "--data", folder, stdin=b"hunter2\n")
    run("keys", "revoke", key["id"], "--data", folder)
    return folder


def test_commands_on_a_directory_are_noted_and_read_there(directory: Path):
    entries = run("audit", "--data", directory, "--json").json

    assert [(entry["act"], entry["actor"]) for entry in entries] == [
        ("key.revoked", "command"),
        ("secret.put", "command"),
        ("key.created", "command"),
    ]
    assert all(entry["hash"] for entry in entries)
    assert run("audit", "--data", directory, "--account", "other").out == "no entries\n"


def test_entries_are_chosen_by_flags(directory: Path):
    one = run("audit", "--data", directory, "--act", "secret.put", "--json").json
    latest = run("audit", "--data", directory, "--limit", "1", "--json").json

    assert [entry["object"] for entry in one] == ["secret NAME"]
    assert [entry["act"] for entry in latest] == ["key.revoked"]
    assert ["command", "secret.put", "secret", "NAME"] in [
        line.split()[2:] for line in run("audit", "--data", directory).out.splitlines()
    ]


def test_a_whole_trail_and_a_broken_one_are_told_by_sentence_and_exit_code(directory: Path, tmp_path: Path):
    whole = run("audit", "verify", "--data", directory)
    assert whole.code == 0
    assert whole.out.startswith("whole: 3 entries; the last good entry is 3, its hash ")

    copy = tmp_path / "millrace.db"
    copy.write_bytes((directory / "millrace.db").read_bytes())
    connection = apsw.Connection(str(copy))
    connection.execute("drop trigger audit_stays; delete from audit where number = 2")
    connection.close()
    broken = run("audit", "verify", "--data", tmp_path)

    assert broken.code == 1
    assert broken.out.startswith("broken at entry 2: entry 2 is missing; the last good entry is 1, ")


def test_the_trail_of_a_server_is_read_over_http_and_beside_it(server: Server):
    name = f"{a_name('vault')}-north"
    run("queues", "create", name, server=server)

    over_http = run("audit", "--context", "north", "--json", server=server).json
    beside = run("audit", "--context", "north", "--json", "--data", server.data).json

    assert [entry["object"] for entry in over_http] == [f"queue {name}"]
    assert [entry["number"] for entry in beside] == [entry["number"] for entry in over_http]
    assert eventually(lambda: run("audit", "verify", "--json", server=server).json["unchained"] == 0)
    assert run("audit", "--data", server.data, "verify", "--json").json["ok"] is True


def test_a_directory_without_a_database_is_told(tmp_path: Path):
    done = run("audit", "verify", "--data", tmp_path)

    assert done.code == 1
    assert "there is no millrace.db" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("audit",), ("audit", "verify"), ("secret", "list")])
def test_a_directory_and_a_server_are_not_given_together(tmp_path: Path, command: tuple[str, ...]):
    assert run(*command, "--data", tmp_path, "--token", "x").code == 2


def test_a_secret_goes_in_over_http_and_shows_its_name_only(server: Server):
    put = run("secret", "put", "OVER_HTTP", server=server, stdin=b"hunter2\n")

    assert (put.code, "hunter2" in put.out) == (0, False)
    assert "OVER_HTTP" in run("secret", "list", server=server).out
    assert run("secret", "delete", "OVER_HTTP", server=server).out == "deleted secret OVER_HTTP\n"
    assert run("secret", "list", server=server).out == "no secrets\n"
    assert run("secret", "delete", "OVER_HTTP", server=server).code == 1


def test_a_secret_that_is_no_text_or_empty_is_refused(tmp_path: Path):
    assert run("secret", "put", "NAME", "--data", tmp_path, stdin=b"\xff").code == 1
    assert run("secret", "put", "NAME", "--data", tmp_path, stdin=b"\n").code == 1
    assert run("secret", "list", "--data", tmp_path).out == "no secrets\n"
