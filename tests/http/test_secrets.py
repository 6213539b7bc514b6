"""Secrets over HTTP, what handlers find of them, and `.env`."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.http.wire import assert_refusal, eventually, peek, push, text_of
from tests.support import KEY, Server

MASTER_KEY = "00" * 32
WRANGLER = """
name = "program"

[vars]
API_KEY = "plain"
REGION = "north"

[[queues.consumers]]
queue = "asked"
handler = "program.py:answer"
max_batch_timeout = 0

[[queues.producers]]
binding = "ANSWERS"
queue = "answers"
"""
PROGRAM = """
import os


async def answer(batch, env):
    names = ("FROM_FILE", "FROM_PROCESS", "MASTER_KEY", "ADMIN_TOKEN")
    await env.ANSWERS.send([env.API_KEY, env.REGION, *(os.environ.get(name) for name in names)])
"""


def put(server: Server, name: str, value: object = "hunter2", **more):
    return server.call("PUT", f"/api/secrets/{name}", {"value": value}, **more)


def names(server: Server) -> list[str]:
    return [secret["name"] for secret in server.call("GET", "/api/secrets").json["secrets"]]


def test_a_secret_is_stored_listed_and_deleted_and_never_shown(server: Server):
    stored = put(server, "JWT_SECRET")
    assert set(stored.json) == {"name", "created_at", "updated_at"}
    assert "hunter2" not in server.call("GET", "/api/secrets").body.decode()
    assert names(server) == ["JWT_SECRET"]

    assert server.call("DELETE", "/api/secrets/JWT_SECRET").json == {"deleted": "JWT_SECRET"}

    assert names(server) == []
    assert_refusal(server.call("DELETE", "/api/secrets/JWT_SECRET"), 404, "NOT_FOUND")


@pytest.mark.parametrize(("name", "value"), [("with-dash", "x"), ("X" * 65, "x"), ("NAME", ""), ("NAME", 5)])
def test_a_secret_that_cannot_be_is_refused_without_being_repeated(server: Server, name: str, value: object):
    reply = put(server, name, value)

    assert_refusal(reply, 400, "VALIDATION_ERROR")
    assert names(server) == []


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PUT", "/NAME"), ("DELETE", "/NAME")])
def test_only_an_unlimited_admin_reaches_secrets(server: Server, method: str, path: str):
    given = [{"role": role} for role in ("operator", "producer", "consumer", "agent")]
    for key in (*given, {"role": "admin", "queues": ["one"]}):
        secret = server.call("POST", "/api/keys", key).json["secret"]
        reply = server.call(method, f"/api/secrets{path}", {"value": "x"}, key=secret)
        assert_refusal(reply, 403, "FORBIDDEN")


def test_a_value_is_in_no_log_line_and_in_no_file(tmp_path: Path):
    with Server(tmp_path / "data", "--config", "") as server:
        put(server, "NAME", "hunter2-hunter2")
        put(server, "bad-name", "hunter2-hunter2")
        put(server, "NAME", ["hunter2-hunter2"])
        server.stop()

    assert "hunter2" not in server.text
    assert [file for file in (tmp_path / "data").iterdir() if b"hunter2" in file.read_bytes()] == []


def test_secrets_serve_as_settings_and_in_env_above_plain_variables_and_dot_env_below_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "wrangler.toml").write_text(WRANGLER)
    (tmp_path / "program.py").write_text(PROGRAM)
    dot_env = f"MASTER_KEY={MASTER_KEY}\nADMIN_TOKEN={KEY}\nFROM_FILE='a $HOME'\nFROM_PROCESS=file\n"
    (tmp_path / ".env").write_text(dot_env)
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY", "JWT_SECRET"):
        assert run("secret", "put", name, "--data", tmp_path / "data", stdin=b"hunter2\n").code == 0

    with Server(tmp_path / "data", environ={"FROM_PROCESS": "process"}, key=None) as server:
        server.key = KEY
        push(server, server.v4("GET", "/queues?name=asked").result[0]["queue_id"])
        answers = server.v4("GET", "/queues?name=answers").result[0]["queue_id"]
        [answer] = eventually(lambda: peek(server, answers))
        stats = server.call("GET", "/jobs/stats", key="hunter2")

    assert json.loads(text_of(answer)) == ["hunter2", "north", "a $HOME", "process", None, None]
    assert stats.status == 200, stats.body
    assert not (tmp_path / "data" / "master.key").exists()


def test_a_start_with_another_master_key_is_refused_with_a_sentence(tmp_path: Path):
    assert run("secret", "put", "API_KEY", "--data", tmp_path, stdin=b"x", environ={"MASTER_KEY": MASTER_KEY}).code == 0

    other = run("serve", "--port", "0", "--config", "", "--data", tmp_path, environ={"MASTER_KEY": "11" * 32})
    wrong = run("serve", "--port", "0", "--config", "", "--data", tmp_path, environ={"MASTER_KEY": "hunter2"})

    assert other.code == 1
    assert "'API_KEY' of account 'local' is sealed with another master key than MASTER_KEY holds" in other.error
    assert wrong.code == 1
    assert "MASTER_KEY is no master key; expected 32 bytes in base64 or hex" in wrong.error
    assert "hunter2" not in wrong.error
