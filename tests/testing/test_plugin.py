"""The pytest plugin, as a user's tests see it."""

import subprocess
import sys

from tests.testing.pytest_run import counts, run_pytest

FIXTURES = """
import pytest
from millrace import App
from millrace.testing import BlockingBroker, MemoryBroker

async def take(batch, env):
    await env.INVOICES.send("bill")

pytestmark = pytest.mark.millrace(app=App(handlers={"orders": take}), variables={"REGION": "eu"})

def test_a_plain_test_gets_an_open_broker(millrace_broker, millrace_clock):
    assert isinstance(millrace_broker, BlockingBroker)
    millrace_broker.send("orders", 1, delay_seconds=60)
    millrace_clock.advance(60)
    assert millrace_broker.drain().acked == 1

async def test_an_async_test_opens_it_for_itself(millrace_broker):
    async with millrace_broker as broker:
        await broker.send("orders", 1)
        await broker.drain()
        broker.assert_sent("invoices", count=1)

@pytest.mark.millrace(handlers={"orders": lambda batch: None}, queues=["archive"])
def test_a_mark_of_its_own_goes_before_that_of_the_module(millrace_broker):
    millrace_broker.send("orders", 1)
    millrace_broker.drain()
    millrace_broker.assert_nothing_sent("invoices")
    assert millrace_broker.messages("archive") == []
    assert millrace_broker.env.REGION == "eu"

def test_nothing_is_left_from_the_test_before(millrace_broker):
    millrace_broker.assert_nothing_sent()

def test_an_error_of_a_handler_fails_the_test():
    async def fail(batch):
        raise LookupError("this is the handler's")
    with MemoryBroker({"orders": fail}) as broker:
        broker.send("orders", 1)
        broker.drain()
"""
FROM_FILE = """
import pytest

def take(batch):
    pass

@pytest.mark.millrace(config="conf/wrangler.toml", environment="staging", handlers={"orders": take})
def test_a_file_is_seen_from_the_root(millrace_broker):
    millrace_broker.send("orders", 1)
    assert millrace_broker.drain().acked == 1
    assert millrace_broker.env.REGION == "eu"
"""
WRANGLER = """
[env.staging.vars]
REGION = "eu"

[[env.staging.queues.consumers]]
queue = "orders"
"""
SERVERS = """
import pytest

@pytest.mark.millrace_server(environ={"ACCOUNT_ID": "shop"})
def test_a_mark_says_how_the_server_is_started(millrace_server):
    assert millrace_server.client().account_id() == "shop"

@pytest.fixture(scope="module")
def server(millrace_servers):
    return millrace_servers()

def test_a_server_can_be_shared(server):
    assert server.client().account_id() == "local"
"""


def test_the_fixtures_do_what_the_marks_say(tmp_path):
    (tmp_path / "test_fixtures.py").write_text(FIXTURES)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "wrangler.toml").write_text(WRANGLER)
    (tmp_path / "test_file.py").write_text(FROM_FILE)

    output = run_pytest(tmp_path, is_async=True)

    assert counts(output) == {"passed": 5, "failed": 1}, output
    assert "LookupError: this is the handler's" in output
    assert "raise_errors=False" in output


def test_servers_are_started_for_a_test_or_a_session_and_no_other_plugin_is_needed(tmp_path):
    (tmp_path / "test_servers.py").write_text(SERVERS)

    output = run_pytest(tmp_path)

    assert counts(output) == {"passed": 2}, output


def test_the_plugin_costs_nothing_until_it_is_used():
    script = "import millrace.testing.plugin, sys; print([name for name in ('apsw', 'msgspec') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
