"""How PostgreSQL finds messages: by all that it is told of them, though the tables were empty when it made its plan."""

import re
from functools import partial

import psycopg
import pytest

from millrace.apps.messaging.app import SCHEMA
from millrace.sql.postgres.connection import SETTINGS
from millrace.sql.postgres.preparing import prepare
from millrace.sql.postgres.transaction import _statements
from tests.clusters import emptied_database, template_database

TABLES = "outbound_messages|message_history|delivery_reports|messages"
SCAN = re.compile(rf"(Seq Scan|Bitmap Heap Scan|Index (?:Only )?Scan)(?: Backward)?(?: using \w+)? on (?:{TABLES})\b")
BY_ONE = re.compile(r"Filter: .*\b(id|job_id|reference|message_id) = (ANY|\$)")
OWN = sorted(_statements((SCHEMA.package,)).keys() - _statements(()).keys())


@pytest.fixture(scope="module")
def connection():
    template = template_database(f"app_{SCHEMA.name}", partial(prepare, schemas=(SCHEMA,)))
    with emptied_database(template) as url, psycopg.connect(url, autocommit=True, prepare_threshold=None) as made:
        for name, value in SETTINGS.items():
            made.execute(f"set {name} = {value}")
        yield made


@pytest.mark.parametrize("name", OWN)
def test_no_statement_reads_all_messages_of_an_account_to_find_one(connection, name):
    statement = _statements((SCHEMA.package,))[name]

    plan = plan_of(connection, statement)

    for number, line in enumerate(plan):
        if found := SCAN.search(line):
            about = "\n".join(plan[number + 1 : number + 3])
            assert found[1] != "Seq Scan", plan
            assert "Index Cond" in about, plan
            assert not BY_ONE.search(about), plan


def plan_of(connection, statement):
    connection.execute(f"prepare seen as {statement.text}")
    try:
        nulls = ", ".join(["null"] * len(statement.names))
        rows = connection.execute(f"explain execute seen({nulls})" if nulls else "explain execute seen").fetchall()
    finally:
        connection.execute("deallocate seen")
    return [row[0] for row in rows]
