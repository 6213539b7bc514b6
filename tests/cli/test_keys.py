"""`millrace keys`, over HTTP and in a data directory, alone and beside a running server."""

import time

import pytest

from tests.cli.commands import run
from tests.support import Server

FOLLOWS_SECONDS = 1.0


@pytest.fixture(params=["http", "directory"])
def place(request, server) -> tuple[list[str], Server]:
    """Where keys are kept: behind HTTP, or the data directory of the same server."""
    return (["--data", str(server.data)] if request.param == "directory" else []), server


def test_a_created_key_is_printed_once_and_alone(place):
    flags, server = place

    done = run("keys", "create", *flags, server=server)

    assert done.out.startswith("sk_live_")
    assert done.out == done.out.strip() + "\n"
    assert "admin key" in done.error
    _wait_for_status(server, done.out.strip(), 200)


def test_a_created_key_as_json_says_what_it_may_do(place):
    flags, server = place
    limits = ["--role", "producer", "--queue", "orders", "--queue", "mails", "--test"]

    key = run("keys", "create", *limits, "--json", *flags, server=server).json

    assert {name: key[name] for name in ("account", "role", "queues", "test")} == {
        "account": "local",
        "role": "producer",
        "queues": ["orders", "mails"],
        "test": True,
    }
    assert key["secret"].startswith("sk_test_")
    assert key["id"] in [listed["id"] for listed in run("keys", "list", "--json", *flags, server=server).json]


def test_no_list_shows_a_secret(place):
    flags, server = place
    secret = run("keys", "create", *flags, server=server).out.strip()

    for more in ([], ["--json"]):
        text = run("keys", "list", *more, *flags, server=server).out

        assert secret[:12] in text
        assert secret[12:] not in text
        assert "secret" not in text


def test_a_secret_of_ones_own_is_read_from_standard_input_and_not_printed(place):
    flags, server = place
    secret = f"my-own-{'directory' if flags else 'http'}"

    done = run("keys", "create", "--secret-stdin", *flags, stdin=f"{secret}\r\n".encode(), server=server)

    assert done.code == 0
    assert secret not in done.out + done.error
    _wait_for_status(server, secret, 200)


@pytest.mark.parametrize("typed", [b"", b"\n", b" spaces around ", b"two\nlines\n"])
def test_a_secret_that_no_header_can_carry_is_refused(place, typed):
    flags, server = place

    assert run("keys", "create", "--secret-stdin", *flags, stdin=typed, server=server).code == 1


def test_a_secret_that_is_taken_is_refused(place):
    flags, server = place

    done = run("keys", "create", "--secret-stdin", *flags, stdin=server.key.encode(), server=server)

    assert done.code == 1
    assert "another key has this secret" in done.error


def test_a_running_server_refuses_a_revoked_key_within_a_second(place):
    flags, server = place
    key = run("keys", "create", "--json", *flags, server=server).json
    _wait_for_status(server, key["secret"], 200)

    done = run("keys", "revoke", key["id"], "--json", *flags, server=server)

    assert done.json == {"revoked": key["id"]}
    _wait_for_status(server, key["secret"], 401)


def test_an_unknown_key_cannot_be_revoked(place):
    flags, server = place

    done = run("keys", "revoke", "f" * 32, *flags, server=server)

    assert done.code == 1
    assert "does not exist" in done.error


def test_over_http_the_account_is_the_keys_own(server):
    assert run("keys", "create", "--account", "local", server=server).code == 0
    for command in (["create"], ["list"], ["revoke", "f" * 32]):
        done = run("keys", *command, "--account", "other", server=server)

        assert done.code == 3
        assert "--data" in done.error


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_a_key_is_made_before_the_first_start(tmp_path, exists):
    folder = tmp_path / "deeper" / "data"
    if exists:
        folder.mkdir(parents=True)

    secret = run("keys", "create", "--data", folder).out.strip()

    with Server(folder, key=secret, environ={"ADMIN_TOKEN": ""}) as server:
        assert server.call("GET", "/client/v4/accounts").status == 200
        assert "shown this once" not in server.text


def test_the_secret_is_nowhere_in_the_data_directory(tmp_path):
    secret = run("keys", "create", "--data", tmp_path).out.strip().encode()

    assert [file for file in tmp_path.iterdir() if secret[12:] in file.read_bytes()] == []


def test_accounts_in_a_directory_come_from_the_flag_then_the_environment(tmp_path):
    for flags, environ in (([], {}), ([], {"ACCOUNT_ID": "named"}), (["--account", "flag"], {"ACCOUNT_ID": "named"})):
        run("keys", "create", "--data", tmp_path, *flags, environ=environ)

    everybodys = run("keys", "list", "--data", tmp_path, "--json").json
    ones = run("keys", "list", "--data", tmp_path, "--account", "named", "--json").json

    assert sorted(key["account"] for key in everybodys) == ["flag", "local", "named"]
    assert [key["account"] for key in ones] == ["named"]


def test_in_a_directory_a_key_is_revoked_in_whatever_account_unless_one_is_named(tmp_path):
    key = run("keys", "create", "--data", tmp_path, "--account", "other", "--json").json

    assert run("keys", "revoke", key["id"], "--data", tmp_path, "--account", "local").code == 1
    assert run("keys", "revoke", key["id"], "--data", tmp_path).code == 0
    assert run("keys", "list", "--data", tmp_path).out == "no keys\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [(["--account", "a/b"], "account"), (["--queue", "Capital"], "Capital"), (["--account", "x" * 33], "account")],
)
def test_a_key_with_a_wrong_name_in_it_is_not_made(tmp_path, flags, sentence):
    done = run("keys", "create", "--data", tmp_path, *flags)

    assert done.code == 1
    assert sentence in done.error
    assert run("keys", "list", "--data", tmp_path).out == "no keys\n"


def test_a_directory_whose_database_is_lost_is_not_begun_anew(tmp_path):
    run("keys", "create", "--data", tmp_path)
    for file in tmp_path.glob("millrace.db*"):
        file.unlink()

    done = run("keys", "create", "--data", tmp_path)

    assert done.code == 1
    assert "missing" in done.error


def _wait_for_status(server: Server, secret: str, status: int) -> None:
    """Wait until the server answers a key so; it has a second to notice."""
    until = time.monotonic() + FOLLOWS_SECONDS
    while server.call("GET", "/client/v4/accounts", key=secret).status != status:
        assert time.monotonic() < until, f"the server does not answer {status}"
        time.sleep(0.02)
