"""What docs/operating.md says about roles of the database is enough for a server, and no more is needed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from os import getpid

import psycopg
import pytest

from millrace.cli.applications import SCHEMAS
from millrace.moving.checking import find_faults
from millrace.moving.places import place_of
from millrace.sql.postgres.preparing import prepare
from tests.cli.commands import run
from tests.clusters import fresh_database, shared_cluster
from tests.docs.pages import DOCS, blocks
from tests.support import Server

NUMBERS = count(1)


@contextmanager
def _roles_of_the_page() -> Iterator[tuple[str, str]]:
    """Make the page's two roles in a database of their own, under names of this test; give the addresses of both."""
    [block] = blocks(DOCS / "operating.md", "sql")[1:2]
    owner = f"owner_{getpid()}_{next(NUMBERS)}"
    server = owner.replace("owner", "server")
    try:
        with fresh_database() as url:
            name = url.partition("?")[0].rpartition("/")[2]
            script = re.sub(r"\\connect .*", "", block.text)
            script = re.sub(r"create database millrace (owner \w+) .*;", rf"alter database {name} \1;", script)
            script = script.replace("owner millrace_owner;", "owner to millrace_owner;")
            script = re.sub(r"\bdatabase millrace\b", f"database {name}", script)
            script = re.sub(r"\bmillrace_owner\b", owner, script)
            shared_cluster().run_sql(re.sub(r"\bmillrace\b", server, script), database=name)
            yield url.replace("user=postgres", f"user={owner}"), url.replace("user=postgres", f"user={server}")
    finally:
        for role in (owner, server):
            shared_cluster().run_sql(f"drop role if exists {role}")


def _batch(server: Server, queue_id: str) -> int:
    messages = {"messages": [{"body": number} for number in range(3)]}
    return server.v4("POST", f"/queues/{queue_id}/messages/batch", messages).status


def test_a_server_works_with_the_rights_of_the_page(tmp_path):
    with _roles_of_the_page() as (owner, own):
        prepare(owner, SCHEMAS)

        with Server(tmp_path / "data", environ={"DATABASE_URL": own}) as server:
            queue_id = server.create_queue("orders", consumer={"type": "http_pull"})
            status = _batch(server, queue_id)
            pulled = server.v4("POST", f"/queues/{queue_id}/messages/pull", {"batch_size": 5}).json

        assert status == 200
        assert len(pulled["result"]["messages"]) == 3
        assert [fault for fault in find_faults(place_of(own), SCHEMAS) if "the user may not" in fault] == []


def test_a_block_of_numbers_that_is_refused_leaves_no_lock():
    with _roles_of_the_page() as (owner, own):
        prepare(owner, SCHEMAS)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(f"revoke update on sequence numbers from {own.partition('user=')[2]}")

        with psycopg.connect(own, autocommit=True) as refused, psycopg.connect(owner, autocommit=True) as other:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                refused.execute("select take_numbers(5)")
            other.execute("set statement_timeout = '5s'")

            assert other.execute("select take_numbers(5)").fetchone() is not None


def test_doctor_tells_of_a_right_that_is_lacking():
    with _roles_of_the_page() as (owner, own):
        prepare(owner, SCHEMAS)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(f"revoke insert on messages from {own.partition('user=')[2]}")

        done = run("doctor", "--store", own)

    assert done.code == 1
    assert "FAIL  rights: the user may not read and write table messages; grant select, insert" in done.out
