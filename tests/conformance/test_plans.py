"""How the database finds messages: by the index that is meant for it, and never by looking at all of them."""

import pytest

from millrace.sql.statements import load_statements
from tests.conformance.conftest import on_sqlite
from tests.conformance.made import Bench

MEANT = {
    "ready": "messages_ready (lane=? AND priority=? AND visible_at_ms<?)",
    "ready_at_level": "messages_ready (lane=? AND priority=? AND visible_at_ms<?)",
    "next_due": "messages_ready (lane=? AND priority=? AND visible_at_ms>?)",
    "is_ordered": "messages_ordered (lane=? AND ordering_key=?)",
    "free_next": "messages_ordered (lane=? AND ordering_key=?)",
    "lapsed_last": "messages_last (visible_at_ms<?)",
    "redriving_queues": "queues_redriving",
}


@pytest.fixture
async def tx(folder, clock):
    with on_sqlite(folder) as opener:
        store = opener(clock)
        yield await store.write(lambda tx: tx)
        await store.close()


@pytest.mark.parametrize("name", MEANT)
async def test_a_statement_uses_its_index(tx, name):
    plan = plan_of(tx, name)

    assert MEANT[name] in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "name",
    sorted(name for name, text in load_statements("sqlite").items() if "messages" in text.split() or "lanes" in text),
)
async def test_no_statement_looks_at_all_messages(tx, name):
    assert "SCAN messages\n" not in plan_of(tx, name) + "\n"


@pytest.mark.parametrize("opener", ["sqlite"], indirect=True)
async def test_a_message_without_features_costs_no_statement_for_them(store, clock):
    bench = await Bench.set_up(store, clock)
    seen = []
    await store.write(lambda tx: setattr(tx.connection, "exec_trace", lambda cursor, sql, bound: not seen.append(sql)))

    await bench.send(b"1")
    (message,) = await bench.receive()
    await bench.ack(message)

    await store.write(lambda tx: setattr(tx.connection, "exec_trace", None))
    names = {text: name for name, text in load_statements("sqlite").items()}
    assert [names[text] for text in seen if text in names and names[text] != "set_stamp"] == [
        *("queue_state", "add_backlog", "oldest"),  # after the insert, which is written for many rows
        *("queue_state", "ready", "lease", "oldest"),
        *("queue_state", "current", "acknowledge", "add_backlog"),
    ]


def plan_of(tx, name):
    statement = load_statements("sqlite")[name]
    rows = tx.connection.execute(f"explain query plan {statement}", _Anything()).fetchall()
    return "\n".join(detail for *_, detail in rows)


class _Anything(dict):
    def __missing__(self, key):
        return 1
