"""The worker on the page consumes what it says."""

import sys

import pytest

from millrace.bindings import Env, QueueBinding
from millrace.handlers import as_call
from millrace.message import Backlog
from millrace.programs import load_module
from millrace.python_workers import install, queue_handler_of
from millrace.settlement import Ack, Retry
from tests.docs.pages import DOCS, blocks
from tests.unit.batches import batch


async def test_the_worker_on_the_page_runs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    install()
    (tmp_path / "worker_of_the_page.py").write_text(blocks(DOCS / "howto" / "python-workers.md", "python")[0].text)
    sent = []

    async def send(messages, delay_seconds):
        sent.extend(message.body for message in messages)
        return Backlog(1, 1, 1)

    handler = queue_handler_of(load_module(tmp_path / "worker_of_the_page.py"))
    held = batch(b'{"number":1}', b'{"number":2}')

    await as_call(handler)(held, Env({"ORDERS": QueueBinding(send), "INVOICES": QueueBinding(send)}))

    assert sent == [b'{"order":{"number":1}}', b'{"order":{"number":2}}']
    assert held.outcomes(Retry()) == [Ack(), Ack()]
