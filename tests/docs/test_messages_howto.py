"""What the page about messages from Python tells people to write does what its comments say."""

import re

import pytest

from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

PRINTED = re.compile(r"print\(.*\)  # (.*)$", re.MULTILINE)


def test_the_examples_print_what_their_comments_say(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """S1-89 to S1-91, S1-09, S1-11."""
    monkeypatch.setenv("MILLRACE_URL", server.url)
    monkeypatch.setenv("MILLRACE_TOKEN", KEY)
    program = "\n".join(block.text for block in blocks(DOCS / "howto" / "messages.md", "python"))

    exec(compile(program, "messages.md", "exec"), {})

    assert capsys.readouterr().out.splitlines() == PRINTED.findall(program)
    counts = server.call("GET", "/api/messaging/status").json
    assert (counts["total"], counts["scheduled"]) == (156, 1)
