"""A project that is made in an empty folder, by docs/quickstart.md only."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.programs import wait_until
from tests.docs.pages import DOCS, Block, blocks, section
from tests.starting import COMMAND, run
from tests.support import KEY, Server
from tests.testing.pytest_run import counts, run_pytest

PAGE = DOCS / "quickstart.md"


def _of_the_project(*languages: str) -> list[Block]:
    text = section(PAGE, "A project of your own")
    return [block for block in blocks(PAGE, *languages) if block.text in text]


def _commands(first_words: str) -> list[list[str]]:
    """Give the lines of the section that begin so, as commands of this environment."""
    lines = [line for block in _of_the_project("bash") for line in block.text.splitlines()]
    return [[*COMMAND, *shlex.split(line)[1:]] for line in lines if line.startswith(f"millrace {first_words}")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "wrangler.toml").write_text(_of_the_project("toml")[0].text)
    for block in _of_the_project("python"):
        (tmp_path / block.text.split()[1]).write_text(block.text)
    return tmp_path


def test_the_tests_of_the_project_pass(project: Path) -> None:
    output = run_pytest(project)

    assert counts(output) == {"passed": 2}, output


def test_the_projects_consumer_takes_what_was_sent(project: Path) -> None:
    [consume], [send], [peek] = _commands("consume"), _commands("queues send"), _commands("queues peek")
    with Server(project / "data", "--config", str(project / "wrangler.toml")) as server:
        environ = {**os.environ, "MILLRACE_URL": server.url, "MILLRACE_TOKEN": KEY}
        consumer = subprocess.Popen(consume, cwd=project, env=environ, stdout=subprocess.DEVNULL)
        try:
            assert run(send, env=environ).code == 0

            def peeked() -> str:
                return run(peek, env=environ).out

            wait_until(lambda: '{"order":7}' in peeked(), 10, "the order has no invoice")
            consumer.send_signal(signal.SIGTERM)
            assert consumer.wait(10) == 0
        finally:
            consumer.kill()
            consumer.wait()
