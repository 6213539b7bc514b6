"""How PostgreSQL finds rows: by an index and a condition on it, though the tables were empty when it made its plan."""

import re

import psycopg
import pytest

from millrace.sql.postgres.connection import SETTINGS
from millrace.sql.postgres.preparing import prepare
from millrace.sql.postgres.transaction import _statements
from tests.clusters import emptied_database, template_database

GROWS = "messages|backlog_changes|idempotency|audit|audit_pruned|locks|claims|states|kv|caller_buckets|cron_runs|workflow_\\w+"
SCAN = re.compile(rf"(Seq Scan|Bitmap Heap Scan|Index (?:Only )?Scan)(?: Backward)?(?: using \w+)? on (?:{GROWS})\b")
IN_ORDER = {"expire_idempotency_keys"}  # from the oldest on, so many and no more
UNTYPED = {"extend"}  # which only the driver's types make clear


@pytest.fixture(scope="module")
def connection():
    with (
        emptied_database(template_database("engine", prepare)) as url,
        psycopg.connect(url, autocommit=True, prepare_threshold=None) as made,
    ):
        for name, value in SETTINGS.items():
            made.execute(f"set {name} = {value}")
        yield made


@pytest.mark.parametrize("name", sorted(_statements(()).keys() - IN_ORDER - UNTYPED))
def test_no_statement_reads_a_table_that_grows_from_its_beginning(connection, name):
    statement = _statements(())[name]
    if not re.search(rf"\b({GROWS})\b", statement.text) or " " not in statement.text:
        return

    plan = plan_of(connection, statement)

    for line, following in zip(plan, [*plan[1:], ""], strict=True):
        if found := SCAN.search(line):
            assert found[1] != "Seq Scan", plan
            assert "Index Cond" in following or "Recheck Cond" in following, plan


def plan_of(connection, statement):
    connection.execute(f"prepare seen as {statement.text}")
    try:
        nulls = ", ".join(["null"] * len(statement.names))
        rows = connection.execute(f"explain execute seen({nulls})" if nulls else "explain execute seen").fetchall()
    finally:
        connection.execute("deallocate seen")
    return [row[0] for row in rows]
